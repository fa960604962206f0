use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Parts;
use crate::fault::context::Context;
use crate::fault::template::{Template, Templates};

fn unreadable(_: &Path, _: usize) -> io::Result<Bytes> {
    Err(io::ErrorKind::NotFound.into())
}

/// Takes every text as plain.
#[derive(Debug)]
struct NoTemplates;

impl Templates for NoTemplates {
    fn text(&self, _: &str) -> Result<Option<Arc<dyn Template>>, String> {
        Ok(None)
    }

    fn json(&self, _: &serde_json::Value) -> Result<Option<Arc<dyn Template>>, String> {
        Ok(None)
    }
}

/// A context without files, and with waits of at most an hour.
pub fn context() -> Context<'static> {
    Context {
        folder: Path::new("."),
        read: &unreadable,
        keys: std::num::NonZeroUsize::MIN,
        longest_wait: Duration::from_secs(3600),
        templates: &NoTemplates,
        rule: "r",
    }
}

/// Reads a fault's YAML, and checks the round trip.
pub fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(yaml: &str) -> Result<T, String> {
    let spec: T = crate::yaml::testing::read(yaml)?;
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(serde_json::from_value::<T>(written).unwrap(), spec, "{yaml}");
    Ok(spec)
}

/// The only part, such as `Response Drop(Every(3))`.
pub fn shown(parts: Parts) -> String {
    let [part] = parts.0.as_slice() else {
        panic!("not one part: {parts:?}")
    };
    format!("{:?} {:?}", part.direction, part.act)
}

/// Checks the result of `compile` for each YAML: the part, or a piece of the error.
#[track_caller]
pub fn check(compile: impl Fn(&str) -> Result<Parts, String>, cases: &[(&str, Result<&str, &str>)]) {
    for (yaml, expect) in cases {
        match (compile(yaml).map(shown), expect) {
            (Ok(part), Ok(expect)) => assert_eq!(part, *expect, "{yaml}"),
            (Err(error), Err(expect)) => assert!(error.contains(expect), "{yaml}: {error}"),
            (found, _) => panic!("{yaml}: {found:?} instead of {expect:?}"),
        }
    }
}
