//! The types of toxics: Toxiproxy's own, with their attributes, and squall's faults.

use serde_json::{Map, Value};

use super::json::{Json, Target};

/// The faults of squall that act on connections, without those that have a name of Toxiproxy's.
const FAULTS: [&str; 10] = [
    "delay",
    "close",
    "reset",
    "hang",
    "concurrency",
    "dribble",
    "stall",
    "truncate",
    "corrupt",
    "profile",
];

/// What a toxic does: its type and its attributes, which are 0 where they are not given.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Delays the data by `latency` ± `jitter`, in ms.
    Latency { latency: i64, jitter: i64 },
    /// Limits the rate, in kB/s; 0 lets nothing pass.
    Bandwidth { rate: i64 },
    /// Delays the end of the connection, in ms.
    SlowClose { delay: i64 },
    /// Drops all data, and closes the connection after a time in ms; 0 never does.
    Timeout { timeout: i64 },
    /// Resets the connection after a time in ms.
    ResetPeer { timeout: i64 },
    /// Cuts the data in pieces of `average_size` ± `size_variation` bytes, `delay` µs apart.
    Slicer {
        average_size: i64,
        size_variation: i64,
        delay: i64,
    },
    /// Closes the connection after a number of bytes.
    LimitData { bytes: i64 },
    /// Does nothing.
    Noop,
    /// A fault of squall, with the keys that it has in YAML.
    Fault {
        name: &'static str,
        attributes: Map<String, Value>,
    },
}

impl Kind {
    /// The type of this name, with all attributes at their defaults; `None` if there is none.
    pub(super) fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "latency" => Kind::Latency { latency: 0, jitter: 0 },
            "bandwidth" => Kind::Bandwidth { rate: 0 },
            "slow_close" => Kind::SlowClose { delay: 0 },
            "timeout" => Kind::Timeout { timeout: 0 },
            "reset_peer" => Kind::ResetPeer { timeout: 0 },
            "slicer" => Kind::Slicer {
                average_size: 0,
                size_variation: 0,
                delay: 0,
            },
            "limit_data" => Kind::LimitData { bytes: 0 },
            "noop" => Kind::Noop,
            _ => Kind::Fault {
                name: FAULTS.into_iter().find(|fault| *fault == name)?,
                attributes: Map::new(),
            },
        })
    }

    /// The name of the type.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Latency { .. } => "latency",
            Kind::Bandwidth { .. } => "bandwidth",
            Kind::SlowClose { .. } => "slow_close",
            Kind::Timeout { .. } => "timeout",
            Kind::ResetPeer { .. } => "reset_peer",
            Kind::Slicer { .. } => "slicer",
            Kind::LimitData { .. } => "limit_data",
            Kind::Noop => "noop",
            Kind::Fault { name, .. } => name,
        }
    }

    /// The name of the type in Toxiproxy's own code, which its errors show.
    fn type_in_errors(&self) -> &'static str {
        match self {
            Kind::Latency { .. } => "LatencyToxic",
            Kind::Bandwidth { .. } => "BandwidthToxic",
            Kind::SlowClose { .. } => "SlowCloseToxic",
            Kind::Timeout { .. } => "TimeoutToxic",
            Kind::ResetPeer { .. } => "ResetToxic",
            Kind::Slicer { .. } => "SlicerToxic",
            Kind::LimitData { .. } => "LimitDataToxic",
            Kind::Noop => "NoopToxic",
            Kind::Fault { name, .. } => name,
        }
    }

    /// The attributes that are numbers, by name.
    fn numbers(&mut self) -> Vec<(&'static str, &mut i64)> {
        match self {
            Kind::Latency { latency, jitter } => vec![("latency", latency), ("jitter", jitter)],
            Kind::Bandwidth { rate } => vec![("rate", rate)],
            Kind::SlowClose { delay } => vec![("delay", delay)],
            Kind::Timeout { timeout } | Kind::ResetPeer { timeout } => vec![("timeout", timeout)],
            Kind::Slicer {
                average_size,
                size_variation,
                delay,
            } => vec![
                ("average_size", average_size),
                ("size_variation", size_variation),
                ("delay", delay),
            ],
            Kind::LimitData { bytes } => vec![("bytes", bytes)],
            Kind::Noop | Kind::Fault { .. } => Vec::new(),
        }
    }

    /// Changes the attributes that are given. Those of a squall fault are kept as they are, except that null removes one.
    ///
    /// # Errors
    /// They are no object, or one of Toxiproxy's own is no whole number.
    pub(super) fn merge(&mut self, given: &Json) -> Result<(), String> {
        let what = self.type_in_errors();
        if let Kind::Fault { attributes, .. } = self {
            let Json::Object(entries) = given else {
                given.fields(Target::Field("attributes", what))?;
                return Ok(());
            };
            for (key, value) in entries {
                match value {
                    Json::Null => drop(attributes.shift_remove(key)),
                    value => drop(attributes.insert(key.clone(), value.clone().into())),
                }
            }
            return Ok(());
        }
        let fields = given.fields(Target::Field("attributes", &format!("toxics.{what}")))?;
        let mut numbers = self.numbers();
        for (key, value) in fields {
            if let Some((name, number)) = numbers.iter_mut().find(|(name, _)| *name == key) {
                value.set_integer(number, &format!("{what}.attributes.{name}"))?;
            } else {
                // Accepted, as Toxiproxy does, which says nothing.
                let known: Vec<&str> = numbers.iter().map(|(name, _)| *name).collect();
                let valid = known.join(", ");
                tracing::warn!(
                    attribute = key,
                    valid,
                    "ignored an attribute that this type of toxic lacks"
                );
            }
        }
        Ok(())
    }

    /// The attributes as clients see them.
    pub(super) fn attributes(&self) -> Value {
        if let Kind::Fault { attributes, .. } = self {
            return attributes.clone().into();
        }
        let mut kind = self.clone();
        let numbers = kind.numbers();
        let shown = numbers
            .into_iter()
            .map(|(name, number)| (name.to_owned(), Value::from(*number)));
        Value::Object(shown.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultSpec;

    #[test]
    fn attributes_are_merged() {
        let check = |kind: &str, given: &[&str], expected: Result<&str, &str>| {
            let mut kind = Kind::named(kind).unwrap();
            let merged = given
                .iter()
                .try_for_each(|given| kind.merge(&Json::first(given.as_bytes()).unwrap()));
            let shown = merged.map(|()| kind.attributes().to_string());
            assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{kind:?} {given:?}");
        };
        check("latency", &[], Ok(r#"{"latency":0,"jitter":0}"#));
        check("noop", &["{\"a\":1}"], Ok("{}"));
        check(
            "latency",
            &[r#"{"LATENCY":5,"other":"x"}"#, r#"{"jitter":2,"latency":null}"#],
            Ok(r#"{"latency":5,"jitter":2}"#),
        );
        check("bandwidth", &["null"], Ok(r#"{"rate":0}"#));
        check("bandwidth", &[r#"{"rate":1,"Rate":-3}"#], Ok(r#"{"rate":-3}"#));
        check(
            "slicer",
            &[r#"{"delay":"1"}"#],
            Err("json: cannot unmarshal string into Go struct field SlicerToxic.attributes.delay of type int64"),
        );
        check(
            "limit_data",
            &["[]"],
            Err("json: cannot unmarshal array into Go struct field attributes of type toxics.LimitDataToxic"),
        );
        check(
            "delay",
            &[r#"{"fixed":"1s","max":"2s"}"#, r#"{"max":null,"correlation":"10%"}"#],
            Ok(r#"{"fixed":"1s","correlation":"10%"}"#),
        );
        assert_eq!(Kind::named("Latency"), None);
        assert_eq!(Kind::named("abort"), None);
    }

    #[test]
    fn every_fault_here_is_one_of_squall() {
        let schema = serde_json::to_string(&schemars::schema_for!(FaultSpec)).unwrap();
        for fault in FAULTS {
            assert!(schema.contains(&format!("\"{fault}\"")), "{fault}");
        }
    }
}
