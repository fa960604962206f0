//! A toxic: what clients ask for, and the rule that carries it out.

use std::sync::Arc;

use serde_json::{Value, json};

use super::json::{Json, Target};
use super::kind::Kind;
use super::refusal::Refusal;
use super::rules::Rules;
use crate::rule::decide::Rule;
use crate::shape::Direction;

/// A toxic of a proxy.
#[derive(Debug, Clone)]
pub(super) struct Toxic {
    pub(super) name: String,
    /// As typed: `upstream` or `downstream`, in any case.
    stream: String,
    pub(super) direction: Direction,
    /// The share of connections, 0 to 1; clients may set any number.
    toxicity: f32,
    kind: Kind,
    /// `None` for a toxic that has no effect.
    pub(super) rule: Option<Arc<Rule>>,
}

/// A toxic as a client asks for it, with the fields that every type has.
struct Asked<'a> {
    name: String,
    kind: String,
    stream: String,
    toxicity: f32,
    attributes: Vec<&'a Json>,
}

impl Toxic {
    /// The toxic that a client asks for. `taken` tells whether a name has a toxic already.
    ///
    /// # Errors
    /// In Toxiproxy's order: a wrong type of value, the stream, the type, the name, the attributes.
    pub(super) fn create(
        asked: &Json,
        proxy: &str,
        rules: &Rules,
        taken: impl Fn(&str) -> bool,
    ) -> Result<Toxic, Refusal> {
        let asked = Asked::read(asked).map_err(Refusal::bad_body)?;
        let direction = match asked.stream.to_ascii_lowercase().as_str() {
            "upstream" => Direction::Request,
            "downstream" => Direction::Response,
            _ => return Err(Refusal::invalid_stream()),
        };
        let name = match asked.name.as_str() {
            "" => format!("{}_{}", asked.kind, asked.stream),
            name => name.to_owned(),
        };
        let kind = Kind::named(&asked.kind).ok_or_else(Refusal::invalid_type)?;
        if taken(&name) {
            return Err(Refusal::toxic_exists());
        }
        let toxic = Toxic {
            name,
            stream: asked.stream,
            direction,
            toxicity: asked.toxicity,
            kind,
            rule: None,
        };
        toxic
            .changed(&asked.attributes, asked.toxicity, proxy, rules)
            .map_err(Refusal::bad_body)
    }

    /// The toxic after an update, which may change attributes and the toxicity.
    ///
    /// # Errors
    /// A value has a wrong type, or squall can't do what is asked. The toxic stays as it was.
    pub(super) fn update(&self, asked: &Json, proxy: &str, rules: &Rules) -> Result<Toxic, Refusal> {
        let (mut attributes, mut toxicity) = (Vec::new(), self.toxicity);
        let mut read = || {
            for (key, value) in asked.fields(Target::Whole("struct { Attributes interface {}; Toxicity float32 }"))? {
                match key.as_str() {
                    "attributes" => attributes.push(value),
                    "toxicity" => value.set_single(&mut toxicity, "toxicity")?,
                    _ => {}
                }
            }
            Ok(())
        };
        let read: Result<(), String> = read();
        read.map_err(Refusal::bad_body)?;
        self.changed(&attributes, toxicity, proxy, rules)
            .map_err(Refusal::bad_body)
    }

    /// The toxic with other attributes, and the rule for them. An equal rule is kept, with its state.
    fn changed(&self, attributes: &[&Json], toxicity: f32, proxy: &str, rules: &Rules) -> Result<Toxic, String> {
        let mut toxic = Toxic {
            toxicity,
            ..self.clone()
        };
        attributes.iter().try_for_each(|given| toxic.kind.merge(given))?;
        toxic.rule = rules.compile(
            &super::rules::Wish {
                proxy,
                toxic: &toxic.name,
                kind: &toxic.kind,
                direction: toxic.direction,
                toxicity,
            },
            self.rule.as_ref(),
        )?;
        Ok(toxic)
    }

    /// The toxic as clients see it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "attributes": self.kind.attributes(),
            "name": self.name,
            "type": self.kind.name(),
            "stream": self.stream,
            "toxicity": single(self.toxicity),
        })
    }
}

impl<'a> Asked<'a> {
    fn read(asked: &'a Json) -> Result<Asked<'a>, String> {
        let mut toxic = Asked {
            name: String::new(),
            kind: String::new(),
            stream: "downstream".into(),
            toxicity: 1.0,
            attributes: Vec::new(),
        };
        for (key, value) in asked.fields(Target::Whole("toxics.ToxicWrapper"))? {
            match key.as_str() {
                "name" => value.set_text(&mut toxic.name, "ToxicWrapper.name")?,
                "type" => value.set_text(&mut toxic.kind, "ToxicWrapper.type")?,
                "stream" => value.set_text(&mut toxic.stream, "ToxicWrapper.stream")?,
                "toxicity" => value.set_single(&mut toxic.toxicity, "ToxicWrapper.toxicity")?,
                "attributes" => {
                    value.fields(Target::Field("ToxicWrapper.attributes", "toxics.NoopToxic"))?;
                    toxic.attributes.push(value);
                }
                _ => {}
            }
        }
        Ok(toxic)
    }
}

/// A number as Go writes it: the shortest text that reads back as the same single, without `.0`.
fn single(number: f32) -> Value {
    let text = number.to_string();
    let parsed = text.parse::<i64>().map(Value::from).ok();
    parsed
        .or_else(|| text.parse::<f64>().ok().map(Value::from))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toxicities_are_written_as_in_go() {
        let written: Vec<String> = [1.0, 0.0, 0.2, 0.333_333_34, -1.5, 2.0]
            .map(|number| single(number).to_string())
            .into();
        assert_eq!(written, ["1", "0", "0.2", "0.33333334", "-1.5", "2"]);
    }
}
