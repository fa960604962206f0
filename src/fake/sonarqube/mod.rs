//! `sonarqube`: the part of SonarQube's web API that people pull issues and make reports with, above all
//! `api/issues/search`. The setting `version` says whether it is that of 7.7, or of 2025.4 for the clients of today.
//!
//! Parameters, messages and shapes are SonarQube's (its `SearchAction`, and its responses): filters, facets, sorting,
//! pages of up to 500, and never more than 10,000 results of one search, so that a pull of all has to be sliced.
//! Issues, projects and people come from the seed ([`world`]); with the same seed they are the same, whatever is asked
//! first. Each severity has a fifth of the issues. Their dates end in May 2019, which is also the present of
//! `createdInLast`.
//!
//! With the setting `token` callers must show it, as Basic `TOKEN:` or as Bearer; without it none is needed.

mod catalogue;
mod components;
mod dates;
mod facet;
mod figures;
mod gates;
mod issue;
mod measures;
mod metrics;
mod parameters;
mod people;
mod query;
mod render;
mod rules;
mod search;
mod services;
mod settings;
mod world;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::parameters::Parameters;
use self::query::Query;
use self::world::World;
use super::page::{page, rows};
use super::spec::{FakeSpec, Version};
use crate::fake::context::Context;
use crate::fake::reply::{Address, basic_credentials, json, json_text, read_body, with_field};
use crate::yaml::report::Diagnostic;

const DEFAULT_PROJECTS: u32 = 12;
const MOST_PROJECTS: u32 = 1000;
const DEFAULT_ISSUES: u32 = 25_000;
const MOST_ISSUES: u32 = 10_000_000;

const ORGANIZATION: &str = "default-organization";

/// What the versions call themselves.
const VERSION_7: &str = "7.7.0.23042";
const VERSION_2025: &str = "2025.4.0.109754";

/// The longest form that is read, in bytes.
const FORM_LIMIT: usize = 64 * 1024;
/// Searches that run at once; the others wait. A search takes one thread.
const SEARCHES: usize = 8;

/// One running fake.
#[derive(Debug)]
struct SonarQube {
    world: Arc<World>,
    version: &'static str,
    token: Option<String>,
    searches: Arc<Semaphore>,
}

/// # Errors
/// A number is out of its range.
pub(super) fn router(spec: &FakeSpec, context: &Context<'_>) -> Result<Router, Vec<Diagnostic>> {
    let mut mistakes = Vec::new();
    if let Some(projects) = spec
        .projects
        .as_ref()
        .filter(|one| !(1..=MOST_PROJECTS).contains(&one.value))
    {
        let message = format!("{} is not a valid number of projects", projects.value);
        mistakes.push(Diagnostic::error(projects.span, message).help("use a number from 1 to 1000"));
    }
    if let Some(issues) = spec.issues.as_ref().filter(|one| one.value > MOST_ISSUES) {
        let message = format!("{} is not a valid number of issues", issues.value);
        mistakes.push(Diagnostic::error(issues.span, message).help("use a number from 0 to 10000000"));
    }
    if let Some(token) = spec.token.as_ref().filter(|token| token.value.is_empty()) {
        let help = "leave it out if callers don't need one";
        mistakes.push(Diagnostic::error(token.span, "the token is empty").help(help));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let projects = spec.projects.as_ref().map_or(DEFAULT_PROJECTS, |one| one.value);
    let issues = spec.issues.as_ref().map_or(DEFAULT_ISSUES, |one| one.value);
    let current = spec
        .version
        .as_ref()
        .is_some_and(|version| version.value == Version::SonarQube2025);
    let fake = SonarQube {
        world: Arc::new(World::new(context.seed, projects, issues, current)),
        version: if current { VERSION_2025 } else { VERSION_7 },
        token: spec.token.as_ref().map(|token| token.value.clone()),
        searches: Arc::new(Semaphore::new(SEARCHES)),
    };
    Ok(Router::new().fallback(answer).with_state(Arc::new(fake)))
}

/// Web services take GET, and POST with a form, alike.
async fn answer(State(fake): State<Arc<SonarQube>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/');
    if path.is_empty() {
        return page("SonarQube", INTRODUCTION, &rows(ROWS), &Address::of(&parts));
    }
    let mut form = Bytes::new();
    if parts.method == Method::POST {
        match read_body(&parts.extensions, body, FORM_LIMIT).await {
            Ok(body) => form = body,
            Err(_) => return refuse("The form can't be read, or is longer than 64 KiB"),
        }
    } else if parts.method != Method::GET && parts.method != Method::HEAD {
        let message = format!("HTTP method {} is not allowed", parts.method);
        let response = json(StatusCode::METHOD_NOT_ALLOWED, &render::errors(&message));
        return with_field(response, ALLOW, "GET, HEAD, POST");
    }
    let parameters = Parameters::read(&[parts.uri.query().unwrap_or_default().as_bytes(), &form]);
    let shown = Shown::of(&parts.headers);
    match path {
        // These need no credentials.
        "/api/authentication/validate" => json(StatusCode::OK, &json!({ "valid": fake.trusts(&shown) })),
        "/api/system/status" => {
            let status = json!({ "id": "20190531180000", "version": fake.version, "status": "UP" });
            json(StatusCode::OK, &status)
        }
        "/api/server/version" => fake.version.into_response(),
        _ if fake.trusts(&shown) => fake.serve(path, &parts, &parameters).await,
        _ => match shown {
            Shown::Nothing => json(StatusCode::UNAUTHORIZED, &render::errors("Authentication is required")),
            Shown::Token(_) => StatusCode::UNAUTHORIZED.into_response(),
        },
    }
}

impl SonarQube {
    fn trusts(&self, shown: &Shown) -> bool {
        match (&self.token, shown) {
            (None, _) => true,
            (Some(token), Shown::Token(shown)) => token == shown,
            (Some(_), Shown::Nothing) => false,
        }
    }

    async fn serve(&self, path: &str, parts: &Parts, parameters: &Parameters) -> Response {
        match path {
            "/api/issues/search" => self.search(parameters).await,
            "/api/components/search" | "/api/projects/search" => self.projects(parameters),
            _ => {
                let service = path.strip_prefix("/api/").unwrap_or_default();
                self.service(service, parameters).await.unwrap_or_else(|| {
                    let message = format!("Unknown url : {}", parts.uri.path());
                    json(StatusCode::NOT_FOUND, &render::errors(&message))
                })
            }
        }
    }

    async fn search(&self, parameters: &Parameters) -> Response {
        let query = match Query::read(parameters, &self.world) {
            Ok(query) => query,
            Err(message) => return refuse(&message),
        };
        let Ok(turn) = Arc::clone(&self.searches).acquire_owned().await else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let world = Arc::clone(&self.world);
        // Milliseconds of work, which would hold others up. It goes on when the client leaves, and so does its turn.
        let searching = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let found = search::search(&world, &query);
            render::search(&world, &query, &found)
        });
        match searching.await {
            Ok(Ok(text)) => json_text(StatusCode::OK, text),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    fn projects(&self, parameters: &Parameters) -> Response {
        let page = match parameters.page() {
            Ok(page) => page,
            Err(message) => return refuse(&message),
        };
        let wanted = parameters.get("q").unwrap_or_default().to_lowercase();
        let keys = parameters.list("projects");
        let qualifiers = parameters.list("qualifiers");
        let found: Vec<_> = self
            .world
            .projects
            .iter()
            .filter(|project| project.name.to_lowercase().contains(&wanted) || project.key.contains(&wanted))
            .filter(|project| keys.is_empty() || keys.contains(&project.key.as_str()))
            .filter(|_| qualifiers.is_empty() || qualifiers.contains(&"TRK"))
            .collect();
        let shown = found.iter().skip(page.offset()).take(page.size);
        let shown: Vec<Value> = shown
            .map(|project| render::listed_project(&self.world, project))
            .collect();
        let paging = render::paging(page, found.len() as u64);
        json(StatusCode::OK, &json!({ "paging": paging, "components": shown }))
    }
}

fn refuse(message: &str) -> Response {
    json(StatusCode::BAD_REQUEST, &render::errors(message))
}

/// The credentials that a caller sends.
enum Shown {
    Nothing,
    /// The token; or something that can't be one.
    Token(String),
}

impl Shown {
    /// Basic (RFC 7617) with the token as the name and an empty password, or Bearer (RFC 6750).
    fn of(headers: &HeaderMap) -> Self {
        let Some(field) = headers.get(AUTHORIZATION) else {
            return Self::Nothing;
        };
        let text = field.to_str().unwrap_or_default();
        let basic = basic_credentials(text).and_then(|pair| String::from_utf8(pair).ok());
        let token = match (basic.as_deref(), text.split_once(' ')) {
            (Some(pair), _) => pair.strip_suffix(':').unwrap_or_default(),
            (None, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            (None, _) => "",
        };
        Self::Token(token.to_owned())
    }
}

const INTRODUCTION: &str = "A fake served by squall: SonarQube's issues, by default 25,000 in 12 projects, all generated \
    from the seed, with the rules that they break and the measures that follow from them. A page has at most 500 issues and a search 10,000; to pull all of them, search by severity: each has a fifth.";

/// The rows of the page, see [`rows`].
const ROWS: &str = r#"
GET, POST | /api/issues/search | issues, filtered, sorted, counted and paged | p, ps, s, asc, facets, facetMode, additionalFields, componentKeys, severities, statuses, resolutions, resolved, types, rules, tags, issues, assignees, assigned, authors, languages, createdAfter, createdBefore, createdAt, createdInLast, branch, pullRequest | /api/issues/search?severities=MAJOR&ps=500&p=2&facets=types
GET, POST | /api/projects/search | projects; also at /api/components/search | p, ps, q, projects | /api/projects/search?q=red
GET | /api/rules/search | rules; one is at /api/rules/show | p, ps, q, languages, repositories, severities, types, tags, facets | /api/rules/search?languages=java
GET | /api/measures/component | measures of a project or file; also component_tree, search, search_history | component, metricKeys, additionalFields | /api/measures/search?projectKeys=&metricKeys=ncloc,bugs
GET | /api/metrics/search | the metrics | p, ps | /api/metrics/search
GET | /api/qualitygates/list | quality gates; also show, project_status, get_by_project |  | /api/qualitygates/list
GET | /api/users/search | users; groups are at /api/user_groups/search; version 2025.4 has them in /api/v2, too | p, ps, q | /api/users/search?q=a
GET | /api/components/show | a project or file; also at tree and search_projects | component | /api/components/search_projects
GET | /api/system/info | the server; also at health and ping |  | /api/system/health
GET | /api/issues/tags | the tags of issues | q | /api/issues/tags
GET | /api/languages/list | the programming languages |  | /api/languages/list
GET | /api/authentication/validate | whether the credentials are valid |  | -u TOKEN: /api/authentication/validate
GET | /api/system/status | whether the server is up; the version alone is at /api/server/version |  | /api/system/status
"#;

#[cfg(test)]
mod tests;
