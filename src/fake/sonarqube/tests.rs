use base64::Engine as _;
use std::collections::HashSet;
use std::path::Path;

use axum::body::Body;
use http::Request as HttpRequest;
use tower::ServiceExt as _;

use super::*;
use crate::fake::context::Store;
use crate::fake::spec::FakeSpec;
use crate::yaml::report::Span;

fn build(settings: &str) -> Result<Router, Vec<Diagnostic>> {
    let settings = if settings.is_empty() {
        "name: sonarqube".to_owned()
    } else {
        format!("name: sonarqube\n{settings}")
    };
    let spec: FakeSpec = crate::yaml::testing::read(&settings).unwrap();
    let context = Context {
        seed: 7,
        store: Store::Memory,
        folder: Path::new("."),
        place: Span::NOWHERE,
        warnings: std::cell::RefCell::default(),
    };
    router(&spec, &context)
}

/// Three projects with 2,000 issues.
fn small() -> Router {
    build("projects: 3\nissues: 2000").unwrap()
}

async fn call(router: &Router, request: HttpRequest<Body>) -> (StatusCode, Value) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(router: &Router, target: &str) -> (StatusCode, Value) {
    call(router, HttpRequest::get(target).body(Body::empty()).unwrap()).await
}

async fn search(router: &Router, query: &str) -> Value {
    let (status, answer) = get(router, &format!("/api/issues/search?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {answer}");
    answer
}

async fn total(router: &Router, query: &str) -> u64 {
    search(router, &format!("ps=1&{query}")).await["total"]
        .as_u64()
        .unwrap()
}

/// All issues of a search, page by page.
async fn all(router: &Router, query: &str) -> Vec<Value> {
    let mut issues = Vec::new();
    for page in 1.. {
        let answer = search(router, &format!("ps=500&p={page}&{query}")).await;
        let more = answer["issues"].as_array().unwrap();
        issues.extend(more.iter().cloned());
        if more.len() < 500 {
            break;
        }
    }
    issues
}

fn facet(answer: &Value, at: usize) -> Vec<(String, u64)> {
    let values = answer["facets"][at]["values"].as_array().unwrap();
    let pair = |value: &Value| {
        (
            value["val"].as_str().unwrap().to_owned(),
            value["count"].as_u64().unwrap(),
        )
    };
    values.iter().map(pair).collect()
}

#[tokio::test]
async fn each_refusal_is_to_the_letter() {
    let router = small();
    let refusals = [
        (
            "p=21&ps=500",
            "Can return only the first 10000 results. 10500th result asked.",
        ),
        (
            "p=101",
            "Can return only the first 10000 results. 10100th result asked.",
        ),
        ("ps=501", "'ps' value (501) must be less than 500"),
        ("p=0", "Page must be greater or equal to 1 (got 0)"),
        ("p=-3", "Page must be greater or equal to 1 (got -3)"),
        ("p=abc", "The 'p' parameter cannot be parsed as an integer value: abc"),
        (
            "p=99999999999",
            "The 'p' parameter cannot be parsed as an integer value: 99999999999",
        ),
        ("ps=x", "'ps' value 'x' cannot be parsed as an integer"),
        (
            "severities=MAJOR,BAD",
            "Value of parameter 'severities' (BAD) must be one of: [INFO, MINOR, MAJOR, CRITICAL, BLOCKER]",
        ),
        (
            "statuses=X",
            "Value of parameter 'statuses' (X) must be one of: [OPEN, CONFIRMED, REOPENED, RESOLVED, CLOSED]",
        ),
        (
            "resolutions=X",
            "Value of parameter 'resolutions' (X) must be one of: [FALSE-POSITIVE, WONTFIX, FIXED, REMOVED]",
        ),
        (
            "types=X",
            "Value of parameter 'types' (X) must be one of: [CODE_SMELL, BUG, VULNERABILITY, SECURITY_HOTSPOT]",
        ),
        (
            "resolved=maybe",
            "Value of parameter 'resolved' (maybe) must be one of: [true, false, yes, no]",
        ),
        (
            "facetMode=x",
            "Value of parameter 'facetMode' (x) must be one of: [count, effort, debt]",
        ),
        (
            "s=NAME",
            "Value of parameter 's' (NAME) must be one of: [CREATION_DATE, UPDATE_DATE, CLOSE_DATE, ASSIGNEE, SEVERITY, \
             STATUS, FILE_LINE]",
        ),
        (
            "createdAfter=polop",
            "Date 'polop' cannot be parsed as either a date or date+time",
        ),
        (
            "createdAfter=2018-01-01&createdInLast=1m",
            "Parameters createdAfter and createdInLast cannot be set simultaneously",
        ),
        (
            "createdAfter=2018-01-02&createdBefore=2018-01-01",
            "Start bound cannot be larger or equal to end bound",
        ),
        ("rules=S1192", "Invalid rule key: S1192"),
        (
            "facets=fileUuids,directories",
            "Facet(s) 'fileUuids,directories' require to also filter by project or organization",
        ),
        (
            "componentKeys=a&componentUuids=b",
            "At most one of the following parameters can be provided: componentKeys, componentUuids, components, \
             componentRoots, componentUuids",
        ),
    ];
    for (query, message) in refusals {
        let (status, answer) = get(&router, &format!("/api/issues/search?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer, json!({ "errors": [{ "msg": message }] }), "{query}");
    }
    let (status, answer) = get(&router, "/api/x").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(answer, json!({ "errors": [{ "msg": "Unknown url : /api/x" }] }));
}

#[tokio::test]
async fn pages_show_each_issue_once_and_end_empty() {
    let router = small();
    let keys: HashSet<_> = all(&router, "")
        .await
        .iter()
        .map(|issue| issue["key"].to_string())
        .collect();
    assert_eq!(keys.len(), 2000);
    let beyond = search(&router, "p=20&ps=500").await;
    assert_eq!(beyond["issues"], json!([]));
    assert_eq!(beyond["components"], json!([]));
    assert_eq!(
        beyond["paging"],
        json!({ "pageIndex": 20, "pageSize": 500, "total": 2000 })
    );
    assert_eq!(search(&router, "ps=0").await["ps"], 500);
    assert_eq!(search(&router, "").await["issues"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn each_severity_has_a_fifth() {
    let router = build("").unwrap();
    for severity in rules::SEVERITIES {
        assert_eq!(
            total(&router, &format!("severities={severity}")).await,
            5000,
            "{severity}"
        );
    }
}

#[tokio::test]
async fn the_seed_alone_decides() {
    let (one, other) = (small(), small());
    search(&other, "s=UPDATE_DATE&p=3").await;
    assert_eq!(search(&one, "p=2").await, search(&other, "p=2").await);
}

#[tokio::test]
async fn filters_find_what_has_it_and_all_of_it() {
    let router = small();
    let everything = all(&router, "").await;
    let first = &everything[0];
    let text = |issue: &Value, field: &str| issue[field].as_str().unwrap_or_default().to_owned();
    let project = text(first, "project");
    let file = text(first, "component");
    let folder = file.rsplit_once('/').unwrap().0.to_owned();
    type Check = (String, Box<dyn Fn(&Value) -> bool>);
    let checks: Vec<Check> = vec![
        (
            "severities=MAJOR,INFO".into(),
            Box::new(move |i| matches!(text(i, "severity").as_str(), "MAJOR" | "INFO")),
        ),
        (
            "statuses=CLOSED".into(),
            Box::new(move |i| text(i, "status") == "CLOSED"),
        ),
        (
            "resolutions=FIXED".into(),
            Box::new(move |i| text(i, "resolution") == "FIXED"),
        ),
        ("resolved=no".into(), Box::new(|i| i.get("resolution").is_none())),
        (
            "resolved=yes&types=BUG".into(),
            Box::new(move |i| i.get("resolution").is_some() && text(i, "type") == "BUG"),
        ),
        ("assigned=false".into(), Box::new(|i| i.get("assignee").is_none())),
        (
            "rules=squid:S1192".into(),
            Box::new(move |i| text(i, "rule") == "squid:S1192"),
        ),
        (
            "languages=py".into(),
            Box::new(move |i| text(i, "rule").starts_with("python:")),
        ),
        (
            "tags=unused,leak".into(),
            Box::new(|i| {
                i["tags"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|tag| tag == "unused" || tag == "leak")
            }),
        ),
        (
            "createdAfter=2015-06-01".into(),
            Box::new(move |i| text(i, "creationDate").as_str() >= "2015-06-01"),
        ),
        (
            "createdBefore=2015-06-01".into(),
            Box::new(move |i| text(i, "creationDate").as_str() < "2015-06-02"),
        ),
        (
            "createdInLast=2m".into(),
            Box::new(move |i| text(i, "creationDate").as_str() >= "2019-03-31T18:00:00+0200"),
        ),
        (
            format!("componentKeys={project}"),
            Box::new(move |i| text(i, "project") == project),
        ),
        (
            format!("componentKeys={file}"),
            Box::new(move |i| text(i, "component") == file),
        ),
        (
            format!("componentKeys={folder}"),
            Box::new(move |i| text(i, "component").starts_with(&format!("{folder}/"))),
        ),
    ];
    for (query, has) in checks {
        let found = all(&router, &query).await;
        assert!(!found.is_empty(), "{query}");
        let expected: Vec<_> = everything.iter().filter(|issue| has(issue)).cloned().collect();
        assert_eq!(found.len(), expected.len(), "{query}");
        assert_eq!(found, expected, "{query}");
    }
    for nothing in [
        "pullRequest=1",
        "branch=other",
        "componentKeys=nope",
        "assignees=nobody",
        "issues=AWnope",
        "organization=o",
    ] {
        assert_eq!(total(&router, nothing).await, 0, "{nothing}");
    }
    assert_eq!(
        total(&router, "branch=master&organization=default-organization&unknown=1").await,
        2000
    );
}

#[tokio::test]
async fn an_issue_and_its_people_are_found_again() {
    let router = small();
    let everything = all(&router, "assigned=true").await;
    let issue = everything.last().unwrap();
    let key = issue["key"].as_str().unwrap();
    let found = search(&router, &format!("issues={key},{key}")).await;
    assert_eq!(found["issues"], json!([issue]));
    let (author, assignee) = (issue["author"].as_str().unwrap(), issue["assignee"].as_str().unwrap());
    let same = |field: &str, value: &str| everything.iter().filter(|issue| issue[field] == value).count() as u64;
    assert_eq!(
        total(&router, &format!("assignees={assignee}")).await,
        same("assignee", assignee)
    );
    for name in ["authors", "author"] {
        let by_author = total(&router, &format!("assigned=yes&{name}={author}")).await;
        assert_eq!(by_author, same("author", author), "{name}");
    }
    let created = issue["creationDate"].as_str().unwrap().replace('+', "%2B");
    assert_eq!(total(&router, &format!("createdAt={created}")).await, 1);
}

#[tokio::test]
async fn only_the_components_of_the_page_are_listed() {
    let answer = search(&small(), "ps=2&p=3").await;
    let of = |field: &str| -> HashSet<_> {
        let issues = answer["issues"].as_array().unwrap().iter();
        issues.map(|issue| issue[field].as_str().unwrap()).collect()
    };
    let listed: HashSet<_> = answer["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["key"].as_str().unwrap())
        .collect();
    assert_eq!(listed, of("component").union(&of("project")).copied().collect());
    for component in answer["components"].as_array().unwrap() {
        let is_file = component["qualifier"] == "FIL";
        assert_eq!(component.get("path").is_some(), is_file, "{component}");
    }
}

#[tokio::test]
async fn issues_have_the_shape_of_sonarqube() {
    let router = small();
    let known: HashSet<&str> =
        "key rule severity component project line hash textRange flows status resolution message effort debt \
        author assignee tags creationDate updateDate closeDate type organization"
            .split(' ')
            .collect();
    let needed = [
        "key",
        "rule",
        "severity",
        "component",
        "project",
        "flows",
        "status",
        "message",
        "author",
        "tags",
    ];
    let everything = all(&router, "").await;
    for issue in &everything {
        let fields = issue.as_object().unwrap();
        assert!(fields.keys().all(|field| known.contains(field.as_str())), "{issue}");
        assert!(needed.iter().all(|field| fields.contains_key(*field)), "{issue}");
        assert!(fields.values().all(|value| !value.is_null()), "{issue}");
        assert_eq!(issue.get("closeDate").is_some(), issue["status"] == "CLOSED", "{issue}");
        let resolved = matches!(issue["status"].as_str(), Some("CLOSED" | "RESOLVED"));
        assert_eq!(issue.get("resolution").is_some(), resolved, "{issue}");
        assert_eq!(issue.get("line").is_some(), issue.get("textRange").is_some(), "{issue}");
        assert_eq!(issue.get("effort"), issue.get("debt"));
        assert!(
            issue["updateDate"].as_str() >= issue["creationDate"].as_str(),
            "{issue}"
        );
    }
    for optional in ["line", "resolution", "effort", "assignee"] {
        assert!(
            everything.iter().any(|issue| issue.get(optional).is_none()),
            "{optional}"
        );
    }
    let efforts: HashSet<_> = everything.iter().filter_map(|issue| issue["effort"].as_str()).collect();
    assert!(efforts.contains("2h1min"), "{efforts:?}");
}

#[tokio::test]
async fn effort_adds_up_over_all_pages() {
    let router = small();
    let minutes = |text: &str| -> u64 {
        let (mut sum, mut number) = (0, 0);
        for character in text.chars() {
            match character {
                '0'..='9' => number = number * 10 + u64::from(character as u32 - '0' as u32),
                'd' => (sum, number) = (sum + number * 480, 0),
                'h' => (sum, number) = (sum + number * 60, 0),
                'm' => (sum, number) = (sum + number, 0),
                _ => {}
            }
        }
        sum
    };
    let bugs = all(&router, "types=BUG").await;
    let sum: u64 = bugs
        .iter()
        .filter_map(|issue| issue["effort"].as_str())
        .map(minutes)
        .sum();
    let answer = search(&router, "types=BUG&ps=1&facets=types&facetMode=effort").await;
    assert_eq!(
        (&answer["effortTotal"], &answer["debtTotal"]),
        (&json!(sum), &json!(sum))
    );
    assert!(facet(&answer, 0).contains(&("BUG".to_owned(), sum)));
}

#[tokio::test]
async fn a_facet_counts_without_its_own_filter() {
    let router = small();
    let answer = search(
        &router,
        "severities=MAJOR&types=BUG&facets=severities,types,severities&ps=1",
    )
    .await;
    assert_eq!(answer["facets"].as_array().unwrap().len(), 2);
    assert_eq!(answer["facets"][0]["property"], "severities");
    for (severity, count) in facet(&answer, 0) {
        assert_eq!(
            total(&router, &format!("types=BUG&severities={severity}")).await,
            count,
            "{severity}"
        );
    }
    assert_eq!(
        facet(&answer, 0).iter().map(|(_, count)| count).sum::<u64>(),
        total(&router, "types=BUG").await
    );
    for (kind, count) in facet(&answer, 1) {
        assert_eq!(
            total(&router, &format!("severities=MAJOR&types={kind}")).await,
            count,
            "{kind}"
        );
    }
    let answer = search(
        &router,
        "resolved=false&assigned=false&facets=resolutions,assignees&ps=1",
    )
    .await;
    let resolutions = facet(&answer, 0);
    assert_eq!(resolutions.len(), 5);
    assert_eq!(
        resolutions.iter().map(|(_, count)| count).sum::<u64>(),
        total(&router, "assigned=no").await
    );
    let nobody = facet(&answer, 1)
        .into_iter()
        .find(|(name, _)| name.is_empty())
        .unwrap()
        .1;
    assert_eq!(nobody, answer["total"].as_u64().unwrap());
}

#[tokio::test]
async fn facets_list_the_most_frequent_first_and_what_is_selected() {
    let router = small();
    let project = search(&router, "ps=1").await["issues"][0]["project"]
        .as_str()
        .unwrap()
        .to_owned();
    let query =
        format!("projects={project}&facets=projects,rules,tags,directories,fileUuids,authors,languages&rules=a:b&ps=1");
    let answer = search(&router, &query).await;
    for at in 0..7 {
        let values = facet(&answer, at);
        let names: HashSet<_> = values.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), values.len(), "{values:?}");
        assert!(values.is_sorted_by(|a, b| a.1 >= b.1), "{values:?}");
    }
    assert!(facet(&answer, 1).contains(&("a:b".to_owned(), 0)));
    let answer = search(
        &router,
        &format!("projects={project}&facets=projects,directories,fileUuids&ps=1"),
    )
    .await;
    assert_eq!(facet(&answer, 0).iter().map(|(_, count)| count).sum::<u64>(), 2000);
    for at in [1, 2] {
        assert_eq!(
            facet(&answer, at).iter().map(|(_, count)| count).sum::<u64>(),
            answer["total"].as_u64().unwrap()
        );
    }
    let (directory, count) = facet(&answer, 1).remove(0);
    assert_eq!(
        total(&router, &format!("projects={project}&directories={directory}")).await,
        count
    );
}

#[tokio::test]
async fn the_facet_of_dates_is_a_histogram() {
    let router = small();
    for (query, name, most) in [
        ("", "2019-01-01T00:00:00+0200", 7),
        ("createdAfter=2018-06-10", "2018-07-01T00:00:00+0200", 12),
        ("createdAfter=2019-03-01", "2019-03-04T00:00:00+0200", 14),
        (
            "createdAfter=2019-05-20&createdBefore=2019-05-29",
            "2019-05-21T00:00:00+0200",
            10,
        ),
    ] {
        let answer = search(&router, &format!("{query}&facets=createdAt&ps=1")).await;
        let values = facet(&answer, 0);
        assert!(values.iter().any(|(val, _)| val == name), "{values:?}");
        assert!(values.is_sorted() && values.len() == most, "{query}: {values:?}");
        let sum: u64 = values.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, answer["total"].as_u64().unwrap(), "{query}");
    }
}

#[tokio::test]
async fn sorts_go_both_ways_and_pages_keep_to_them() {
    let router = small();
    for (sort, field) in [
        ("CREATION_DATE", "creationDate"),
        ("UPDATE_DATE", "updateDate"),
        ("CLOSE_DATE", "closeDate"),
        ("ASSIGNEE", "assignee"),
        ("STATUS", "status"),
        ("FILE_LINE", "project"),
    ] {
        for ascending in [true, false] {
            let issues = all(&router, &format!("s={sort}&asc={ascending}")).await;
            assert_eq!(issues.len(), 2000);
            let values: Vec<_> = issues.iter().map(|issue| issue[field].as_str()).collect();
            let (some, none): (Vec<_>, Vec<_>) = values.iter().copied().partition(Option::is_some);
            assert_eq!(
                values,
                [some.clone(), none].concat(),
                "{sort}: what has none comes last"
            );
            let sorted = if ascending {
                some.is_sorted()
            } else {
                some.is_sorted_by(|a, b| a >= b)
            };
            assert!(sorted, "{sort} {ascending}");
        }
    }
    let worst = search(&router, "s=SEVERITY&asc=no&ps=1").await;
    assert_eq!(worst["issues"][0]["severity"], "BLOCKER");
    let lines = all(&router, "s=FILE_LINE").await;
    let place = |issue: &Value| {
        let text = |field: &str| issue[field].as_str().unwrap_or_default().to_owned();
        (
            text("project"),
            text("component"),
            issue["line"].as_u64().unwrap_or_default(),
        )
    };
    assert!(lines.iter().map(place).collect::<Vec<_>>().is_sorted());
}

#[tokio::test]
async fn additional_fields_come_if_asked_for() {
    let router = small();
    let plain = search(&router, "ps=5").await;
    assert!(
        ["rules", "users", "languages"]
            .iter()
            .all(|field| plain.get(field).is_none())
    );
    assert_eq!(plain["facets"], json!([]));
    let full = search(&router, "ps=5&additionalFields=_all").await;
    let rules: HashSet<_> = full["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["key"].clone().to_string())
        .collect();
    let used: HashSet<_> = full["issues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| issue["rule"].clone().to_string())
        .collect();
    assert_eq!(rules, used);
    assert_eq!(full["languages"].as_array().unwrap().len(), rules::LANGUAGES.len());
    assert!(full["users"].is_array());
    assert_eq!(full["issues"][0]["comments"], json!([]));
    let some = search(&router, "ps=5&additionalFields=rules,users").await;
    assert!(some.get("languages").is_none() && some["issues"][0].get("comments").is_none());
}

#[tokio::test]
async fn a_form_does_what_a_query_does() {
    let router = small();
    let form = "severities=MAJOR%2CINFO&ps=7&authors=ä b&types=BUG";
    let request = HttpRequest::post("/api/issues/search").body(Body::from(form)).unwrap();
    let (status, answer) = call(&router, request).await;
    assert_eq!(
        (status, &answer["total"], &answer["ps"]),
        (StatusCode::OK, &json!(0), &json!(7))
    );
    let request = HttpRequest::post("/api/issues/search?types=BUG")
        .body(Body::from("severities=MAJOR"))
        .unwrap();
    let (_, answer) = call(&router, request).await;
    assert_eq!(answer["total"], total(&router, "types=BUG&severities=MAJOR").await);
    let request = HttpRequest::put("/api/issues/search").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[ALLOW], "GET, HEAD, POST");
}

#[tokio::test]
async fn a_token_is_needed_if_there_is_one() {
    let (open, closed) = (small(), build("issues: 10\ntoken: s3cret").unwrap());
    let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let ask = async |router: &Router, path: &str, authorization: Option<String>| {
        let mut request = HttpRequest::get(path);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        call(router, request.body(Body::empty()).unwrap()).await
    };
    let path = "/api/issues/search";
    let right = [basic("s3cret:"), "Bearer s3cret".to_owned(), "bearer s3cret".to_owned()];
    let wrong = [
        basic("other:"),
        basic("s3cret:password"),
        basic("s3cret"),
        "Bearer other".to_owned(),
        "x".to_owned(),
    ];
    for field in right {
        assert_eq!(
            ask(&closed, path, Some(field.clone())).await.0,
            StatusCode::OK,
            "{field}"
        );
        let (_, answer) = ask(&closed, "/api/authentication/validate", Some(field)).await;
        assert_eq!(answer, json!({ "valid": true }));
    }
    for field in wrong {
        let refused = ask(&closed, path, Some(field.clone())).await;
        assert_eq!(refused, (StatusCode::UNAUTHORIZED, Value::Null), "{field}");
        assert_eq!(ask(&open, path, Some(field)).await.0, StatusCode::OK);
    }
    let (status, answer) = ask(&closed, path, None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer, json!({ "errors": [{ "msg": "Authentication is required" }] }));
    assert_eq!(ask(&closed, "/api/system/status", None).await.1["status"], "UP");
    let (_, answer) = ask(&closed, "/api/authentication/validate", None).await;
    assert_eq!(answer, json!({ "valid": false }));
}

#[tokio::test]
async fn projects_are_listed() {
    let router = small();
    let (_, answer) = get(&router, "/api/projects/search?ps=2&p=2").await;
    assert_eq!(answer["paging"], json!({ "pageIndex": 2, "pageSize": 2, "total": 3 }));
    let key = answer["components"][0]["key"].as_str().unwrap();
    let (_, answer) = get(&router, &format!("/api/projects/search?projects={key}")).await;
    assert_eq!(answer["components"].as_array().unwrap().len(), 1);
}

#[test]
fn settings_out_of_their_range_are_refused_at_their_place() {
    let errors = build("projects: 0\nissues: 10000001\ntoken: ''").unwrap_err();
    let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    let expected = [
        "0 is not a valid number of projects",
        "10000001 is not a valid number of issues",
        "the token is empty",
    ];
    assert_eq!(messages, expected);
    for fine in ["projects: 1000\nissues: 0", "projects: 1", "issues: 10000000"] {
        assert!(build(fine).is_ok(), "{fine}");
    }
}

#[tokio::test]
async fn no_issues_are_fine_too() {
    let router = build("issues: 0").unwrap();
    let answer = search(&router, "facets=types,createdAt,rules&s=FILE_LINE").await;
    assert_eq!((&answer["total"], &answer["issues"]), (&json!(0), &json!([])));
}

/// The same, as SonarQube 2025.4.
fn current() -> Router {
    build("projects: 3\nissues: 2000\nversion: 2025.4").unwrap()
}

async fn ok(router: &Router, target: &str) -> Value {
    let (status, answer) = get(router, target).await;
    assert_eq!(status, StatusCode::OK, "{target}: {answer}");
    answer
}

fn measure(answer: &Value, metric: &str) -> Option<u64> {
    let measures = answer.pointer("/component/measures")?.as_array()?;
    let found = measures.iter().find(|measure| measure["metric"] == metric)?;
    found["value"].as_str()?.parse().ok()
}

#[tokio::test]
async fn measures_are_what_searches_count() {
    for router in [small(), current()] {
        let projects = ok(&router, "/api/components/search_projects").await;
        let key = projects["components"][0]["key"].as_str().unwrap().to_owned();
        let keys = "bugs,code_smells,vulnerabilities,violations,major_violations,files,ncloc,false_positive_issues";
        let answer = ok(
            &router,
            &format!("/api/measures/component?component={key}&metricKeys={keys}"),
        )
        .await;
        let here = format!("componentKeys={key}");
        for (metric, query) in [
            ("bugs", "types=BUG&resolved=false"),
            ("code_smells", "types=CODE_SMELL&resolved=false"),
            ("vulnerabilities", "types=VULNERABILITY&resolved=false"),
            ("violations", "resolved=false"),
            ("major_violations", "severities=MAJOR&resolved=false"),
            ("false_positive_issues", "resolutions=FALSE-POSITIVE"),
        ] {
            let counted = total(&router, &format!("{here}&{query}")).await;
            assert_eq!(measure(&answer, metric), Some(counted), "{metric}");
            assert!(counted > 0, "{metric}");
        }
        let tree = ok(
            &router,
            &format!("/api/measures/component_tree?component={key}&metricKeys=ncloc&ps=500"),
        )
        .await;
        let files = tree["components"].as_array().unwrap();
        let lines = files
            .iter()
            .map(|file| file["measures"][0]["value"].as_str().unwrap().parse::<u64>().unwrap());
        assert_eq!(Some(lines.sum::<u64>()), measure(&answer, "ncloc"));
        assert_eq!(Some(files.len() as u64), measure(&answer, "files"));
        let status = ok(&router, &format!("/api/qualitygates/project_status?projectKey={key}")).await;
        let alert = ok(
            &router,
            &format!("/api/measures/component?component={key}&metricKeys=alert_status"),
        )
        .await;
        assert_eq!(
            alert["component"]["measures"][0]["value"],
            status["projectStatus"]["status"]
        );
    }
}

#[tokio::test]
async fn every_metric_has_a_value() {
    for router in [small(), current()] {
        let metrics = ok(&router, "/api/metrics/search?ps=500").await;
        let projects = ok(&router, "/api/components/search_projects").await;
        let key = projects["components"][0]["key"].as_str().unwrap().to_owned();
        for metric in metrics["metrics"].as_array().unwrap() {
            let metric = metric["key"].as_str().unwrap();
            let answer = ok(
                &router,
                &format!("/api/measures/component?component={key}&metricKeys={metric}"),
            )
            .await;
            assert_eq!(answer["component"]["measures"][0]["metric"], metric, "{answer}");
        }
    }
}

#[tokio::test]
async fn each_version_has_its_own_fields() {
    let (older, later) = (small(), current());
    assert_eq!(ok(&older, "/api/system/status").await["version"], VERSION_7);
    assert_eq!(ok(&later, "/api/system/status").await["version"], VERSION_2025);
    let (old, new) = (search(&older, "ps=500").await, search(&later, "ps=500").await);
    let keys = |issue: &Value| issue.as_object().unwrap().keys().cloned().collect::<HashSet<_>>();
    let (old_keys, new_keys) = (keys(&old["issues"][0]), keys(&new["issues"][0]));
    for key in ["impacts", "issueStatus", "cleanCodeAttribute", "scope"] {
        assert!(new_keys.contains(key) && !old_keys.contains(key), "{key}");
    }
    assert!(old_keys.contains("organization") && !new_keys.contains("organization"));
    assert_eq!((old["debtTotal"].is_u64(), new["debtTotal"].is_null()), (true, true));
    let hotspots = |answer: &Value| {
        let issues = answer["issues"].as_array().unwrap().clone();
        issues
            .iter()
            .filter(|issue| issue["type"] == "SECURITY_HOTSPOT")
            .count()
    };
    assert!(hotspots(&old) > 0 && hotspots(&new) == 0);
    let statuses = ["OPEN", "CONFIRMED", "FALSE_POSITIVE", "ACCEPTED", "FIXED"];
    let mut sum = 0;
    for status in statuses {
        sum += total(&later, &format!("issueStatuses={status}")).await;
    }
    assert_eq!(sum, 2000);
    assert_eq!(
        total(&older, "issueStatuses=OPEN").await,
        2000,
        "unknown parameters are ignored"
    );
    assert_eq!(
        total(&later, "impactSeverities=HIGH").await,
        total(&later, "severities=CRITICAL").await
    );
    let smells = total(&later, "types=CODE_SMELL").await;
    assert_eq!(total(&later, "impactSoftwareQualities=MAINTAINABILITY").await, smells);
    let facets = search(&later, "facets=impactSoftwareQualities,issueStatuses&ps=1").await;
    assert_eq!(facets["facets"][0]["values"].as_array().unwrap().len(), 3);
    let key = new["issues"][0]["project"].as_str().unwrap();
    let (components, keys) = (format!("components={key}"), format!("componentKeys={key}"));
    assert_eq!(total(&later, &components).await, total(&later, &keys).await);
    assert_eq!(
        get(&older, "/api/v2/users-management/users").await.0,
        StatusCode::NOT_FOUND
    );
    let users = ok(&later, "/api/v2/users-management/users?pageSize=3&pageIndex=2").await;
    assert_eq!(
        (users["users"].as_array().unwrap().len(), &users["page"]["total"]),
        (3, &json!(24))
    );
    let id = users["users"][0]["id"].as_str().unwrap();
    let user = ok(&later, &format!("/api/v2/users-management/users/{id}")).await;
    assert_eq!(user["login"], users["users"][0]["login"]);
}

#[tokio::test]
async fn rules_are_those_of_the_issues() {
    let router = small();
    let rules = ok(&router, "/api/rules/search?ps=500").await;
    let issues = search(&router, "ps=500&additionalFields=rules").await;
    let known: HashSet<_> = rules["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["key"].to_string())
        .collect();
    assert_eq!(rules["total"].as_u64(), Some(known.len() as u64));
    for rule in issues["rules"].as_array().unwrap() {
        assert!(known.contains(&rule["key"].to_string()));
    }
    let python = ok(&router, "/api/rules/search?languages=py&facets=types").await;
    assert!(
        python["rules"]
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| rule["lang"] == "py")
    );
    assert_eq!(python["facets"][0]["property"], "types");
    let key = python["rules"][0]["key"].as_str().unwrap();
    let one = ok(&router, &format!("/api/rules/show?key={key}&actives=true")).await;
    assert_eq!(
        (&one["rule"]["key"], &one["actives"][0]["qProfile"]),
        (&json!(key), &json!("sonar-way-py"))
    );
    for (target, status) in [
        ("/api/rules/show?key=x:y", 404),
        ("/api/rules/show", 400),
        ("/api/rules/search?severities=x", 400),
        ("/api/measures/component?component=nope&metricKeys=ncloc", 404),
        ("/api/measures/component?metricKeys=ncloc", 400),
        ("/api/qualitygates/show?name=x", 404),
        ("/api/components/show?component=x", 404),
        ("/api/nothing/here", 404),
    ] {
        let (found, answer) = get(&router, target).await;
        assert_eq!(found.as_u16(), status, "{target}");
        assert!(answer["errors"][0]["msg"].is_string(), "{target}");
    }
    let spec: FakeSpec = crate::yaml::testing::read("name: sonarqube\nversion: 2019").unwrap();
    let mistakes = spec.check(Span::NOWHERE).unwrap_err();
    assert_eq!(mistakes[0].message, "the fake `sonarqube` has no such version");
}
