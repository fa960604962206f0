//! What clients ask of proxies: creating, populating, changing.

use super::json::{Json, Target};
use super::refusal::Refusal;
use super::rules::Rules;
use super::toxic::Toxic;

/// The most toxics of a proxy: each connection decides all of them.
pub(super) const MAX_TOXICS: usize = 1000;

/// A proxy that is to be created.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) enabled: bool,
    toxics: Vec<Json>,
}

/// A change of a proxy. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) listen: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) enabled: Option<bool>,
}

impl Wanted {
    /// The proxy in the body of a request.
    ///
    /// # Errors
    /// A value has the wrong type, or the name or the upstream is missing.
    pub(super) fn one(body: &Json) -> Result<Wanted, Refusal> {
        let wanted = Wanted::read(body, Target::Whole("toxiproxy.Proxy")).map_err(Refusal::bad_body)?;
        wanted.check("")?;
        Ok(wanted)
    }

    /// The proxies in the body of a request, or in a configuration file.
    ///
    /// # Errors
    /// See [`Wanted::one`]; all of them are checked.
    pub(super) fn many(body: &Json) -> Result<Vec<Wanted>, Refusal> {
        let read = || {
            let items = body.items(Target::Whole("[]toxiproxy.Proxy"))?;
            let read = |item| Wanted::read(item, Target::Whole("toxiproxy.Proxy"));
            items.iter().map(read).collect::<Result<Vec<Wanted>, String>>()
        };
        let all = read().map_err(Refusal::bad_body)?;
        for (index, wanted) in all.iter().enumerate() {
            wanted.check(&format!(" at proxy {}", index + 1))?;
        }
        Ok(all)
    }

    fn read(body: &Json, target: Target<'_>) -> Result<Wanted, String> {
        let mut wanted = Wanted {
            name: String::new(),
            listen: String::new(),
            upstream: String::new(),
            enabled: true,
            toxics: Vec::new(),
        };
        for (key, value) in body.fields(target)? {
            match key.as_str() {
                "name" => value.set_text(&mut wanted.name, "Proxy.name")?,
                "listen" => value.set_text(&mut wanted.listen, "Proxy.listen")?,
                "upstream" => value.set_text(&mut wanted.upstream, "Proxy.upstream")?,
                "enabled" => value.set_flag(&mut wanted.enabled, "Proxy.enabled")?,
                "toxics" => {
                    let toxics = value.items(Target::Field("Proxy.toxics", "[]toxics.Toxic"))?;
                    toxics.clone_into(&mut wanted.toxics);
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn check(&self, place: &str) -> Result<(), Refusal> {
        let missing = |field: &str| Err(Refusal::missing(field).at(place));
        match (self.name.as_str(), self.upstream.as_str()) {
            ("", _) => missing("name"),
            (_, "") => missing("upstream"),
            _ => Ok(()),
        }
    }

    /// The toxics that it is to begin with, compiled.
    ///
    /// # Errors
    /// One of them is refused; then the proxy is not created.
    pub(super) fn toxics(&self, rules: &Rules) -> Result<Vec<Toxic>, Refusal> {
        if self.toxics.len() > MAX_TOXICS {
            return Err(Refusal::too_many_toxics());
        }
        let mut toxics: Vec<Toxic> = Vec::with_capacity(self.toxics.len());
        for (index, asked) in self.toxics.iter().enumerate() {
            let taken = |name: &str| toxics.iter().any(|toxic| toxic.name == name);
            let toxic = Toxic::create(asked, &self.name, rules, taken);
            toxics.push(toxic.map_err(|refusal| refusal.at(&format!(" at toxic {}", index + 1)))?);
        }
        Ok(toxics)
    }
}

impl Change {
    /// The change in the body of a request. The name can't be changed.
    ///
    /// # Errors
    /// A value has the wrong type.
    pub(super) fn read(body: &Json) -> Result<Change, String> {
        let mut change = Change::default();
        for (key, value) in body.fields(Target::Whole("toxiproxy.Proxy"))? {
            match key.as_str() {
                _ if *value == Json::Null => {}
                "name" => value.set_text(&mut String::new(), "Proxy.name")?,
                "listen" => value.set_text(change.listen.get_or_insert_default(), "Proxy.listen")?,
                "upstream" => value.set_text(change.upstream.get_or_insert_default(), "Proxy.upstream")?,
                "enabled" => value.set_flag(change.enabled.get_or_insert_default(), "Proxy.enabled")?,
                _ => {}
            }
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::first(text.as_bytes()).unwrap()
    }

    #[test]
    fn mistakes_are_those_of_toxiproxy() {
        let one = |text: &str| Wanted::one(&json(text)).unwrap_err().message;
        assert_eq!(one("{}"), "missing required field: name");
        assert_eq!(one("null"), "missing required field: name");
        assert_eq!(one(r#"{"NAME":"a"}"#), "missing required field: upstream");
        assert_eq!(
            one("[]"),
            "bad request body: json: cannot unmarshal array into Go value of type toxiproxy.Proxy"
        );
        assert_eq!(
            one(r#"{"name":5}"#),
            "bad request body: json: cannot unmarshal number into Go struct field Proxy.name of type string"
        );
        let many = |text: &str| Wanted::many(&json(text)).unwrap_err().message;
        assert_eq!(
            many(r#"[{"name":"a","upstream":"b"},{"name":"c"}]"#),
            "missing required field: upstream at proxy 2"
        );
        assert!(many("{}").starts_with("bad request body: json: cannot unmarshal object"));
        assert_eq!(Wanted::many(&json("null")), Ok(Vec::new()));
    }

    #[test]
    fn a_proxy_is_enabled_unless_told_otherwise() {
        let enabled = |text: &str| Wanted::one(&json(text)).unwrap().enabled;
        assert!(enabled(r#"{"name":"a","upstream":"b"}"#));
        assert!(enabled(r#"{"name":"a","upstream":"b","enabled":null,"other":[]}"#));
        assert!(!enabled(r#"{"name":"a","upstream":"b","Enabled":false}"#));
    }

    #[test]
    fn a_change_has_what_is_given() {
        let change = Change::read(&json(r#"{"name":"x","listen":null,"enabled":false}"#));
        let expected = Change {
            enabled: Some(false),
            ..Change::default()
        };
        assert_eq!(change, Ok(expected));
        assert!(Change::read(&json(r#"{"upstream":1}"#)).is_err());
    }
}
