//! The configuration of rules, as typed: `match`, `when`, `faults`, `choose`.

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::skip_serializing_none;

use crate::draw::key::KeySpec;
use crate::fault::FaultSpec;
use crate::guards::spec::GuardSpec;
use crate::rule::body::spec::BodySpec;
use crate::rule::rate::HitRate;
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::forms::{self, OneOrMany, Scalar, ShortForm, short_form, string_form};
use crate::yaml::report::Span;
use crate::yaml::units::{Percentage, Time};

/// Which requests, which of those, and what then happens to them.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// The rule's name: unique, and used in metrics, headers and logs. Draws depend on it.
    pub name: Spanned<String>,
    /// The listener, or listeners, that the rule applies to. Absent: every listener.
    pub listener: Option<Spanned<OneOrMany<String>>>,
    /// The upstream, or upstreams, that the rule applies to: only requests that go there. Absent: all of them.
    pub upstream: Option<Spanned<OneOrMany<String>>>,
    /// The space that the rule is for: it concerns only requests that name it, in `Squall-Space` or as `squall-space` in
    /// `baggage`. Absent: all requests.
    pub space: Option<Spanned<String>>,
    /// `false`: loaded, checked and shown, never drawn.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// `true`: decides, counts and logs, but injects nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow: bool,
    /// The requests that the rule matches. Absent: all of them.
    #[serde(rename = "match")]
    pub matches: Option<Box<MatchSpec>>,
    /// Which of the matching requests are hit. Absent: all of them.
    pub when: Option<Spanned<WhenForm>>,
    /// Conditions that stop the rule until it is switched on again.
    pub stop_when: Option<Spanned<Vec<Spanned<GuardSpec>>>>,
    /// What happens, in this order.
    pub faults: Option<Spanned<Vec<Spanned<FaultSpec>>>>,
    /// Instead of `faults`: one of several outcomes, drawn by weight.
    pub choose: Option<Spanned<Vec<Spanned<OutcomeSpec>>>>,
}

impl RuleSpec {
    /// The space that the rule is for.
    pub fn space(&self) -> Option<&str> {
        self.space.as_ref().map(|space| space.value.as_str())
    }
}

/// One of the outcomes of `choose`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeSpec {
    /// The outcome's weight: its share is this over the sum of all weights.
    pub weight: u32,
    /// What happens. Absent: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Spanned<FaultSpec>>,
}

/// Conditions on a request. All that are given must hold.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchSpec {
    /// One method, or several.
    pub method: Option<Spanned<OneOrMany<MethodSpec>>>,
    /// The host of the request, and its port if the pattern ends with one: `shop.example:8080`. A plain string is a glob; `*`
    /// crosses dots.
    pub host: Option<Spanned<TextSpec>>,
    /// The path, percent-decoded and normalised. A plain string is a glob: `*` stays within a segment, `**` does not,
    /// and a final `/**` also matches the folder itself.
    pub path: Option<Spanned<TextSpec>>,
    /// Header fields by name. A plain string is an exact value; `present` and `absent` ask for the name only.
    pub headers: Option<Named<Spanned<FieldSpec>>>,
    /// Query parameters by name, percent-decoded; as for `headers`.
    pub query: Option<Named<Spanned<FieldSpec>>>,
    /// Cookies by name; as for `headers`.
    pub cookies: Option<Named<Spanned<FieldSpec>>>,
    /// The client's address: an address or a network in CIDR form, or several.
    pub client: Option<Spanned<OneOrMany<NetworkSpec>>>,
    /// The protocol that the client of a TLS connection offers (ALPN), such as h2 or postgresql, or several of which it offers
    /// one. For rules on handshakes and on TCP listeners.
    pub alpn: Option<Spanned<OneOrMany<String>>>,
    /// A gRPC call (a request whose content type is `application/grpc`).
    pub grpc: Option<Spanned<GrpcSpec>>,
    /// The request's body, which is read ahead up to a limit where a rule needs it: its text, or a part of its JSON, a form, a
    /// GraphQL operation, a language model.
    pub body: Option<Spanned<BodySpec>>,
    /// At least one of these must hold too.
    pub any: Option<Spanned<Vec<MatchSpec>>>,
    /// All of these must hold too.
    pub all: Option<Spanned<Vec<MatchSpec>>>,
    /// This must not hold.
    pub not: Option<Box<MatchSpec>>,
}

impl MatchSpec {
    /// The conditions on bodies, also of the conditions within.
    pub fn bodies(&self) -> Vec<&Spanned<BodySpec>> {
        let inner = self.within().flat_map(MatchSpec::bodies);
        self.body.iter().chain(inner).collect()
    }

    /// The conditions directly within.
    pub(super) fn within(&self) -> impl Iterator<Item = &MatchSpec> {
        let lists = self.any.iter().chain(&self.all).flat_map(|list| &list.value);
        lists.chain(self.not.as_deref())
    }
}

impl MatchSpec {
    /// Where `alpn` is asked for, also by the conditions within.
    pub fn alpn_within(&self) -> Option<Span> {
        let lists = self.any.iter().chain(&self.all).flat_map(|list| &list.value);
        let mut inner = lists.chain(self.not.as_deref());
        let own = self.alpn.as_ref().map(|alpn| alpn.span);
        own.or_else(|| inner.find_map(MatchSpec::alpn_within))
    }
}

/// A gRPC call's names, as in its path `/service/method`.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcSpec {
    /// The full name of the service, package included: `shop.Cart`. Absent: any.
    pub service: Option<String>,
    /// The method: `Add`. Absent: any.
    pub method: Option<String>,
}

/// A pattern for a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSpec {
    /// A plain string; what it means depends on the place.
    Plain(String),
    /// The whole text.
    Exact(String),
    /// How the text begins.
    Prefix(String),
    /// How the text ends.
    Suffix(String),
    /// A part of the text.
    Contains(String),
    /// A glob over the whole text.
    Glob(String),
    /// A regular expression, found anywhere in the text unless it is anchored.
    Regex(String),
}

/// The long form of [`TextSpec`]: exactly one key.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct TextLong {
    /// The whole text.
    pub exact: Option<String>,
    /// How the text begins.
    pub prefix: Option<String>,
    /// How the text ends.
    pub suffix: Option<String>,
    /// A part of the text.
    pub contains: Option<String>,
    /// A glob over the whole text.
    pub glob: Option<String>,
    /// A regular expression, found anywhere in the text unless it is anchored.
    pub regex: Option<String>,
}

impl TextLong {
    /// Whether no comparison is given.
    pub fn is_empty(&self) -> bool {
        let given = [
            &self.exact,
            &self.prefix,
            &self.suffix,
            &self.contains,
            &self.glob,
            &self.regex,
        ];
        given.iter().all(|one| one.is_none())
    }
}

impl ShortForm for TextSpec {
    type Long = TextLong;
    const TEXT: bool = true;
    const EXPECTING: &'static str =
        "a string, or one of {exact: …}, {prefix: …}, {suffix: …}, {contains: …}, {glob: …}, {regex: …}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let text = match scalar {
            Scalar::Str(s) => s.to_owned(),
            Scalar::Int(n) => n.to_string(),
            Scalar::Float(n) => n.to_string(),
            Scalar::Bool(b) => b.to_string(),
            Scalar::Null => return None,
        };
        Some(Ok(TextSpec::Plain(text)))
    }

    fn from_long(long: TextLong) -> Result<Self, String> {
        let mut given = [
            long.exact.map(TextSpec::Exact),
            long.prefix.map(TextSpec::Prefix),
            long.suffix.map(TextSpec::Suffix),
            long.contains.map(TextSpec::Contains),
            long.glob.map(TextSpec::Glob),
            long.regex.map(TextSpec::Regex),
        ]
        .into_iter()
        .flatten();
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => {
                Err("the comparison is missing: give one of exact, prefix, suffix, contains, glob, regex".into())
            }
            (Some(_), Some(_)) => {
                Err("more than one comparison: give one of exact, prefix, suffix, contains, glob, regex".into())
            }
        }
    }
}

impl<'de> Deserialize<'de> for TextSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        forms::deserialize(deserializer)
    }
}

impl Serialize for TextSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut long = TextLong::default();
        let slot = match self {
            TextSpec::Plain(text) => return serializer.serialize_str(text),
            TextSpec::Exact(_) => &mut long.exact,
            TextSpec::Prefix(_) => &mut long.prefix,
            TextSpec::Suffix(_) => &mut long.suffix,
            TextSpec::Contains(_) => &mut long.contains,
            TextSpec::Glob(_) => &mut long.glob,
            TextSpec::Regex(_) => &mut long.regex,
        };
        *slot = Some(self.text().to_owned());
        long.serialize(serializer)
    }
}

impl JsonSchema for TextSpec {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        forms::either_schema::<TextLong>(generator, json_schema!({"type": ["string", "number", "boolean"]}))
    }
}

impl TextSpec {
    /// The pattern's text, whatever its kind.
    pub fn text(&self) -> &str {
        match self {
            TextSpec::Plain(t)
            | TextSpec::Exact(t)
            | TextSpec::Prefix(t)
            | TextSpec::Suffix(t)
            | TextSpec::Contains(t)
            | TextSpec::Glob(t)
            | TextSpec::Regex(t) => t,
        }
    }
}

/// What is asked of a named field: a header, a query parameter, a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldSpec {
    /// The field is there, whatever its value.
    Present,
    /// The field is not there.
    Absent,
    /// One of the field's values fits.
    Value(TextSpec),
}

impl ShortForm for FieldSpec {
    type Long = TextLong;
    const TEXT: bool = true;
    const EXPECTING: &'static str = "a value, `present`, `absent`, or one of {exact: …}, {prefix: …}, {suffix: …}, {contains: …}, {glob: …}, {regex: …}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        match scalar {
            Scalar::Str("present") => Some(Ok(FieldSpec::Present)),
            Scalar::Str("absent") => Some(Ok(FieldSpec::Absent)),
            other => TextSpec::from_scalar(other).map(|text| text.map(FieldSpec::Value)),
        }
    }

    fn from_long(long: TextLong) -> Result<Self, String> {
        TextSpec::from_long(long).map(FieldSpec::Value)
    }
}

impl<'de> Deserialize<'de> for FieldSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        forms::deserialize(deserializer)
    }
}

impl Serialize for FieldSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            FieldSpec::Present => serializer.serialize_str("present"),
            FieldSpec::Absent => serializer.serialize_str("absent"),
            FieldSpec::Value(text) => text.serialize(serializer),
        }
    }
}

impl JsonSchema for FieldSpec {
    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        forms::either_schema::<TextLong>(generator, json_schema!({"type": ["string", "number", "boolean"]}))
    }
}

/// Which of the matching requests are hit. All given conditions must hold, and are checked in this order: `requested`,
/// `schedule`, `every`, `percentage`, `attempts`, `limits`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhenSpec {
    /// The percentage that is hit. Absent: 100.
    pub percentage: Option<Percentage>,
    /// What a draw depends on: `ordinal` (the request's number in this rule, the default), `client`, `path`,
    /// `header:NAME`, `cookie:NAME` or `query:NAME`. The same key gets the same draw.
    pub key: Option<Spanned<KeySpec>>,
    /// Only the first N requests of each key are hit: "fails twice, then works".
    pub attempts: Option<Spanned<NonZeroU32>>,
    /// Only every Nth matching request is hit.
    pub every: Option<NonZeroU64>,
    /// A time window, counted from the moment the rule was loaded.
    pub schedule: Option<Spanned<ScheduleSpec>>,
    /// Limits on how much the rule affects.
    pub limits: Option<Spanned<LimitsSpec>>,
    /// `true`: only where the request asks for the fault with Envoy's headers (`x-envoy-fault-delay-request`,
    /// `x-envoy-fault-abort-request`, `x-envoy-fault-abort-grpc-request`, `x-envoy-fault-throughput-response`), and
    /// never beyond the rule's own settings.
    #[serde(default, skip_serializing_if = "is_false")]
    pub requested: bool,
}

/// `when: 10%`, or the long form.
#[derive(Debug, Clone)]
pub struct WhenForm(pub WhenSpec);

impl std::ops::Deref for WhenForm {
    type Target = WhenSpec;

    fn deref(&self) -> &WhenSpec {
        &self.0
    }
}

impl ShortForm for WhenForm {
    type Long = WhenSpec;
    const EXPECTING: &'static str = "a percentage such as 10%, or a map such as {percentage: 10%, key: client}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let percentage = match scalar {
            Scalar::Str(text) if text.trim_end().ends_with('%') => text.parse::<Percentage>(),
            Scalar::Str(text) => return Some(Err(format!("`{text}` is not {}", Self::EXPECTING))),
            Scalar::Null => return Some(Ok(WhenForm(WhenSpec::default()))),
            Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => return None,
        };
        let long = |percentage| WhenSpec {
            percentage: Some(percentage),
            ..WhenSpec::default()
        };
        Some(
            percentage
                .map(|percentage| WhenForm(long(percentage)))
                .map_err(|error| error.to_string()),
        )
    }

    fn from_long(long: WhenSpec) -> Result<Self, String> {
        Ok(WhenForm(long))
    }
}

short_form!(WhenForm, WhenSpec, "WhenForm", {"type": ["string", "null"], "pattern": "^ *[0-9]+(\\.[0-9]+)? *% *$|\\$\\{"});

/// A time window.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// When the window opens. Absent: at once.
    pub start: Option<Time>,
    /// How long it stays open. Absent: forever.
    pub duration: Option<Time>,
    /// From one opening to the next. Absent: it opens once.
    pub repeat: Option<Time>,
}

/// Limits on how much a rule affects.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsSpec {
    /// How many requests may be under the rule's faults at the same time.
    pub active: Option<NonZeroU32>,
    /// How many requests the rule may hit in all.
    pub total: Option<NonZeroU64>,
    /// The largest share of the rule's matching requests that may be hit, counted from the start.
    pub share: Option<Percentage>,
    /// How many requests may be hit in a time, such as 10/s, 600/m or 5/h: so many at once, and then evenly spread.
    pub rate: Option<HitRate>,
    /// How long after it was loaded the rule stops for good.
    pub expires: Option<Time>,
}

/// A method of RFC 9110 or RFC 5789 in any case, or one's own in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodSpec(pub http::Method);

/// The methods that clients know, whose case is beyond doubt.
const METHODS: [http::Method; 9] = [
    http::Method::GET,
    http::Method::HEAD,
    http::Method::POST,
    http::Method::PUT,
    http::Method::DELETE,
    http::Method::CONNECT,
    http::Method::OPTIONS,
    http::Method::TRACE,
    http::Method::PATCH,
];

impl FromStr for MethodSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(method) = METHODS.iter().find(|method| method.as_str().eq_ignore_ascii_case(text)) {
            return Ok(MethodSpec(method.clone()));
        }
        if matches!(text, "*" | "all" | "ALL" | "any" | "ANY") {
            return Err("without `method` it is for every method: leave it out".to_owned());
        }
        // Valid in a method's name (RFC 9110, section 5.6.2), but no such method is in use.
        if let Some((first, second)) = text.split_once('|') {
            let all: Vec<&str> = [first].into_iter().chain(second.split('|')).map(str::trim).collect();
            return Err(format!("`{text}` is not a valid method: use `[{}]`", all.join(", ")));
        }
        let method = http::Method::from_bytes(text.as_bytes())
            .map_err(|_| format!("`{text}` is not a valid method: use GET, POST, …"))?;
        let upper = text.to_ascii_uppercase();
        if text != upper {
            // Methods are case-sensitive (RFC 9110, section 9.1), so one that nobody sends would never match.
            return Err(format!("methods are case-sensitive: use `{upper}`"));
        }
        Ok(MethodSpec(method))
    }
}

impl std::fmt::Display for MethodSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

string_form!(MethodSpec, "Method", "a method such as GET", r"^\S+$|\$\{");

/// An address or a network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkSpec(pub IpNet);

impl FromStr for NetworkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(NetworkSpec(address.into()));
        }
        text.parse::<IpNet>()
            .map(|net| NetworkSpec(net.trunc()))
            .map_err(|_| format!("`{text}` is not a valid address or network: use 10.1.2.3, 10.0.0.0/8 or fd00::/8"))
    }
}

impl std::fmt::Display for NetworkSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

string_form!(
    NetworkSpec,
    "Network",
    "an address or a network such as 10.0.0.0/8",
    r"^[0-9a-fA-F:.]+(/[0-9]+)?$|\$\{"
);

fn yes() -> bool {
    true
}

fn is_true(b: &bool) -> bool {
    *b
}

fn is_false(b: &bool) -> bool {
    !*b
}
