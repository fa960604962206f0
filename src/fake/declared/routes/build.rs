//! Routes as typed to routes as asked, with every mistake at its place.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::{Method, StatusCode};

use super::super::super::spec::FakeSpec;
use super::super::{Built, noted};
use super::condition::Condition;
use super::path::Pattern;
use super::response::{self, ResponseContext, RouteResponse};
use super::sequence::{End, Places, States};
use super::spec::{EndSpec, ResponseSpec, RouteSpec, StateSpec, StepSpec};
use super::template::{Compiler, Template, is_template};
use super::{Route, RouteResponses, Routes, StateUse};
use crate::fake::context::Context;
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span, did_you_mean};

/// The most routes of one fake.
const MAX_ROUTES: usize = 10_000;

/// The most steps of a sequence.
const MAX_STEPS: usize = 10_000;

/// The most times that a step is given.
const MAX_TIMES: u32 = 1_000_000;

/// What a state is at first if nothing else says so.
const STARTED: &str = "started";

/// The routes, if any are declared.
///
/// # Errors
/// All that is wrong with them, each at its place.
pub(in super::super) fn source(spec: &FakeSpec, context: &Context<'_>) -> Built {
    let Some(specs) = &spec.routes else { return Ok(None) };
    let mut mistakes = Vec::new();
    if specs.value.is_empty() || specs.value.len() > MAX_ROUTES {
        let message = format!("{} routes are given: use 1 to {MAX_ROUTES}", specs.value.len());
        return Err(vec![Diagnostic::error(specs.span, message)]);
    }
    let states = states(&specs.value, &mut mistakes);
    let mut compiler = Compiler::new(&mut mistakes);
    let mut names: HashMap<String, u32> = HashMap::new();
    let mut routes = Vec::new();
    for spec in &specs.value {
        routes.extend(route(spec, &states, &mut names, context, &mut compiler));
    }
    let env = compiler.finish();
    find_unreachable(&specs.value, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    // Stable: equals stay in their order.
    routes.sort_by_cached_key(|route| route.pattern.rank());
    Ok(Some(Box::new(Routes {
        routes,
        env: Arc::new(env),
        counters: Arc::default(),
        seed: context.seed,
    })))
}

fn methods(spec: &RouteSpec) -> Option<Vec<Method>> {
    let Some(methods) = &spec.method else {
        return Some(vec![Method::GET]);
    };
    let methods: Vec<_> = methods.value.0.iter().map(|method| method.0.clone()).collect();
    let any = methods.iter().any(|method| method.as_str() == "ANY");
    (!any).then_some(methods)
}

fn name_of(spec: &RouteSpec) -> String {
    let methods = methods(spec).map_or_else(
        || "ANY".to_owned(),
        |methods| methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", "),
    );
    format!("{methods} {}", spec.path.value)
}

fn route(
    spec: &Spanned<RouteSpec>,
    states: &HashMap<String, Arc<States>>,
    names: &mut HashMap<String, u32>,
    context: &Context<'_>,
    compiler: &mut Compiler<'_>,
) -> Option<Route> {
    let given = &spec.value;
    let pattern = noted(Pattern::parse(&given.path.value), given.path.span, compiler.mistakes);
    let name = name_of(given);
    let ordinal = names.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
    let luck = format!("{name} {ordinal}");
    compiler.begin(pattern.as_ref().map(Pattern::names).unwrap_or_default());
    let place = ResponseContext {
        folder: context.folder,
        seed: context.seed,
        route: &luck,
        span: spec.span,
    };
    let condition = given
        .matches
        .as_ref()
        .map(|matches| Condition::compile(matches, compiler.mistakes));
    let state = given
        .state
        .as_ref()
        .and_then(|state| state_use(&state.value, states, compiler));
    let responses = responses(given, &place, compiler);
    let needs_body = compiler.uses_body() || condition.as_ref().is_some_and(Condition::needs_body);
    Some(Route {
        name,
        luck,
        written: given.path.value.clone(),
        pattern: pattern?,
        methods: methods(given),
        condition,
        state,
        responses: responses?,
        needs_body,
        asked: AtomicU64::new(0),
    })
}

/// The key that is written, or one for all.
fn key(given: Option<&Spanned<String>>, compiler: &mut Compiler<'_>) -> Template {
    match given {
        Some(key) => compiler.text(&key.value, key.span),
        None => Template::Fixed("".into()),
    }
}

fn state_use(spec: &StateSpec, states: &HashMap<String, Arc<States>>, compiler: &mut Compiler<'_>) -> Option<StateUse> {
    Some(StateUse {
        states: Arc::clone(states.get(&spec.name.value)?),
        key: compiler.without_state(|compiler| key(spec.key.as_ref(), compiler)),
        wanted: spec.is.as_ref().map(|is| is.value.0.clone()).unwrap_or_default(),
        becomes: spec
            .becomes
            .as_ref()
            .map(|becomes| compiler.without_state(|compiler| compiler.text(&becomes.value, becomes.span))),
    })
}

fn responses(spec: &RouteSpec, place: &ResponseContext<'_>, compiler: &mut Compiler<'_>) -> Option<RouteResponses> {
    let own = spec.response();
    let Some(sequence) = &spec.sequence else {
        let key = spec.key.as_ref().map(|key| ("key", key.span));
        let end = spec.end.as_ref().map(|end| ("end", end.span));
        for (key, span) in key.into_iter().chain(end) {
            let message = format!("`{key}` needs `sequence`");
            compiler.mistakes.push(Diagnostic::error(span, message));
        }
        if own.first_key().is_none() {
            let mistake = Diagnostic::error(place.span, "the route's response is missing");
            compiler
                .mistakes
                .push(mistake.help(
                    "give `json`, `body`, `file`, `page`, `events`, `chunks` or `sequence`, or a `status` alone",
                ));
        }
        return RouteResponse::compile(own, place, compiler).map(|response| RouteResponses::One(Arc::new(response)));
    };
    if let Some((key, span)) = own.first_key() {
        let mistake = Diagnostic::error(span, format!("`{key}` can't be combined with `sequence`"));
        let help = format!("set `{key}` in the steps of the sequence");
        compiler
            .mistakes
            .push(mistake.also(sequence.span, "the sequence is here").help(help));
    }
    steps(spec, sequence, place, compiler)
}

fn steps(
    spec: &RouteSpec,
    sequence: &Spanned<Vec<Spanned<StepSpec>>>,
    place: &ResponseContext<'_>,
    compiler: &mut Compiler<'_>,
) -> Option<RouteResponses> {
    let count = sequence.value.len();
    if count == 0 || count > MAX_STEPS {
        let message = format!("the sequence has {count} steps: use 1 to {MAX_STEPS}");
        compiler.mistakes.push(Diagnostic::error(sequence.span, message));
        return None;
    }
    let mut times = Vec::new();
    let mut steps = Vec::new();
    for step in &sequence.value {
        let place = ResponseContext {
            span: step.span,
            ..*place
        };
        if step.value.response().first_key().is_none() {
            let mistake = Diagnostic::error(step.span, "the step's response is missing");
            compiler
                .mistakes
                .push(mistake.help("give `json`, `body` or another body, or a `status` alone"));
        }
        steps.extend(RouteResponse::compile(step.value.response(), &place, compiler).map(Arc::new));
        times.push(u64::from(step_times(&step.value, compiler)));
    }
    let (end, status) = match spec.end.as_ref().map(|end| (&end.value, end.span)) {
        None | Some((EndSpec::RepeatLast, _)) => (End::RepeatLast, StatusCode::GONE),
        Some((EndSpec::Cycle, _)) => (End::Cycle, StatusCode::GONE),
        Some((EndSpec::Status(number), span)) => {
            let status = noted(response::status(*number), span, compiler.mistakes)?;
            (End::Stop, status)
        }
    };
    Some(RouteResponses::Sequence {
        steps,
        places: Places::new(times, end),
        key: key(spec.key.as_ref(), compiler),
        beyond: Arc::new(RouteResponse::error(status, "the sequence has ended")),
    })
}

fn step_times(step: &StepSpec, compiler: &mut Compiler<'_>) -> u32 {
    let Some(times) = &step.times else { return 1 };
    if !(1..=MAX_TIMES).contains(&times.value) {
        let message = format!("a step can be given 1 to {MAX_TIMES} times, not {}", times.value);
        compiler.mistakes.push(Diagnostic::error(times.span, message));
    }
    times.value
}

impl ResponseSpec<'_> {
    /// The first key that is given.
    fn first_key(&self) -> Option<(&'static str, Span)> {
        let status = self.status.map(|value| ("status", value.span));
        let headers = self.headers.and_then(|headers| headers.iter().next());
        let headers = headers.map(|(name, _)| ("headers", name.span));
        let delay = self.delay.map(|value| ("delay", value.span));
        status.or(headers).or_else(|| self.bodies().next()).or(delay)
    }

    /// The keys of a body that are given.
    pub(super) fn bodies(&self) -> impl Iterator<Item = (&'static str, Span)> + use<> {
        [
            ("body", self.body.map(|value| value.span)),
            ("json", self.json.map(|value| value.span)),
            ("base64", self.base64.map(|value| value.span)),
            ("file", self.file.map(|value| value.span)),
            ("page", self.page.map(|value| value.span)),
            ("events", self.events.map(|value| value.span)),
            ("chunks", self.chunks.map(|value| value.span)),
        ]
        .into_iter()
        .filter_map(|(key, span)| Some((key, span?)))
    }
}

/// The states of all routes, each with what it is at first.
fn states(routes: &[Spanned<RouteSpec>], mistakes: &mut Vec<Diagnostic>) -> HashMap<String, Arc<States>> {
    let uses = || {
        routes
            .iter()
            .filter_map(|route| Some(&route.value.state.as_ref()?.value))
    };
    let mut initial: HashMap<&str, &Spanned<String>> = HashMap::new();
    for state in uses() {
        let Some(given) = &state.initial else { continue };
        let first = *initial.entry(&state.name.value).or_insert(given);
        if first.value != given.value {
            let message = format!(
                "the state `{}` can't have another initial value, `{}`",
                state.name.value, given.value
            );
            mistakes.push(Diagnostic::error(given.span, message).also(first.span, "the first is here"));
        }
    }
    let mut states = HashMap::new();
    for state in uses() {
        let name = state.name.value.as_str();
        if states.contains_key(name) {
            continue;
        }
        let of_name = || uses().filter(|other| other.name.value == name);
        let first_is = || of_name().find_map(|state| state.is.as_ref()?.value.0.first().map(String::as_str));
        let begins = initial.get(name).map(|given| given.value.as_str());
        let begins = begins.or_else(first_is).unwrap_or(STARTED);
        let becomes = of_name().filter_map(|state| state.becomes.as_ref().map(|becomes| becomes.value.as_str()));
        let reachable: Vec<&str> = becomes.chain([begins]).collect();
        // What a template gives is only known with a request.
        let is_open = reachable.iter().any(|becomes| is_template(becomes));
        for is in of_name().filter_map(|state| state.is.as_ref()).filter(|_| !is_open) {
            for wanted in is.value.0.iter().filter(|wanted| !reachable.contains(&wanted.as_str())) {
                let mistake = Diagnostic::error(is.span, format!("the state `{name}` is never `{wanted}`"));
                mistakes.push(match did_you_mean(wanted, reachable.iter().copied()) {
                    Some(near) => mistake.help(format!("did you mean `{near}`?")),
                    None => mistake.help(format!(
                        "no route has `becomes: {wanted}`, and the initial value of the state is `{begins}`"
                    )),
                });
            }
        }
        states.insert(name.to_owned(), Arc::new(States::new(begins)));
    }
    states
}

/// Finds routes that are never asked, since one of the same shape stands before them and takes every request.
fn find_unreachable(routes: &[Spanned<RouteSpec>], mistakes: &mut Vec<Diagnostic>) {
    let mut taking: HashMap<String, Vec<&RouteSpec>> = HashMap::new();
    for route in routes {
        let Ok(pattern) = Pattern::parse(&route.value.path.value) else {
            continue;
        };
        let before = taking.entry(pattern.shape()).or_default();
        let mine = methods(&route.value);
        let covers = |first: &&&RouteSpec| match (methods(first), &mine) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(first), Some(mine)) => mine.iter().any(|method| first.contains(method)),
        };
        if let Some(first) = before.iter().find(covers) {
            let message = format!("`{}` is never reached", name_of(&route.value));
            let mistake = Diagnostic::error(route.value.path.span, message)
                .also(first.path.span, "this route always matches first")
                .help("put a route without conditions last, after those with a `match` or `state`");
            mistakes.push(mistake);
        } else if route.value.matches.is_none()
            && route.value.state.as_ref().is_none_or(|state| state.value.is.is_none())
        {
            before.push(&route.value);
        }
    }
}
