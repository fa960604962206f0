//! The web services beside the search of issues: what clients ask for first, and what they make reports of.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::dates::date_time;
use super::figures::{self, Figures};
use super::measures::{self, MeasuredComponent};
use super::metrics;
use super::parameters::Parameters;
use super::render::{self, of_organization};
use super::rules::TAGS;
use super::world::{LAST_ANALYSIS, World};
use super::{SonarQube, catalogue, gates, people, refuse, settings};
use crate::fake::reply::json as reply;

const SERVER_ID: &str = "BF41A1F2-AXAsSW8xAAAAAAAAAAAA";
const EDITION: &str = "developer";

/// A response, or what is wrong with a parameter.
type Answered = Result<Value, (StatusCode, String)>;

fn bad(message: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message)
}

impl SonarQube {
    /// The response at a path; nothing if there is no such service.
    pub(super) async fn service(&self, path: &str, given: &Parameters) -> Option<Response> {
        let world = &self.world;
        if let Some(response) = self.measured(path, given).await {
            return Some(response);
        }
        let answered: Answered = match path {
            "rules/search" => catalogue::search(world, given).map_err(bad),
            "rules/show" => catalogue::show(world, given),
            "rules/repositories" => Ok(catalogue::repositories(given)),
            "rules/tags" | "issues/tags" => Ok(tags(given)),
            "qualityprofiles/search" => Ok(catalogue::profiles(world, given)),
            "qualityprofiles/projects" => {
                Ok(json!({ "results": [], "paging": { "pageIndex": 1, "pageSize": 100, "total": 0 }, "more": false }))
            }
            "qualityprofiles/inheritance" => Ok(json!({ "profile": {}, "ancestors": [], "children": [] })),
            "metrics/search" => metrics::search(world, given).map_err(bad),
            "metrics/types" => Ok(json!({
                "types": ["INT", "FLOAT", "PERCENT", "BOOL", "STRING", "MILLISEC", "DATA", "LEVEL", "DISTRIB", "RATING", "WORK_DUR"],
            })),
            "qualitygates/list" => Ok(gates::list(world)),
            "qualitygates/show" => gates::show(world, given),
            "qualitygates/search" => gates::projects(world, given),
            "qualitygates/get_by_project" => self.of_component(given, |_| gates::of_project(world)),
            "users/search" => people::search(world, given).map_err(bad),
            "users/current" => Ok(people::current(world)),
            "users/groups" => Ok(people::memberships_of_user(world, given)),
            "user_groups/search" => people::groups(world, given).map_err(bad),
            "user_groups/users" => Ok(people::members(world, given)),
            "user_tokens/search" => Ok(json!({ "login": people::current(world).get("login"), "userTokens": [] })),
            "components/show" => self.of_component(given, |measured| shown(world, measured)),
            "components/search_projects" => self.search_projects(given).map_err(bad),
            "project_branches/list" => self.of_component(given, |_| json!({ "branches": [branch(world)] })),
            "project_pull_requests/list" => self.of_component(given, |_| json!({ "pullRequests": [] })),
            "project_analyses/search" => self.of_component(given, |measured| analyses(world, measured)),
            "project_links/search" => Ok(json!({ "links": [] })),
            "project_tags/search" => Ok(json!({ "tags": [] })),
            "hotspots/search" if world.current => self.of_component(given, |_| {
                json!({ "paging": { "pageIndex": 1, "pageSize": 100, "total": 0 }, "hotspots": [], "components": [] })
            }),
            "issues/changelog" => Ok(json!({ "changelog": [] })),
            "issues/authors" => Ok(json!({ "authors": world.authors.iter().map(|one| &one.email).collect::<Vec<_>>() })),
            "languages/list" => Ok(json!({ "languages": render::languages() })),
            _ if path.starts_with("v2/") => return self.second_generation(path, given),
            _ => return self.about_the_server(path, given),
        };
        Some(respond(answered))
    }

    /// Services that look at all issues.
    async fn measured(&self, path: &str, given: &Parameters) -> Option<Response> {
        type Service = fn(&World, &[Figures], &Parameters) -> Result<Value, Box<Response>>;
        let service: Service = match path {
            "measures/component" => measures::of_component,
            "measures/search" => measures::of_projects,
            "measures/component_tree" | "components/tree" => measures::of_tree,
            "measures/search_history" => measures::history,
            "qualitygates/project_status" => {
                |world, all, given| Ok(gates::status(world, &measures::component(world, given)?.figures(all)))
            }
            _ => return None,
        };
        let Some(world) = self.counted().await else {
            return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
        };
        let all = world.figures.get().map(Vec::as_slice).unwrap_or_default();
        Some(match service(&world, all, given) {
            Ok(value) => reply(StatusCode::OK, &value),
            Err(response) => *response,
        })
    }

    /// The world, whose issues were counted. That takes a moment, once.
    async fn counted(&self) -> Option<Arc<World>> {
        if self.world.figures.get().is_some() {
            return Some(Arc::clone(&self.world));
        }
        let turn = Arc::clone(&self.searches).acquire_owned().await.ok()?;
        let world = Arc::clone(&self.world);
        let counting = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            world.figures.get_or_init(|| figures::of_files(&world));
        });
        counting.await.ok()?;
        Some(Arc::clone(&self.world))
    }

    fn of_component(&self, given: &Parameters, show: impl Fn(&MeasuredComponent<'_>) -> Value) -> Answered {
        let key = ["component", "project", "projectKey", "componentKey"]
            .iter()
            .find_map(|name| given.get(name));
        let missing = || {
            (
                StatusCode::BAD_REQUEST,
                "The 'component' parameter is missing".to_owned(),
            )
        };
        let key = key.ok_or_else(missing)?;
        let found = MeasuredComponent::find(&self.world, key);
        let found = found.ok_or_else(|| (StatusCode::NOT_FOUND, format!("Component key '{key}' not found")))?;
        Ok(show(&found))
    }

    fn search_projects(&self, given: &Parameters) -> Result<Value, String> {
        let page = given.page()?;
        // Of filters only the kind of component counts: there are no applications.
        let filter = given
            .get("filter")
            .unwrap_or_default()
            .replace([' ', '"'], "")
            .to_lowercase();
        let applications = filter.contains("qualifier=app");
        let wanted = given.get("q").unwrap_or_default().to_lowercase();
        let projects = self.world.projects.iter().filter(|_| !applications);
        let found: Vec<_> = projects
            .filter(|one| one.name.to_lowercase().contains(&wanted))
            .collect();
        let date = date_time(LAST_ANALYSIS.unix_timestamp());
        let shown = found.iter().skip(page.offset()).take(page.size).map(|project| {
            let shown = json!({
                "key": project.key, "name": project.name, "qualifier": "TRK", "isFavorite": false, "tags": [],
                "visibility": "public", "analysisDate": date, "isAiCodeAssured": false,
            });
            of_organization(&self.world, shown)
        });
        let shown: Vec<_> = shown.collect();
        Ok(json!({ "paging": render::paging(page, found.len() as u64), "components": shown, "facets": [] }))
    }

    /// What came with API v2.
    fn second_generation(&self, path: &str, given: &Parameters) -> Option<Response> {
        let world = &self.world;
        if !world.current {
            return None;
        }
        let missing = |what: &str| (StatusCode::NOT_FOUND, format!("{what} not found"));
        let answered = match path {
            "v2/users-management/users" => Ok(people::users_v2(world, given)),
            "v2/authorizations/groups" => Ok(people::groups_v2(world, given)),
            "v2/authorizations/group-memberships" => Ok(people::memberships_v2(world, given)),
            "v2/clean-code-policy/mode" => Ok(json!({ "mode": "STANDARD_EXPERIENCE", "modified": false })),
            "v2/sca/feature-enabled" | "v2/sca/enabled" => Ok(json!({ "enabled": false })),
            "v2/system/health" => Ok(json!({ "status": "GREEN", "cause": [] })),
            "v2/system/liveness" => return Some(StatusCode::NO_CONTENT.into_response()),
            _ => {
                if let Some(id) = path.strip_prefix("v2/users-management/users/") {
                    people::user_by_id(world, id).ok_or_else(|| missing("User"))
                } else {
                    let id = path.strip_prefix("v2/authorizations/groups/")?;
                    people::group_by_id(world, id).ok_or_else(|| missing("Group"))
                }
            }
        };
        Some(respond(answered))
    }

    /// What the server says of itself, and of what it does not have.
    fn about_the_server(&self, path: &str, given: &Parameters) -> Option<Response> {
        let version = self.version;
        let nothing = |key: &str| json!({ key: [], "paging": { "pageIndex": 1, "pageSize": 100, "total": 0 } });
        let answer = match path {
            "system/ping" => return Some("pong".into_response()),
            "system/health" => json!({ "health": "GREEN", "causes": [], "nodes": [] }),
            "system/info" => json!({
                "Health": "GREEN", "Health Causes": [],
                "System": {
                    "Server ID": SERVER_ID, "Version": version, "Edition": "Developer", "External User Authentication": "",
                    "High Availability": false, "Official Distribution": true, "Force authentication": self.token.is_some(),
                    "Processors": 4, "Home Dir": "/opt/sonarqube", "Data Dir": "/opt/sonarqube/data",
                    "Lines of Code": 0,
                },
                "Database": { "Database": "PostgreSQL", "Database Version": "15.4", "Username": "sonar" },
                "Bundled": {}, "Plugins": {}, "Settings": {},
                "Web JVM State": {}, "Web Logging": { "Logs Level": "INFO" },
                "Compute Engine JVM State": {}, "Compute Engine Logging": { "Logs Level": "INFO" },
                "Compute Engine Tasks": {
                    "Pending": 0, "In Progress": 0, "Processed With Success": 1, "Processed With Error": 0, "Worker Count": 1,
                },
                "Search State": { "State": "GREEN", "Nodes": [] },
                "Statistics": {
                    "id": SERVER_ID, "version": version, "edition": EDITION,
                    "userCount": self.world.authors.len(), "projectCount": self.world.projects.len(),
                },
            }),
            "navigation/global" => json!({
                "version": version, "edition": EDITION, "productionDatabase": true, "standalone": true, "canAdmin": true,
                "globalPages": [], "settings": {}, "qualifiers": ["TRK"], "logoUrl": "", "logoWidth": "",
                "instanceUsesDefaultAdminCredentials": false, "multipleAlmEnabled": false, "projectImportFeatureEnabled": false,
            }),
            "plugins/installed" => json!({ "plugins": [] }),
            "plugins/updates" => {
                json!({ "plugins": [], "updateCenterRefresh": date_time(LAST_ANALYSIS.unix_timestamp()) })
            }
            "settings/values" => settings::values(given),
            "settings/list_definitions" => settings::definitions(),
            // Projects inherit what the server says.
            "new_code_periods/show" => json!({
                "type": "PREVIOUS_VERSION", "inherited": given.get("project").is_some(),
            }),
            "new_code_periods/list" => json!({
                "newCodePeriods": [{
                    "projectKey": given.get("project"), "branchKey": self.world.branch(), "type": "PREVIOUS_VERSION",
                    "inherited": true,
                }],
            }),
            "webhooks/list" => json!({ "webhooks": [] }),
            "alm_settings/list_definitions" => json!({
                "github": [], "azure": [], "bitbucket": [], "bitbucketcloud": [], "gitlab": [],
            }),
            "permissions/search_templates" => json!({
                "permissionTemplates": [], "defaultTemplates": [], "permissions": [],
            }),
            "permissions/users" => nothing("users"),
            "permissions/groups" => nothing("groups"),
            "permissions/template_users" => nothing("users"),
            "permissions/template_groups" => nothing("groups"),
            "permissions/search_global_permissions" => json!({ "permissions": [] }),
            "ce/activity" => nothing("tasks"),
            "ce/component" => json!({ "queue": [] }),
            "ce/activity_status" => json!({ "pending": 0, "failing": 0, "inProgress": 0 }),
            "ce/worker_count" => json!({ "value": 1, "canSetWorkerCount": false }),
            "views/search" => nothing("components"),
            "favorites/search" => nothing("favorites"),
            "editions/is_valid_license" => json!({ "isValidLicense": true }),
            "features/list" => json!([]),
            _ => return None,
        };
        Some(reply(StatusCode::OK, &answer))
    }
}

fn respond(answered: Answered) -> Response {
    match answered {
        Ok(value) => reply(StatusCode::OK, &value),
        Err((StatusCode::BAD_REQUEST, message)) => refuse(&message),
        Err((status, message)) => reply(status, &render::errors(&message)),
    }
}

/// Those that contain `q`: all of them, where SonarQube shows ten unless asked for more.
fn tags(given: &Parameters) -> Value {
    let wanted = given.get("q").unwrap_or_default();
    let tags: Vec<_> = TAGS.iter().filter(|tag| tag.contains(wanted)).collect();
    json!({ "tags": tags })
}

fn shown(world: &World, measured: &MeasuredComponent<'_>) -> Value {
    let mut component = measured.shown(world);
    if let Some(component) = component.as_object_mut() {
        component.insert(
            "analysisDate".to_owned(),
            date_time(LAST_ANALYSIS.unix_timestamp()).into(),
        );
        component.insert("version".to_owned(), "1.0".into());
        component.insert("tags".to_owned(), json!([]));
    }
    let project = match measured {
        MeasuredComponent::Project(..) => None,
        MeasuredComponent::File(at, project, _) => Some(MeasuredComponent::Project(*at, project).shown(world)),
    };
    json!({ "component": component, "ancestors": project.into_iter().collect::<Vec<_>>() })
}

fn branch(world: &World) -> Value {
    json!({
        "name": world.branch(), "isMain": true, "type": if world.current { "BRANCH" } else { "LONG" },
        "status": { "qualityGateStatus": "OK" }, "analysisDate": date_time(LAST_ANALYSIS.unix_timestamp()),
        "excludedFromPurge": true, "branchId": "00000000-0000-4000-8000-000000000000",
    })
}

fn analyses(world: &World, measured: &MeasuredComponent<'_>) -> Value {
    let key = measured
        .shown(world)
        .get("key")
        .map(Value::to_string)
        .unwrap_or_default();
    let key = xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), world.seed);
    let analysis = json!({
        "key": format!("AW{key:016x}"), "date": date_time(LAST_ANALYSIS.unix_timestamp()), "projectVersion": "1.0",
        "buildString": "1", "manualNewCodePeriodBaseline": false, "detectedCI": "undetected", "revision": format!("{key:016x}"),
        "events": [{ "key": "AW1", "category": "VERSION", "name": "1.0" }],
    });
    json!({ "paging": { "pageIndex": 1, "pageSize": 100, "total": 1 }, "analyses": [analysis] })
}
