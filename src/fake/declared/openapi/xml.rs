//! Values as XML, as the `xml:` of their schemas says (OpenAPI 3.1.1, section 4.8.26).

use serde_json::Value;

use super::document::Document;
use crate::fake::schema::reference;

/// How deep schemas are composed at most.
const DEPTH_LIMIT: usize = 16;

/// The largest number of schemas that one is composed of.
const LAYERS_LIMIT: usize = 64;

/// A value as a document of XML.
pub(super) fn write(document: &Document, schema: Option<&Value>, value: &Value) -> String {
    let mut writer = Writer {
        document,
        text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"),
    };
    let layers = writer.layers(schema);
    let name = xml(&layers, "name").and_then(Value::as_str);
    let name = name.or_else(|| referred(schema?)).unwrap_or("root");
    match value {
        Value::Array(items) => writer.wrapped(name, &layers, items),
        value => writer.element(name, &layers, value),
    }
    writer.text
}

struct Writer<'a> {
    document: &'a Document,
    text: String,
}

impl<'a> Writer<'a> {
    /// A schema with those that it is composed of.
    fn layers(&self, schema: Option<&'a Value>) -> Vec<&'a Value> {
        let mut layers = Vec::new();
        if let Some(schema) = schema {
            self.add(schema, &mut layers, 0);
        }
        layers
    }

    fn add(&self, schema: &'a Value, layers: &mut Vec<&'a Value>, depth: usize) {
        let resolved = self.document.resolve(schema);
        if depth > DEPTH_LIMIT || layers.len() >= LAYERS_LIMIT {
            return;
        }
        // Since 3.1, what stands beside a reference counts, too.
        if !std::ptr::eq(resolved, schema) {
            layers.push(schema);
        }
        layers.push(resolved);
        for key in ["allOf", "oneOf", "anyOf"] {
            for part in resolved.get(key).and_then(Value::as_array).into_iter().flatten() {
                self.add(part, layers, depth + 1);
            }
        }
    }

    fn property(&self, layers: &[&'a Value], name: &str) -> Option<&'a Value> {
        let declared = |layer: &&'a Value| layer.get("properties")?.get(name);
        layers.iter().find_map(declared)
    }

    /// An element for a single value, not for a list.
    fn element(&mut self, name: &str, layers: &[&'a Value], value: &Value) {
        let name = self.open(name, layers);
        let Value::Object(map) = value else {
            self.text.push('>');
            self.content(value);
            return self.close(&name);
        };
        let mut parts = Vec::new();
        for (key, value) in map {
            let schema = self.property(layers, key);
            let layers = self.layers(schema);
            let node = xml(&layers, "nodeType").and_then(Value::as_str);
            if xml(&layers, "attribute") == Some(&Value::Bool(true)) || node == Some("attribute") {
                self.attribute(&qualified(key, &layers), value);
            } else {
                parts.push((key, schema, layers, value, node));
            }
        }
        self.text.push('>');
        for (key, schema, layers, value, node) in parts {
            match value {
                _ if matches!(node, Some("text" | "cdata")) => self.content(value),
                Value::Array(items) => self.list(key, schema, &layers, items),
                value => self.element(key, &layers, value),
            }
        }
        self.close(&name);
    }

    /// A list that is a property: an element for each item, in one around them if it is wrapped.
    fn list(&mut self, key: &str, schema: Option<&'a Value>, layers: &[&'a Value], items: &[Value]) {
        let own = xml(layers, "name").and_then(Value::as_str).unwrap_or(key);
        if xml(layers, "wrapped") == Some(&Value::Bool(true)) || schema.is_none() && items.is_empty() {
            return self.wrapped(own, layers, items);
        }
        self.items(own, layers, items);
    }

    fn wrapped(&mut self, name: &str, layers: &[&'a Value], items: &[Value]) {
        let opened = self.open(name, layers);
        self.text.push('>');
        let inside = layers.iter().find_map(|layer| referred(layer.get("items")?));
        self.items(inside.unwrap_or(name), layers, items);
        self.close(&opened);
    }

    fn items(&mut self, name: &str, layers: &[&'a Value], items: &[Value]) {
        let of = layers.iter().find_map(|layer| layer.get("items"));
        let layers = self.layers(of);
        for item in items {
            match item {
                Value::Array(items) => self.wrapped(name, &layers, items),
                item => self.element(name, &layers, item),
            }
        }
    }

    /// Begins a tag, without its `>`. Returns its name.
    fn open(&mut self, name: &str, layers: &[&'a Value]) -> String {
        let name = qualified(name, layers);
        self.text.push('<');
        self.text.push_str(&name);
        if let Some(namespace) = xml(layers, "namespace") {
            let attribute = match name.split_once(':') {
                Some((prefix, _)) => format!("xmlns:{prefix}"),
                None => "xmlns".to_owned(),
            };
            self.attribute(&attribute, namespace);
        }
        name
    }

    fn close(&mut self, name: &str) {
        self.text.push_str(&format!("</{name}>"));
    }

    fn attribute(&mut self, name: &str, value: &Value) {
        let value = escape(&plain(value)).replace('"', "&quot;");
        self.text.push_str(&format!(" {name}=\"{value}\""));
    }

    fn content(&mut self, value: &Value) {
        self.text.push_str(&escape(&plain(value)));
    }
}

/// What the first of the layers says of a key below `xml`.
fn xml<'a>(layers: &[&'a Value], key: &str) -> Option<&'a Value> {
    layers.iter().find_map(|layer| layer.get("xml")?.get(key))
}

/// The name of an element or an attribute: its own, or the one that the schema has for it, after the prefix.
fn qualified(name: &str, layers: &[&Value]) -> String {
    let name = xml(layers, "name").and_then(Value::as_str).unwrap_or(name);
    let letters = |character: char| character.is_alphanumeric() || "_-.".contains(character);
    let name = if name.starts_with(|first: char| first.is_alphabetic() || first == '_') && name.chars().all(letters) {
        name
    } else {
        "item"
    };
    match xml(layers, "prefix").and_then(Value::as_str) {
        Some(prefix) if !prefix.is_empty() && prefix.chars().all(letters) => format!("{prefix}:{name}"),
        _ => name.to_owned(),
    }
}

/// The last part of a reference, which names what it leads to.
fn referred(schema: &Value) -> Option<&str> {
    reference(schema)?.rsplit('/').next()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn escape(text: &str) -> String {
    // Other control characters can't stand in XML at all.
    let kept: String = text
        .chars()
        .filter(|character| !character.is_control() || "\t\n\r".contains(*character))
        .collect();
    kept.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, value: Value, expected: &str) {
        let text = json!({"openapi": "3.1.0", "components": {"schemas": {
            "Tag": {"type": "object", "properties": {"name": {"type": "string"}}}}}, "x": schema});
        let document = Document::read_from(text.to_string().as_bytes(), None).unwrap();
        let written = write(&document, document.root.get("x"), &value);
        assert_eq!(written.split_once('\n').unwrap().1, expected);
    }

    #[test]
    fn elements_are_as_the_schema_says() {
        check(
            json!({"type": "object", "xml": {"name": "pet", "prefix": "p", "namespace": "urn:x"}, "properties": {
                "id": {"type": "integer", "xml": {"attribute": true}},
                "photos": {"type": "array", "xml": {"wrapped": true}, "items": {"type": "string", "xml": {"name": "photo"}}},
                "tags": {"type": "array", "items": {"$ref": "#/components/schemas/Tag"}},
                "note": {"type": "string", "xml": {"name": "remark"}}}}),
            json!({"photos": ["a"], "id": 7, "tags": [{"name": "<&>"}, {}], "note": null}),
            "<p:pet xmlns:p=\"urn:x\" id=\"7\"><photos><photo>a</photo></photos><tags><name>&lt;&amp;&gt;</name></tags>\
             <tags></tags><remark></remark></p:pet>",
        );
    }

    #[test]
    fn lists_stand_in_an_element() {
        let tags = json!({"type": "array", "items": {"$ref": "#/components/schemas/Tag"}});
        check(tags, json!([{"name": "a"}]), "<root><Tag><name>a</name></Tag></root>");
        let named =
            json!({"type": "array", "xml": {"name": "tags"}, "items": {"type": "string", "xml": {"name": "tag"}}});
        check(named, json!(["a", "b"]), "<tags><tag>a</tag><tag>b</tag></tags>");
    }

    #[test]
    fn what_is_composed_has_the_words_of_its_parts() {
        let schema = json!({"allOf": [{"properties": {"id": {"xml": {"attribute": true}}}}, {"xml": {"name": "x"}}]});
        check(
            schema,
            json!({"id": "a\"b", "1": [true]}),
            "<x id=\"a&quot;b\"><item>true</item></x>",
        );
    }
}
