use std::path::PathBuf;

use proptest::prelude::*;

use super::draft::{Expected, Text};
use super::*;
use crate::config::load_text;
use crate::config::snapshot::{Inputs, Snapshot};
use crate::metrics::Metrics;

const FILE: &str = "
listeners: {web: {address: '127.0.0.1:0', upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - {name: a, faults: [{delay: 1ms}]}
  - {name: b, faults: [{delay: 2ms}]}
";

struct Bench {
    metrics: Arc<Metrics>,
    snapshot: Snapshot,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        let (metrics, now) = (Metrics::new().unwrap(), Instant::now());
        let snapshot = load_text("x.yaml", FILE, Inputs::new(&metrics, now)).unwrap();
        Bench { metrics, snapshot, now }
    }

    /// Makes a change, which takes effect unless it is refused.
    fn change<T>(&mut self, change: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut draft = Draft::new(&self.snapshot, self.now, &self.metrics);
        let value = change(&mut draft)?;
        if let Some(next) = draft.finish() {
            self.snapshot = next;
        }
        Ok(value)
    }

    fn put(&mut self, id: &RuleId, delay: u32) -> Result<bool, Refusal> {
        self.change(|draft| draft.put(id, text(&format!("{{faults: [{{delay: {delay}ms}}]}}"))))
    }

    fn reload(&mut self, file: &str) {
        let inputs = Inputs {
            previous: Some(&self.snapshot),
            ..Inputs::new(&self.metrics, self.now)
        };
        let next = load_text("x.yaml", file, inputs).unwrap();
        self.snapshot = next.following(&self.snapshot, self.now, &self.metrics);
    }

    /// The rules in force by id, in their order.
    fn in_force(&self) -> Vec<RuleId> {
        self.snapshot.rules.iter().map(|rule| rule.id()).collect()
    }

    fn rule(&self, id: &RuleId) -> &Arc<Rule> {
        self.snapshot.rules.iter().find(|rule| rule.id() == *id).unwrap()
    }
}

fn text(text: &str) -> Text {
    Text {
        text: text.to_owned(),
        folder: PathBuf::new(),
    }
}

fn id(name: &str) -> RuleId {
    RuleId::new(None, name)
}

#[test]
fn a_rule_of_the_api_stands_before_the_file_or_in_the_place_of_one() {
    let mut bench = Bench::new();
    bench.put(&id("c"), 5).unwrap();
    bench.put(&id("b"), 6).unwrap();
    assert_eq!(bench.in_force(), [id("c"), id("a"), id("b")]);
    assert_eq!(bench.snapshot.revision, 2);
    let (known, added) = (
        bench.snapshot.revision_of(&id("a")),
        bench.snapshot.revision_of(&id("c")),
    );
    assert_eq!((known, added), (Some(0), Some(1)));
    bench.change(|draft| draft.remove(&id("b"))).unwrap();
    assert!(Arc::ptr_eq(bench.rule(&id("b")), &bench.snapshot.file_rules[1].0));
    assert!(matches!(
        bench.change(|draft| draft.remove(&id("b"))),
        Err(Refusal::Conflict(_))
    ));
    assert!(matches!(
        bench.change(|draft| draft.remove(&id("d"))),
        Err(Refusal::Unknown(_))
    ));
}

#[test]
fn a_changed_rule_keeps_its_state_and_a_reset_one_does_not() {
    let mut bench = Bench::new();
    let before = Arc::clone(&bench.rule(&id("a")).state);
    let patch = serde_json::json!({"faults": [{"delay": "9ms"}]});
    bench.change(|draft| draft.patch(&id("a"), &patch)).unwrap();
    assert!(Arc::ptr_eq(&before, &bench.rule(&id("a")).state));
    bench.change(|draft| draft.reset(&Which::One(id("a")))).unwrap();
    let fresh = &bench.rule(&id("a")).state;
    assert!(!Arc::ptr_eq(&before, fresh));
    assert!(
        Arc::ptr_eq(before.rule_switch(), fresh.rule_switch()),
        "its switch stays as it is"
    );
    // Attempts are remembered by another key, so nothing that was remembered would be right.
    let patch = serde_json::json!({"when": {"key": "client", "attempts": 2}});
    let before = Arc::clone(fresh);
    bench.change(|draft| draft.patch(&id("a"), &patch)).unwrap();
    assert!(!Arc::ptr_eq(&before, &bench.rule(&id("a")).state));
}

#[test]
fn what_does_not_fit_a_new_file_waits_for_one_that_it_fits() {
    let mut bench = Bench::new();
    let mine = "{listener: web, faults: [{delay: 1ms}]}";
    bench.change(|draft| draft.put(&id("c"), text(mine))).unwrap();
    bench.reload(&FILE.replace("web", "shop"));
    assert_eq!(bench.in_force(), [id("a"), id("b")]);
    let problem = bench.snapshot.layer.rule(&id("c")).unwrap().rule.as_ref().unwrap_err();
    assert!(problem.contains("there is no listener `web`"), "{problem}");
    bench.reload(FILE);
    assert_eq!(bench.in_force(), [id("c"), id("a"), id("b")]);
}

#[test]
fn unchanged_listeners_keep_their_views_and_rules_their_index() {
    let mut bench = Bench::new();
    bench.put(&RuleId::new(Some("s"), "x"), 1).unwrap();
    let before = bench.snapshot.listeners[0].rules().clone();
    bench.put(&RuleId::new(Some("t"), "x"), 1).unwrap();
    assert!(!before.is_same(bench.snapshot.listeners[0].rules()));
    bench.change(|draft| draft.remove_space("t")).unwrap();
    assert!(
        before.is_same(bench.snapshot.listeners[0].rules()),
        "the other space's set is the same one"
    );
}

#[test]
fn conditions_hold_or_nothing_changes() {
    let mut bench = Bench::new();
    bench.put(&id("c"), 1).unwrap();
    let mut check = |rule: &str, expected: Expected, holds: bool| {
        let result = bench.change(|draft| draft.expect(&id(rule), &expected));
        assert_eq!(result.is_ok(), holds, "{rule} {expected:?}");
    };
    check("c", Expected::Revision(vec![9, 1]), true);
    check("c", Expected::Revision(vec![0]), false);
    check("c", Expected::Absent, false);
    check("a", Expected::Revision(vec![0]), true);
    check("d", Expected::Exists, false);
    check("d", Expected::Absent, true);
    check("d", Expected::Any, true);
    assert_eq!(bench.snapshot.revision, 1);
}

/// What the model knows of a rule: its delay, and when it vanishes, in seconds.
type Model = Vec<(RuleId, u32, Option<u64>)>;

#[derive(Debug, Clone)]
enum Op {
    Put(RuleId, u32, Option<u64>),
    Patch(RuleId, u32),
    Remove(RuleId),
    Reverse,
    CloseSpace,
    Wait(u64),
    Reload,
    Undo(RuleId),
}

fn op() -> impl Strategy<Value = Op> {
    let id = || ("[a-d]", prop::option::of(Just("s"))).prop_map(|(name, space)| RuleId::new(space, &name));
    prop_oneof![
        4 => (id(), 1..99u32, prop::option::of(1..5u64)).prop_map(|(id, delay, ttl)| Op::Put(id, delay, ttl)),
        2 => (id(), 1..99u32).prop_map(|(id, delay)| Op::Patch(id, delay)),
        2 => id().prop_map(Op::Remove),
        1 => Just(Op::Reverse),
        1 => Just(Op::CloseSpace),
        2 => (1..4u64).prop_map(Op::Wait),
        1 => Just(Op::Reload),
        1 => id().prop_map(Op::Undo),
    ]
}

fn apply(bench: &mut Bench, model: &mut Model, op: Op, clock: &mut u64, first: &(ApiLayer, Model)) {
    let at = |model: &Model, id: &RuleId| model.iter().position(|(known, ..)| known == id);
    match op {
        Op::Put(id, delay, ttl) => {
            let ttl_text = ttl.map_or(String::new(), |ttl| format!(", ttl: {ttl}s"));
            let body = text(&format!("{{faults: [{{delay: {delay}ms}}]{ttl_text}}}"));
            let new = bench.change(|draft| draft.put(&id, body)).unwrap();
            let entry = (id.clone(), delay, ttl.map(|ttl| *clock + ttl));
            assert_eq!(new, at(model, &id).is_none());
            match at(model, &id) {
                Some(at) => model[at] = entry,
                None => model.push(entry),
            }
        }
        Op::Patch(id, delay) => {
            let patch = serde_json::json!({"faults": [{"delay": format!("{delay}ms")}]});
            let done = bench.change(|draft| draft.patch(&id, &patch));
            let of_file = id.space.is_none() && ["a", "b"].contains(&&*id.name);
            match at(model, &id) {
                Some(at) => model[at].1 = delay,
                None if of_file => model.push((id, delay, None)),
                None => return assert!(matches!(done, Err(Refusal::Unknown(_)))),
            }
            done.unwrap();
        }
        Op::Remove(id) => match (bench.change(|draft| draft.remove(&id)), at(model, &id)) {
            (Ok(()), Some(at)) => drop(model.remove(at)),
            (Err(_), None) => {}
            (result, known) => panic!("{result:?} {known:?}"),
        },
        Op::Reverse => {
            model.reverse();
            let ids: Vec<RuleId> = model.iter().map(|(id, ..)| id.clone()).collect();
            bench.change(|draft| draft.order(&ids)).unwrap();
        }
        Op::CloseSpace => {
            let closed = bench.change(|draft| draft.remove_space("s")).is_ok();
            let before = model.len();
            model.retain(|(id, ..)| id.space.is_none());
            assert!(closed || before == model.len());
        }
        Op::Wait(seconds) => {
            *clock += seconds;
            bench.now += Duration::from_secs(seconds);
            bench.change(|draft| Ok(draft.expire())).unwrap();
            model.retain(|(.., expires)| expires.is_none_or(|expires| expires > *clock));
        }
        Op::Reload => bench.reload(FILE),
        Op::Undo(id) => {
            bench
                .change(|draft| draft.restore(std::slice::from_ref(&id), &first.0))
                .unwrap();
            let earlier = first.1.iter().find(|(known, ..)| *known == id);
            match (earlier, at(model, &id)) {
                (Some(earlier), Some(at)) => model[at] = earlier.clone(),
                (Some(earlier), None) => model.push(earlier.clone()),
                (None, Some(at)) => drop(model.remove(at)),
                (None, None) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changes_leave_what_a_simple_model_says(before in prop::collection::vec(op(), 0..6), ops in prop::collection::vec(op(), 1..20)) {
        let (mut bench, mut model, mut clock) = (Bench::new(), Model::new(), 0);
        let none = (ApiLayer::default(), Model::new());
        for op in before {
            apply(&mut bench, &mut model, op, &mut clock, &none);
        }
        let first = (ApiLayer::clone(&bench.snapshot.layer), model.clone());
        let mut revision = bench.snapshot.revision;
        for op in ops {
            apply(&mut bench, &mut model, op, &mut clock, &first);
            prop_assert!(bench.snapshot.revision >= revision);
            revision = bench.snapshot.revision;
            let known: Vec<RuleId> = bench.snapshot.layer.rules().iter().map(|rule| rule.id.clone()).collect();
            let expected: Vec<RuleId> = model.iter().map(|(id, ..)| id.clone()).collect();
            prop_assert_eq!(&known, &expected);
            let of_file = [id("a"), id("b")];
            let order: Vec<RuleId> = expected.iter().filter(|id| !of_file.contains(id)).chain(&of_file).cloned().collect();
            prop_assert_eq!(bench.in_force(), order);
            for (id, delay, _) in &model {
                let faults = serde_json::to_value(&bench.snapshot.layer.rule(id).unwrap().spec.faults).unwrap();
                prop_assert_eq!(&faults[0]["delay"]["fixed"], &format!("{delay}ms"));
            }
        }
    }
}
