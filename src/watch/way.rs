//! The path to a file in detail: every name that the kernel resolves on the way, including links.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The number of links that Linux follows for one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Where a path leads, and the names that it passes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Each folder, link and file on the way, including the last one: if one of them is replaced, the path may lead
    /// elsewhere. The folders of these names contain no links.
    pub(super) names: Vec<PathBuf>,
    /// The path with all links resolved, whether it exists or not.
    pub(super) end: PathBuf,
}

impl Way {
    /// Resolves `path` in the file system as it is now. A relative path starts in the working directory.
    pub(super) fn to(path: &Path) -> Way {
        let mut way = Way::default();
        let mut links = 0;
        let mut left = parts(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        while let Some(part) = left.pop() {
            if part == "." {
                continue;
            }
            if part == ".." {
                way.end.pop();
                continue;
            }
            // Joining an absolute part replaces the path.
            let here = way.end.join(&part);
            if here.parent().is_none() {
                way.end = here;
                continue;
            }
            way.names.push(here.clone());
            match std::fs::read_link(&here) {
                Ok(target) if links < MAX_LINKS => {
                    links += 1;
                    left.extend(parts(&target));
                }
                _ => way.end = here,
            }
        }
        way
    }
}

/// The parts of a path, in reverse order.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_way_leads_over_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        std::fs::create_dir_all(at("v1/sub")).unwrap();
        symlink("v1", at("current")).unwrap();
        symlink("current/a.yaml", at("a.yaml")).unwrap();
        symlink("../../up.yaml", at("v1/sub/up.yaml")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();

        let ours = |way: Way| -> (Vec<PathBuf>, PathBuf) {
            let below = |path: &Path| path.strip_prefix(&root).map(Path::to_owned).ok();
            let names = way
                .names
                .iter()
                .filter_map(|name| below(name))
                .filter(|name| name != Path::new(""))
                .collect();
            (names, below(&way.end).unwrap())
        };
        let names = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(PathBuf::from).collect() };
        let (passed, end) = ours(Way::to(&at("a.yaml")));
        assert_eq!(
            (passed, end),
            (names(&["a.yaml", "current", "v1", "v1/a.yaml"]), "v1/a.yaml".into())
        );
        let (passed, end) = ours(Way::to(&at("./v1/sub/up.yaml")));
        assert_eq!(
            (passed, end),
            (names(&["v1", "v1/sub", "v1/sub/up.yaml", "up.yaml"]), "up.yaml".into())
        );
        let (passed, end) = ours(Way::to(&at("none/at/all")));
        assert_eq!(
            (passed, end),
            (names(&["none", "none/at", "none/at/all"]), "none/at/all".into())
        );
        assert_eq!(
            ours(Way::to(&at("loop"))).1,
            PathBuf::from("loop"),
            "a circle has an end"
        );
        assert_eq!(
            Way::to(Path::new("/")),
            Way {
                names: vec![],
                end: "/".into()
            }
        );
    }
}
