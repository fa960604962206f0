//! Explains decisions: for each rule whether it matches, which condition failed and what was drawn, and the resulting plan.
//!
//! It calls the functions of [`RuleSets::decide`](crate::rule::sets::RuleSets::decide) with a read-only memory ([`Peek`]), so
//! it can't disagree with them. It changes nothing, counts nothing, and reads no clock.

pub mod call;
mod cross_origin;
pub mod curl;
mod effect;
pub mod question;
mod shape;
mod steps;
pub(crate) mod text;
mod url;
mod way;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::masks::Masks;
use crate::config::snapshot::{Listener, ListenerKind, Snapshot};
use crate::content::Content;
use crate::draw::head::Head;
use crate::fault::certificate;
use crate::rule::body::MAX_LIMIT;
use crate::rule::decide::{Drawn, Rule};
use crate::rule::plan::Plan;
use crate::rule::stage::Stage;
use crate::rule::state::Peek;
use crate::rule::when::{Reason, percent_fraction};
use crate::yaml::units::Percentage;

pub use self::effect::Fault;
pub use self::steps::Step;
use self::way::Way;

/// A request to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method of the request.
    pub method: Method,
    /// The path with an optional query, as it would be sent.
    pub target: String,
    /// HTTP/2's `:authority`, or that of an absolute target; with `None` the Host field is used.
    pub authority: Option<String>,
    /// The header fields of the request.
    pub headers: HeaderMap,
    /// The body; or why it is not known, as a sentence about it without its subject.
    pub body: Result<Bytes, &'static str>,
    /// The address that the connection comes from; `None` on a unix socket.
    pub client: Option<IpAddr>,
    /// The name of the listener, if given.
    pub listener: Option<String>,
    /// The request's number in each rule, from 1. `None`: the next one.
    pub ordinal: Option<u64>,
    /// The time since the rules were loaded. `None`: the real one.
    pub at: Option<Duration>,
}

/// What squall would do to a request, and why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explanation {
    /// The request as the rules see it.
    pub request: Request,
    /// The seed of all draws.
    pub seed: u64,
    /// The hash of the configuration.
    pub config_hash: String,
    /// Every rule, in file order.
    pub rules: Vec<RuleExplained>,
    /// What would happen, in order.
    pub plan: Vec<Step>,
    /// What is unknown about the request, and what its origin means, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Hides the secrets of the configuration.
    #[serde(skip)]
    pub masks: Arc<Masks>,
}

/// A request, or a connection to a TCP listener, as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Request {
    /// What only requests have; `None` for a connection.
    #[serde(flatten)]
    pub head: Option<RequestHead>,
    /// The host that rules match, in lower case and without the port; for a connection, the name that a client asks for in its
    /// TLS handshake.
    pub host: String,
    /// The client's address, taken from X-Forwarded-For behind trusted proxies.
    pub client: Option<IpAddr>,
    /// The name of the listener asked about.
    pub listener: String,
    /// The name of the upstream that it goes to; empty if it goes to none.
    pub upstream: String,
    /// Which of the listener's routes takes it; `None` if it has no routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteTaken>,
    /// The path with an optional query that the upstream gets, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
}

/// Which of a listener's routes takes a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RouteTaken {
    /// Its position, from 1; `None` if no route takes it.
    pub number: Option<usize>,
    /// How many routes there are.
    pub of: usize,
    /// What the route takes, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes: Option<String>,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RequestHead {
    /// The method of the request.
    pub method: String,
    /// The path with an optional query, as it would be sent.
    pub target: String,
    /// The path that rules match: percent-decoded and normalised.
    pub path: String,
    /// The header fields, as names and values.
    pub headers: Vec<(String, String)>,
}

/// The decision of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RuleExplained {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// Whether the rule only counts and injects nothing.
    pub shadow: bool,
    /// What the rule decides.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The decision of a rule about a request.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The rule applies to other listeners.
    OtherListener {
        /// Their names.
        listeners: Vec<String>,
    },
    /// The rule is off: `enabled: false`, or its switch.
    Disabled {
        /// Why, unless it is configured so.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The rule acts on connections, and may hit the request's connection.
    Connection {
        /// When it is decided: `connection` or `handshake`.
        #[serde(serialize_with = "stage_name")]
        #[schemars(with = "String")]
        before: Stage,
        /// The names of its faults.
        faults: Vec<&'static str>,
    },
    /// At least one condition of `match` does not hold.
    NoMatch {
        /// The failed conditions, in words.
        failed: Vec<String>,
    },
    /// The request matches, but `when` excludes it.
    NotHit {
        /// What was drawn.
        #[serde(flatten)]
        draw: DrawExplained,
        /// Why it is not hit.
        reason: String,
    },
    /// The rule hits the request.
    Hit {
        /// What was drawn.
        #[serde(flatten)]
        draw: DrawExplained,
        /// Which outcome was drawn, for a rule with `choose`.
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<OutcomeExplained>,
        /// What the outcome's faults would do, in order.
        faults: Vec<Fault>,
    },
}

/// What a rule drew for a request that it matches.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DrawExplained {
    /// The request's number among those that the rule matches.
    pub ordinal: u64,
    /// The rule's key: `ordinal`, `client`, `header:x-user`, …
    pub key: String,
    /// The value of the request's key; `None` if its number is used, because that is the rule's key or the request has none.
    pub key_value: Option<String>,
    /// The draw: 16 hexadecimal digits.
    pub draw: String,
    /// The number that is compared with the percentage: 0 to 0.999999, as in the `Squall-Fault` field.
    pub drawn: f64,
    /// The rule's percentage, or the smaller one that the request asks for.
    pub percentage: f64,
    #[serde(skip)]
    drawn_ppm: u32,
    #[serde(skip)]
    ppm: u32,
}

/// Which outcome of `choose` was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutcomeExplained {
    /// The outcome's position in the list, from 1.
    pub number: usize,
    /// The number of outcomes.
    pub of: usize,
    /// The weight of the outcome.
    pub weight: u32,
    /// The sum of all weights.
    pub weights: u64,
}

/// Explains what would happen to a request at `listener`, which is one of the snapshot's.
pub fn explain(snapshot: &Snapshot, listener: &Listener, asked: &Asked, now: Instant) -> Explanation {
    let (client, redirected, requests) = match &listener.kind {
        ListenerKind::Http(view) => {
            let client = view.client(asked.client, forwarded(&asked.headers).as_deref());
            let own = view.own.target.as_ref();
            let redirected = own.is_some_and(|target| target.original_destination().is_some());
            (client, redirected, true)
        }
        ListenerKind::Tcp(_) => (asked.client.map(|client| client.to_canonical()), false, false),
    };
    let content = match &asked.body {
        Ok(body) => Content::new(&asked.headers, body.clone(), MAX_LIMIT),
        Err(reason) => Content::unknown(*reason),
    };
    let request = Head::new(
        &asked.method,
        &asked.target,
        asked.authority.as_deref(),
        &asked.headers,
        client,
    );
    let way = Way::of(listener, asked, &request);
    let cors = cross_origin::of(&way, asked);
    let request = request.to(&way.upstream).sparing(cors.spared).with_body(Some(&content));
    // A connection has neither fields nor X-Forwarded-For. Its server name is assumed to be the request's host, unless
    // that is an address (RFC 6066, section 3).
    let name = Some(request.host()).filter(|host| !host.is_empty() && host.parse::<IpAddr>().is_err());
    let connection = Head::of_connection(asked.client.map(|client| client.to_canonical()), name);
    let connection = if requests {
        connection
    } else {
        connection.to(&way.upstream)
    };
    let head = if requests { &request } else { &connection };
    let longest_wait = listener.longest_wait();
    let mut explaining = Explaining {
        listener: &listener.of,
        tls: listener.tls.is_some(),
        redirected,
        space: listener.rules().space(head),
        connection_space: listener.space.as_deref(),
        head,
        connection: &connection,
        memory: Peek {
            now,
            ordinal: asked.ordinal,
            since: asked.at,
        },
        longest_wait,
        plan: Plan::default(),
        ended: false,
    };
    let rules = snapshot.rules.iter().map(|rule| explaining.rule(rule)).collect();
    Explanation {
        masks: Arc::clone(&snapshot.masks),
        request: Request {
            head: requests.then(|| RequestHead {
                method: asked.method.to_string(),
                target: asked.target.clone(),
                path: head.path().to_owned(),
                headers: asked
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), shown(value)))
                    .collect(),
            }),
            host: head.host().to_owned(),
            client,
            listener: listener.name.to_string(),
            upstream: way.upstream.to_string(),
            route: way.route,
            sent: way.sent,
        },
        seed: snapshot.seed.0,
        config_hash: snapshot.hash.clone(),
        rules,
        plan: steps::of(&explaining.plan, way.ends, &way.upstream, longest_wait),
        notes: redirected
            .then(|| REDIRECTED.to_owned())
            .into_iter()
            .chain(cors.note)
            .collect(),
    }
}

impl Explanation {
    /// The explanation as JSON. Times are in milliseconds, shares are fractions of one, percentages are percentages.
    pub fn to_json(&self) -> serde_json::Value {
        // Fails only for maps with keys that are not strings, and there are none.
        self.masks.json(self).unwrap_or_default()
    }

    /// The explanation as aligned lines, including the final newline. `coloured` adds ANSI escapes.
    pub fn to_text(&self, coloured: bool) -> String {
        self.masks.text(&text::render(self, coloured))
    }
}

/// A note about listeners of redirected connections.
const REDIRECTED: &str = "this applies to HTTP without TLS: redirected TLS passes through unread, and only rules \
    about connections apply to it";

/// Decides rule by rule, and records the decisions.
struct Explaining<'a> {
    listener: &'a str,
    tls: bool,
    redirected: bool,
    /// The space of requests, and that of connections: those are only in their listener's.
    space: Option<Cow<'a, str>>,
    connection_space: Option<&'a str>,
    head: &'a Head<'a>,
    /// The head that rules on connections see.
    connection: &'a Head<'a>,
    memory: Peek,
    longest_wait: Duration,
    plan: Plan,
    ended: bool,
}

impl Explaining<'_> {
    fn rule(&mut self, rule: &Arc<Rule>) -> RuleExplained {
        RuleExplained {
            rule: Arc::clone(&rule.name),
            shadow: rule.shadow,
            verdict: self.verdict(rule),
        }
    }

    fn verdict(&mut self, rule: &Arc<Rule>) -> Verdict {
        if let Some(listeners) = &rule.listeners
            && !listeners.iter().any(|name| name == self.listener)
        {
            return Verdict::OtherListener {
                listeners: listeners.clone(),
            };
        }
        if !rule.is_on() {
            return Verdict::Disabled {
                reason: rule.state.why_off(),
            };
        }
        if rule.stage != Stage::Request {
            return self.connection(rule);
        }
        let foreign = rule.foreign_to(self.space.as_deref());
        if foreign.is_some() || !rule.condition.matches(self.head) {
            let failed = rule.condition.failures(self.head);
            return Verdict::NoMatch {
                failed: foreign.into_iter().chain(failed).collect(),
            };
        }
        if rule.spares(self.head) {
            return Verdict::NoMatch {
                failed: vec![cross_origin::SPARED.to_owned()],
            };
        }
        let drawn = rule.draw(self.head, &self.memory, self.ended);
        // With `requested`, the smaller of the rule's percentage and the requested one applies.
        let ppm = match &drawn.outcome {
            Err(Reason::Percentage { ppm, .. }) => *ppm,
            _ => rule.when.ppm,
        };
        let draw = DrawExplained::new(rule, &drawn, ppm, self.head);
        match drawn.outcome {
            Err(reason) => Verdict::NotHit {
                draw,
                reason: reason.to_string(),
            },
            Ok(outcome) => {
                let faults = self.hit(rule, &drawn, outcome);
                Verdict::Hit {
                    draw,
                    outcome: OutcomeExplained::new(rule, outcome),
                    faults,
                }
            }
        }
    }

    /// The verdict about a rule on connections. Its draws count connections, so they can't be predicted for a request.
    fn connection(&self, rule: &Rule) -> Verdict {
        let mut failed = rule.condition.failures(self.connection);
        failed.extend(rule.foreign_to(self.connection_space));
        // TLS that is passed on can be delayed or refused, but its certificate is the server's.
        let passes = || self.redirected && rule.faults().any(|fault| fault.name != certificate::NAME);
        if rule.stage == Stage::Handshake && !self.tls && !passes() {
            failed.push("a TLS handshake: the listener has no `tls`".to_owned());
        }
        if failed.is_empty() {
            Verdict::Connection {
                before: rule.stage,
                faults: rule.faults().map(|fault| fault.name).collect(),
            }
        } else {
            Verdict::NoMatch { failed }
        }
    }

    /// Adds a rule to the plan, and describes what that added.
    fn hit(&mut self, rule: &Arc<Rule>, drawn: &Drawn, outcome: usize) -> Vec<Fault> {
        let before = self.plan.actions.len();
        let ends = self.plan.add(rule, drawn, outcome, self.head, &self.memory);
        self.ended |= ends;
        let added = self.plan.actions.get(before..).unwrap_or_default();
        let faults = rule
            .outcomes
            .get(outcome)
            .map(|outcome| outcome.faults.as_slice())
            .unwrap_or_default();
        let context = effect::Context {
            added,
            ends,
            longest_wait: self.longest_wait,
        };
        faults.iter().map(|fault| context.fault(fault)).collect()
    }
}

impl DrawExplained {
    fn new(rule: &Rule, drawn: &Drawn, ppm: u32, head: &Head<'_>) -> DrawExplained {
        let drawn_ppm = drawn.draw.percentage_ppm();
        DrawExplained {
            ordinal: drawn.ordinal,
            key: rule.when.key.to_string(),
            key_value: rule.when.key.text(head),
            draw: drawn.draw.to_string(),
            drawn: f64::from(drawn_ppm) / 1e6,
            percentage: f64::from(ppm) / 1e4,
            drawn_ppm,
            ppm,
        }
    }

    /// Formats the comparison of the draw and the percentage: `0.042310 < 0.125000 (12.5%)`.
    pub fn comparison(&self) -> String {
        let relation = if self.drawn_ppm < self.ppm { "<" } else { ">=" };
        let (drawn, share) = (percent_fraction(self.drawn_ppm), percent_fraction(self.ppm));
        format!("{drawn} {relation} {share} ({})", Percentage::from_ppm(self.ppm))
    }
}

impl OutcomeExplained {
    fn new(rule: &Rule, outcome: usize) -> Option<OutcomeExplained> {
        let of = rule.outcomes.len();
        let weight = rule.outcomes.get(outcome).filter(|_| of > 1)?.weight;
        let weights = rule.outcomes.iter().map(|outcome| u64::from(outcome.weight)).sum();
        Some(OutcomeExplained {
            number: outcome + 1,
            of,
            weight,
            weights,
        })
    }
}

fn stage_name<S: serde::Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.name())
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// All values of X-Forwarded-For, as one list.
fn forwarded(headers: &HeaderMap) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests;
