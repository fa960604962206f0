//! The filters by project, folder and file.

use super::ORGANIZATION;
use super::facet::Facet;
use super::parameters::Parameters;
use super::query::{Filter, choose};
use super::world::{FILES, World};

/// Of these a request may have one.
const COMPONENTS: &[&str] = &[
    "componentKeys",
    "componentUuids",
    "components",
    "componentRoots",
    "componentRootUuids",
];

/// What a component key stands for.
enum NamedComponent {
    Project(usize),
    /// The places of files in all projects.
    Folder(Vec<usize>),
    File(usize),
}

/// # Errors
/// Parameters exclude each other; components are of several kinds.
pub(super) fn filters(given: &Parameters, world: &World) -> Result<Vec<Filter>, String> {
    let mut filters = Vec::new();
    // Later versions take `components` for `componentKeys`, and clients that speak to both send both.
    let doubled = world.current && given.get("components").is_some();
    let several = COMPONENTS.iter().filter(|name| !(doubled && **name == "componentKeys"));
    let mut several = several
        .map(|name| (*name, given.list(name)))
        .filter(|(_, keys)| !keys.is_empty());
    if let Some((name, keys)) = several.next() {
        if several.next().is_some() {
            // The list is SonarQube's, which has the second one twice.
            return Err("At most one of the following parameters can be provided: \
                componentKeys, componentUuids, components, componentRoots, componentUuids"
                .to_owned());
        }
        let only = given.boolean("onComponentOnly")?.unwrap_or_default() && !name.contains("Root");
        // Later versions call so what was `componentKeys`.
        filters.push(by_component(
            &keys,
            world,
            only || (name == "components" && !world.current),
        )?);
    }
    let mut keys = given.list("projectKeys");
    keys.extend(given.list("projects"));
    let uuids = given.list("projectUuids");
    if !keys.is_empty() && !uuids.is_empty() {
        return Err("Parameters projects and projectUuids cannot be set simultaneously".to_owned());
    }
    filters.extend(choose(Facet::Projects, &keys, world));
    filters.extend(choose(Facet::ProjectUuids, &uuids, world));
    filters.extend(choose(Facet::ModuleUuids, &given.list("moduleUuids"), world));
    filters.extend(choose(Facet::FileUuids, &given.list("fileUuids"), world));
    let directories = given.list("directories");
    let directories: Vec<_> = directories.iter().map(|path| path.trim_end_matches('/')).collect();
    filters.extend(choose(Facet::Directories, &directories, world));
    // Projects have one branch and no pull requests, and there is one organization.
    let elsewhere = given.get("branch").is_some_and(|branch| branch != world.branch())
        || given.get("pullRequest").is_some()
        || given.get("organization").is_some_and(|name| name != ORGANIZATION);
    filters.extend(elsewhere.then_some(Filter::Nothing));
    Ok(filters)
}

fn by_component(keys: &[&str], world: &World, only: bool) -> Result<Filter, String> {
    let (mut projects, mut files) = (
        vec![false; world.projects.len()],
        vec![false; world.projects.len() * FILES],
    );
    let mut kinds = Vec::new();
    let want = |set: &mut Vec<bool>, at: usize| {
        if let Some(wanted) = set.get_mut(at) {
            *wanted = true;
        }
    };
    for found in keys.iter().filter_map(|key| find(key, world)) {
        kinds.push(match found {
            NamedComponent::Project(at) => {
                want(&mut projects, at);
                "TRK"
            }
            // Issues are about files: a folder itself has none.
            NamedComponent::Folder(_) if only => "DIR",
            NamedComponent::Folder(inside) => {
                inside.into_iter().for_each(|at| want(&mut files, at));
                "DIR"
            }
            NamedComponent::File(at) => {
                want(&mut files, at);
                "FIL"
            }
        });
    }
    kinds.sort_unstable();
    kinds.dedup();
    match kinds.as_slice() {
        [] => Ok(Filter::Nothing),
        ["TRK"] if only => Ok(Filter::Nothing),
        ["TRK"] => Ok(Filter::Values {
            facet: Facet::ProjectUuids,
            wanted: projects,
        }),
        [_] => Ok(Filter::Values {
            facet: Facet::FileUuids,
            wanted: files,
        }),
        several => {
            let several = several.join(",");
            Err(format!("All components must have the same qualifier, found {several}"))
        }
    }
}

/// A project, a folder or a file, by its key; a project also by its uuid.
fn find(key: &str, world: &World) -> Option<NamedComponent> {
    world.projects.iter().enumerate().find_map(|(at, project)| {
        if key == project.key || key == project.uuid {
            return Some(NamedComponent::Project(at));
        }
        let path = key.strip_prefix(&project.key)?.strip_prefix(':')?;
        if let Some(file) = project.files.iter().position(|file| file == path) {
            return Some(NamedComponent::File(at * FILES + file));
        }
        let inside = |file: &String| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let files = project.files.iter().enumerate().filter(|(_, file)| inside(file));
        let files: Vec<_> = files.map(|(file, _)| at * FILES + file).collect();
        (!files.is_empty()).then_some(NamedComponent::Folder(files))
    })
}
