//! Users and groups, of both generations of the API. All authors are users.

use serde_json::{Value, json};

use super::dates::date_time;
use super::parameters::Parameters;
use super::render;
use super::world::{LAST_ANALYSIS, Person, World};

/// The group of all users.
const EVERYBODY: &str = "sonar-users";
/// The group of administrators: the first user is one.
const ADMINISTRATORS: &str = "sonar-administrators";

/// The user that a token is of.
fn first(world: &World) -> Option<&Person> {
    world.authors.first()
}

fn groups_of(at: usize) -> Vec<&'static str> {
    let mut groups = vec![EVERYBODY];
    groups.extend((at == 0).then_some(ADMINISTRATORS));
    groups
}

fn selected<'a>(world: &'a World, given: &Parameters) -> Vec<(usize, &'a Person)> {
    let wanted = given.get("q").unwrap_or_default().to_lowercase();
    let people = world.authors.iter().enumerate();
    let matching = |person: &Person| {
        [&person.login, &person.name, &person.email]
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    };
    people.filter(|(_, person)| matching(person)).collect()
}

/// # Errors
/// What is wrong with the page.
pub(super) fn search(world: &World, given: &Parameters) -> Result<Value, String> {
    let page = given.page()?;
    let found = selected(world, given);
    let shown = found.iter().skip(page.offset()).take(page.size);
    let users: Vec<_> = shown
        .map(|(at, person)| {
            json!({
                "login": person.login, "name": person.name, "email": person.email, "active": true, "local": true,
                "groups": groups_of(*at), "tokensCount": 0, "externalIdentity": person.login,
                "externalProvider": "sonarqube", "managed": false,
                "lastConnectionDate": date_time(LAST_ANALYSIS.unix_timestamp()), "scmAccounts": [person.email],
            })
        })
        .collect();
    Ok(json!({ "paging": render::paging(page, found.len() as u64), "users": users }))
}

/// Who a caller is.
pub(super) fn current(world: &World) -> Value {
    let Some(person) = first(world) else { return json!({}) };
    json!({
        "isLoggedIn": true, "login": person.login, "name": person.name, "email": person.email, "local": true,
        "externalIdentity": person.login, "externalProvider": "sonarqube", "groups": groups_of(0), "scmAccounts": [],
        "permissions": { "global": ["admin", "gateadmin", "profileadmin", "provisioning", "scan"] },
        "showOnboardingTutorial": false, "homepage": { "type": "PROJECTS" }, "settings": [],
    })
}

/// # Errors
/// What is wrong with the page.
pub(super) fn groups(world: &World, given: &Parameters) -> Result<Value, String> {
    let page = given.page()?;
    let all = listed_groups(world);
    let groups: Vec<_> = all
        .iter()
        .map(|(id, name, description, members)| {
            json!({
                "id": id, "name": name, "description": description, "membersCount": members, "default": *name == EVERYBODY,
                "managed": false,
            })
        })
        .collect();
    Ok(json!({ "paging": render::paging(page, groups.len() as u64), "groups": groups }))
}

fn listed_groups(world: &World) -> [(&'static str, &'static str, &'static str, usize); 2] {
    [
        ("1", ADMINISTRATORS, "System administrators", 1),
        ("2", EVERYBODY, "All authenticated users", world.authors.len()),
    ]
}

/// The groups of a user, or the users of a group.
pub(super) fn memberships_of_user(world: &World, given: &Parameters) -> Value {
    let login = given.get("login").unwrap_or_default();
    let at = world.authors.iter().position(|person| person.login == login);
    let groups = at.map(groups_of).unwrap_or_default();
    let groups: Vec<_> = listed_groups(world)
        .iter()
        .filter(|(_, name, ..)| groups.contains(name))
        .map(|(id, name, description, _)| {
            json!({ "id": id, "name": name, "description": description, "selected": true, "default": *name == EVERYBODY })
        })
        .collect();
    json!({ "paging": { "pageIndex": 1, "pageSize": 25, "total": groups.len() }, "groups": groups })
}

pub(super) fn members(world: &World, given: &Parameters) -> Value {
    let name = given.get("name").unwrap_or_default();
    let people = world
        .authors
        .iter()
        .enumerate()
        .filter(|(at, _)| groups_of(*at).contains(&name));
    let users: Vec<_> = people
        .map(|(_, person)| json!({ "login": person.login, "name": person.name, "selected": true, "managed": false }))
        .collect();
    json!({ "p": 1, "ps": users.len(), "total": users.len(), "users": users, "paging": { "pageIndex": 1, "pageSize": users.len(), "total": users.len() } })
}

// The second generation of the API, where pages have other names.

/// The part of a list that `pageIndex` and `pageSize` ask for.
fn paged(key: &str, all: &[Value], given: &Parameters) -> Value {
    let number = |name: &str, usual: usize| given.get(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (index, size) = (number("pageIndex", 1).max(1), number("pageSize", 50).min(500));
    let shown: Vec<_> = all.iter().skip((index - 1).saturating_mul(size)).take(size).collect();
    json!({ key: shown, "page": { "pageIndex": index, "pageSize": size, "total": all.len() } })
}

fn user_v2(at: usize, person: &Person) -> Value {
    json!({
        "id": identifier("user", at), "login": person.login, "name": person.name, "email": person.email, "active": true,
        "local": true, "managed": false, "externalLogin": person.login, "externalProvider": "sonarqube",
        "externalId": identifier("user", at), "avatar": "",
        "sonarQubeLastConnectionDate": date_time(LAST_ANALYSIS.unix_timestamp()),
        "sonarLintLastConnectionDate": null, "scmAccounts": [person.email],
    })
}

/// Identifiers are UUIDs, as nobody reads them.
fn identifier(kind: &str, at: usize) -> String {
    let kind = if kind == "user" { 1 } else { 2 };
    format!("00000000-0000-4000-8000-{kind:04x}{at:08x}")
}

pub(super) fn users_v2(world: &World, given: &Parameters) -> Value {
    let users: Vec<_> = selected(world, given)
        .into_iter()
        .map(|(at, person)| user_v2(at, person))
        .collect();
    paged("users", &users, given)
}

/// One user by identifier.
pub(super) fn user_by_id(world: &World, id: &str) -> Option<Value> {
    let mut people = world.authors.iter().enumerate();
    let (at, person) = people.find(|(at, _)| identifier("user", *at) == id)?;
    Some(user_v2(at, person))
}

fn group_v2(at: usize, (_, name, description, _): &(&str, &str, &str, usize)) -> Value {
    json!({
        "id": identifier("group", at), "name": name, "description": description, "managed": false,
        "default": *name == EVERYBODY,
    })
}

pub(super) fn groups_v2(world: &World, given: &Parameters) -> Value {
    let wanted = given.get("q").unwrap_or_default();
    let groups = listed_groups(world);
    let groups = groups.iter().enumerate().filter(|(_, group)| group.1.contains(wanted));
    let groups: Vec<_> = groups.map(|(at, group)| group_v2(at, group)).collect();
    paged("groups", &groups, given)
}

/// One group by identifier.
pub(super) fn group_by_id(world: &World, id: &str) -> Option<Value> {
    let groups = listed_groups(world);
    let (at, group) = groups
        .iter()
        .enumerate()
        .find(|(at, _)| identifier("group", *at) == id)?;
    Some(group_v2(at, group))
}

pub(super) fn memberships_v2(world: &World, given: &Parameters) -> Value {
    let (user, group) = (given.get("userId"), given.get("groupId"));
    let mut all = Vec::new();
    for (at, _) in world.authors.iter().enumerate() {
        for (number, (_, name, ..)) in listed_groups(world).iter().enumerate() {
            let (user_id, group_id) = (identifier("user", at), identifier("group", number));
            let wanted = user.is_none_or(|user| user == user_id) && group.is_none_or(|group| group == group_id);
            if wanted && groups_of(at).contains(name) {
                let id = format!("{number}-{at}");
                all.push(json!({ "id": id, "userId": user_id, "groupId": group_id }));
            }
        }
    }
    paged("groupMemberships", &all, given)
}
