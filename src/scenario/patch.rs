//! Changes of a rule as typed: one number in it, everything else kept.

use serde_json::{Map, Value, json};

use super::curve::Property;

/// The keys of a long `delay` that say how long it is: all are replaced by `fixed`.
const DISTRIBUTIONS: [&str; 10] = [
    "fixed",
    "uniform",
    "normal",
    "lognormal",
    "exponential",
    "pareto",
    "percentiles",
    "samples",
    "wave",
    "correlation",
];

/// The members of a rule as typed that change with one of its numbers, as a merge patch (RFC 7396).
///
/// # Errors
/// A sentence: the rule does not have this number, or has it more than once.
pub fn set(rule: &Value, property: Property, value: f64) -> Result<Value, String> {
    let text = property.write(value);
    if property == Property::Percentage {
        return Ok(json!({"when": {"percentage": text}}));
    }
    let list = ["faults", "choose"].into_iter().find(|list| rule.get(list).is_some());
    let (Some(list), name) = (list, property.name()) else {
        return Err("the rule has no faults".into());
    };
    let mut changed = rule.get(list).cloned().unwrap_or_default();
    let mut found = Vec::new();
    find(&mut changed, name, &mut found);
    match found.as_mut_slice() {
        [fault] => {
            match property {
                Property::Delay => set_delay(fault, &text),
                _ => set_rates(fault, &text),
            }
            Ok(json!({list: changed}))
        }
        [] => Err(format!("the rule has no fault `{name}`")),
        _ => Err(format!(
            "the rule has more than one fault `{name}`, so which one is meant is not clear"
        )),
    }
}

/// Finds the settings of all faults of a kind, in `faults` or in the outcomes of `choose`.
fn find<'a>(value: &'a mut Value, name: &str, found: &mut Vec<&'a mut Value>) {
    for item in value.as_array_mut().into_iter().flatten() {
        let Some(item) = item.as_object_mut() else {
            continue;
        };
        for (key, value) in item {
            if key == name {
                found.push(value);
            } else if key == "faults" {
                find(value, name, found);
            }
        }
    }
}

fn set_delay(fault: &mut Value, time: &str) {
    match fault.as_object_mut() {
        Some(long) => {
            long.retain(|key, _| !DISTRIBUTIONS.contains(&key.as_str()));
            // The scenario says how long it is, so a cap would only bend the curve.
            long.remove("max");
            long.insert("fixed".into(), time.into());
        }
        None => *fault = time.into(),
    }
}

/// Changes the rates that are given; a direction without one stays without.
fn set_rates(fault: &mut Value, rate: &str) {
    let Some(long) = fault.as_object_mut() else {
        *fault = rate.into();
        return;
    };
    for direction in ["response", "request"] {
        if let Some(given) = long.get_mut(direction) {
            *given = rate.into();
        }
    }
}

/// Applies a merge patch (RFC 7396).
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if let Some(target) = target.as_object_mut() {
            if value.is_null() {
                target.shift_remove(key);
            } else {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_faults_and_options_stay() {
        let rule = json!({"faults": [{"abort": 503}, {"delay": {"lognormal": {"median": "1s"}, "mode": "floor", "max": "9s"}}]});
        let patch = set(&rule, Property::Delay, 1.5).unwrap();
        assert_eq!(
            patch,
            json!({"faults": [{"abort": 503}, {"delay": {"mode": "floor", "fixed": "1.5s"}}]})
        );
        let rule = json!({"faults": [{"delay": "200ms"}]});
        assert_eq!(
            set(&rule, Property::Delay, 0.25).unwrap(),
            json!({"faults": [{"delay": "250ms"}]})
        );
        let rule = json!({"choose": [{"weight": 1}, {"weight": 2, "faults": [{"delay": "1s"}]}]});
        let patch = json!({"choose": [{"weight": 1}, {"weight": 2, "faults": [{"delay": "2s"}]}]});
        assert_eq!(set(&rule, Property::Delay, 2.0).unwrap(), patch);
    }

    #[test]
    fn rates_change_where_they_are_given() {
        let rule = json!({"faults": [{"bandwidth": {"response": "1KiB/s", "scope": "rule"}}]});
        let patch = set(&rule, Property::Bandwidth, 2048.0).unwrap();
        assert_eq!(
            patch["faults"][0]["bandwidth"],
            json!({"response": "2048B/s", "scope": "rule"})
        );
    }

    #[test]
    fn percentages_are_in_when() {
        let mut rule = json!({"when": {"every": 2}, "faults": []});
        let patch = set(&rule, Property::Percentage, 12.5).unwrap();
        merge(&mut rule, &patch);
        assert_eq!(rule, json!({"when": {"every": 2, "percentage": "12.5%"}, "faults": []}));
    }

    #[test]
    fn what_is_missing_or_unclear_is_said() {
        let error = |rule: Value| set(&rule, Property::Delay, 1.0).unwrap_err();
        assert_eq!(
            error(json!({"faults": [{"abort": 503}]})),
            "the rule has no fault `delay`"
        );
        assert!(error(json!({"faults": [{"delay": "1s"}, {"delay": "2s"}]})).contains("more than one"));
    }
}
