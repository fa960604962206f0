//! What both APIs have in common: a conversation is read, and a reply to it made.

use serde_json::{Value, json};

use super::text;
use super::text::Tokens;
use crate::fake::schema::Maker;

/// Tokens that a reply has at most, whatever is asked for.
pub(super) const MOST_TOKENS: u64 = 16_384;

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) model: String,
    /// All messages as text, for counting and for drawing.
    pub(super) conversation: String,
    /// Tokens of the conversation.
    pub(super) prompt_tokens: u64,
    /// The last message, if it is the user's.
    pub(super) last: String,
    /// The reply's limit.
    pub(super) most: Option<u64>,
    pub(super) stops: Vec<String>,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Choice,
    /// The reply has to be JSON: that fits the schema, if there is one.
    pub(super) json: Option<Value>,
    pub(super) stream: bool,
}

/// A function that the model may call.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) name: String,
    /// The JSON schema of its arguments.
    pub(super) schema: Value,
}

impl Tool {
    /// A function as OpenAI describes it.
    pub(super) fn read(function: &Value) -> Option<Self> {
        Some(Self {
            name: function.get("name")?.as_str()?.to_owned(),
            schema: match function.get("parameters") {
                Some(schema @ Value::Object(_)) => schema.clone(),
                _ => json!({ "type": "object" }),
            },
        })
    }
}

/// Whether a tool is to be called.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    /// One, if the last message is the user's and doesn't say what the reply is: the one that it names, or else the first.
    /// A conversation that ends with a tool's result gets a text, so that agents come to an end.
    #[default]
    Auto,
    Never,
    /// Any.
    Required,
    /// This one.
    Named(String),
}

/// What the model says.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its text, or the arguments of the call.
    pub(super) text: String,
    /// The tool that is called.
    pub(super) tool: Option<String>,
    pub(super) end: StopReason,
}

/// Why a reply ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    Natural,
    Length,
    Stopped(String),
    Tool,
}

impl Reply {
    /// Its pieces, as they are streamed.
    pub(super) fn tokens(&self) -> Tokens {
        Tokens::new(&self.text)
    }

    /// At least one, so that usage is never nothing.
    pub(super) fn count(&self) -> u64 {
        text::count(&self.text).max(1)
    }
}

impl Ask {
    /// Adds a message; its role costs four tokens.
    pub(super) fn add(&mut self, role: &str, content: &str) {
        self.prompt_tokens += text::count(content) + 4;
        self.conversation.push_str(role);
        self.conversation.push('\n');
        self.conversation.push_str(content);
        self.conversation.push('\n');
        self.last.clear();
        if role == "user" {
            content.clone_into(&mut self.last);
        }
    }

    /// Adds the text of tools, which cost tokens, too.
    pub(super) fn add_tools(&mut self, tools: Vec<Tool>) {
        for tool in &tools {
            self.prompt_tokens += text::count(&tool.name) + text::count(&tool.schema.to_string());
        }
        self.tools = tools;
    }

    /// The reply; `choice` is its number among several.
    pub(super) fn reply(&self, seed: u64, choice: u64) -> Reply {
        let mut dice = text::dice(seed, &self.conversation, choice);
        let most = self.most.unwrap_or(MOST_TOKENS).min(MOST_TOKENS);
        if let Some(tool) = self.called() {
            let arguments = Maker::new(&tool.schema, dice).value(&tool.schema, "").to_string();
            let (text, end) = cut(arguments, most, &[]);
            return Reply {
                text,
                tool: Some(tool.name.clone()),
                end: if end == StopReason::Natural {
                    StopReason::Tool
                } else {
                    end
                },
            };
        }
        let said = match &self.json {
            Some(schema) => Maker::new(schema, dice).value(schema, "").to_string(),
            None => text::reply(&mut dice, &self.last, MOST_TOKENS),
        };
        let (text, end) = cut(said, most, &self.stops);
        Reply { text, tool: None, end }
    }

    fn called(&self) -> Option<&Tool> {
        let mentioned = || self.tools.iter().find(|tool| self.last.contains(&tool.name));
        let free = !self.last.is_empty() && !text::is_instruction(&self.last);
        match &self.choice {
            Choice::Never => None,
            Choice::Auto if !free => None,
            Choice::Auto | Choice::Required => mentioned().or_else(|| self.tools.first()),
            Choice::Named(name) => self.tools.iter().find(|tool| tool.name == *name),
        }
    }
}

/// Ends a text at the first stop sequence, or after `most` tokens.
fn cut(mut said: String, most: u64, stops: &[String]) -> (String, StopReason) {
    let stop = stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| said.find(stop.as_str()).map(|at| (at, stop)))
        .min_by_key(|(at, _)| *at);
    let mut end = StopReason::Natural;
    if let Some((at, stop)) = stop {
        said.truncate(at);
        end = StopReason::Stopped(stop.clone());
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let kept = text::head(&said, most).len();
    if kept < said.len() {
        said.truncate(kept);
        end = StopReason::Length;
    }
    (said, end)
}

/// The items of a list in an object.
pub(super) fn items<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = object.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// The text of a message's content: a string, or a list of parts, of which those count that have a text.
pub(super) fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .map(|part| match part.get("text").or_else(|| part.get("content")) {
                    Some(Value::String(text)) => text.clone(),
                    Some(nested @ Value::Array(_)) => content(Some(nested)),
                    _ => String::new(),
                });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_end_where_they_should() {
        let mut ask = Ask::default();
        ask.add("user", "echo: one two three four five");
        assert_eq!(ask.reply(1, 0).end, StopReason::Natural);
        ask.stops = vec!["four".into(), "three".into()];
        let reply = ask.reply(1, 0);
        assert_eq!(
            (reply.text.as_str(), reply.end),
            ("one two ", StopReason::Stopped("three".into()))
        );
        ask.most = Some(1);
        let reply = ask.reply(1, 0);
        assert_eq!(
            (reply.count(), reply.text.as_str(), reply.end),
            (1, "one ", StopReason::Length)
        );
        ask.most = Some(2);
        assert_eq!(ask.reply(1, 0).end, StopReason::Stopped("three".into()), "it just fits");
    }

    #[test]
    fn a_tool_is_called_unless_its_result_or_an_instruction_came_last() {
        let tool = |name: &str| Tool {
            name: name.into(),
            schema: serde_json::json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
        };
        let called = |ask: &Ask| ask.reply(1, 0).tool;
        let mut ask = Ask::default();
        ask.add_tools(vec![tool("get_weather"), tool("get_time")]);
        ask.add("user", "how warm is it?");
        let reply = ask.reply(1, 0);
        assert_eq!(
            (reply.tool.as_deref(), &reply.end),
            (Some("get_weather"), &StopReason::Tool)
        );
        assert!(serde_json::from_str::<Value>(&reply.text).unwrap()["city"].is_string());
        ask.add("user", "use get_time");
        assert_eq!(called(&ask).as_deref(), Some("get_time"));
        ask.add("tool", "12:00");
        assert_eq!(called(&ask), None);
        ask.choice = Choice::Required;
        assert_eq!(called(&ask).as_deref(), Some("get_weather"));
        ask.choice = Choice::Auto;
        ask.add("user", "echo: get_time");
        assert_eq!(called(&ask), None);
        ask.choice = Choice::Named("get_time".into());
        assert_eq!(called(&ask).as_deref(), Some("get_time"));
        ask.choice = Choice::Never;
        assert_eq!(called(&ask), None);
    }
}
