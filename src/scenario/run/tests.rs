use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::scenario::patch;
use crate::scenario::steer::RuleNow;
use crate::traffic::{Seen, Wrong};

/// Rules in memory, with all that was done to them.
#[derive(Default)]
struct Fake {
    rules: Mutex<BTreeMap<String, (Value, Option<bool>)>>,
    log: Mutex<Vec<String>>,
    halted: Mutex<Option<String>>,
    /// How many calls of `restore` fail.
    stuck: Mutex<u32>,
}

impl Fake {
    fn new() -> Fake {
        let fake = Fake::default();
        let mut rules = fake.rules.lock();
        for rule in [
            json!({"name": "outage", "enabled": false, "faults": [{"abort": 503}]}),
            json!({"name": "slow", "faults": [{"delay": "10ms"}]}),
        ] {
            rules.insert(rule["name"].as_str().unwrap().into(), (rule, None));
        }
        drop(rules);
        fake
    }

    fn note(&self, text: String) {
        self.log.lock().push(text);
    }

    fn delay(&self) -> f64 {
        let rules = self.rules.lock();
        let text = rules["slow"].0["faults"][0]["delay"].as_str().unwrap();
        text.parse::<crate::yaml::units::Time>().unwrap().get().as_secs_f64()
    }
}

impl Steer for Fake {
    type Saved = BTreeMap<String, (Value, Option<bool>)>;

    fn rules(&self) -> Vec<RuleNow> {
        let rules = self.rules.lock();
        let now = |(name, (spec, on)): (&String, &(Value, Option<bool>))| RuleNow {
            name: name.as_str().into(),
            enabled: on.unwrap_or(spec["enabled"] != false),
            spec: spec.clone(),
        };
        rules.iter().map(now).collect()
    }

    fn seed(&self) -> u64 {
        7
    }

    fn config_hash(&self) -> String {
        "abc".into()
    }

    async fn try_put(&self, _: &Value) -> Result<(), String> {
        Ok(())
    }

    fn save(&self, _: &[Arc<str>]) -> Self::Saved {
        self.rules.lock().clone()
    }

    async fn restore(&self, names: &[Arc<str>], saved: &Self::Saved) -> Result<(), String> {
        let mut stuck = self.stuck.lock();
        if *stuck > 0 {
            *stuck -= 1;
            return Err("stuck".into());
        }
        self.note(format!("restore {}", names.join(", ")));
        let mut rules = self.rules.lock();
        for name in names {
            match saved.get(&**name) {
                Some(rule) => drop(rules.insert(name.to_string(), rule.clone())),
                None => drop(rules.remove(&**name)),
            }
        }
        Ok(())
    }

    async fn reset(&self, names: &[Arc<str>]) -> Result<(), String> {
        self.note(format!("reset {}", names.join(", ")));
        Ok(())
    }

    async fn switch(&self, name: &Arc<str>, on: Option<bool>) -> Result<(), String> {
        self.note(format!("switch {name} {on:?}"));
        self.rules.lock().get_mut(&**name).ok_or("gone")?.1 = on;
        Ok(())
    }

    async fn patch(&self, name: &Arc<str>, change: Value) -> Result<(), String> {
        self.note(format!("patch {name} {change}"));
        patch::merge(&mut self.rules.lock().get_mut(&**name).ok_or("gone")?.0, &change);
        Ok(())
    }

    async fn put(&self, name: &Arc<str>, rule: &Value) -> Result<(), String> {
        self.note(format!("put {name}"));
        self.rules.lock().insert(name.to_string(), (rule.clone(), None));
        Ok(())
    }

    fn halted(&self) -> Option<String> {
        self.halted.lock().clone()
    }
}

/// A scenario that is played in paused time, while requests pass.
struct Playing {
    fake: Arc<Fake>,
    control: Arc<watch::Sender<Control>>,
    told: Arc<Mutex<Vec<Progress>>>,
    report: tokio::task::JoinHandle<ScenarioReport>,
}

fn start(yaml: &str) -> Playing {
    start_with(yaml, Arc::new(Fake::new()), |fake| Seen {
        total: Duration::from_secs_f64(fake.delay()) + Duration::from_millis(5),
        natural: Some(Duration::from_millis(5)),
        ..Seen::default()
    })
}

fn start_with(yaml: &str, fake: Arc<Fake>, seen: impl Fn(&Fake) -> Seen + Send + 'static) -> Playing {
    let scenario = Scenario::load("s.yaml", yaml.as_bytes().to_vec()).unwrap_or_else(|report| panic!("{report}"));
    scenario
        .check(&fake.rules(), 7, Vec::new())
        .unwrap_or_else(|report| panic!("{report}"));
    let control = Arc::new(watch::Sender::new(Control::Go));
    let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let recorder = Arc::new(Recorder::new(Instant::now()));
    let (traffic, recorded) = (Arc::clone(&fake), Arc::clone(&recorder));
    let traffic = tokio::spawn(async move {
        loop {
            recorded.see(&seen(&traffic));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (steer, orders, telling) = (Arc::clone(&fake), control.subscribe(), Arc::clone(&told));
    let report = tokio::spawn(async move {
        let saved = steer.save(&[]);
        let tell = |progress| telling.lock().push(progress);
        let report = play(&scenario, &*steer, &saved, &recorder, orders, tell).await;
        traffic.abort();
        report
    });
    Playing {
        fake,
        control,
        told,
        report,
    }
}

impl Playing {
    async fn end(self) -> (ScenarioReport, Arc<Fake>) {
        (self.report.await.unwrap(), self.fake)
    }
}

fn is_as_before(fake: &Fake) -> bool {
    *fake.rules.lock() == *Fake::new().rules.lock()
}

const RAMP: &str = "
scenario: ramp
steady: {p99: < 100ms}
before: 2s
steps:
  - ramp delay of slow from 100ms to 1s over 10s
expect: {p99: < 2s, recovered within: 5s}
";

#[tokio::test(start_paused = true)]
async fn a_ramp_is_followed_within_five_percent_and_put_back() {
    let playing = start(RAMP);
    let began = Instant::now() + Duration::from_secs(2);
    tokio::time::sleep_until(began + Duration::from_millis(5)).await;
    for _ in 0..500 {
        let time = began.elapsed().as_secs_f64();
        let (wanted, found) = (0.1 + 0.9 * time.min(10.0) / 10.0, playing.fake.delay());
        if time < 9.99 {
            assert!(
                (found / wanted - 1.0).abs() < 0.05,
                "{time}s: {found} instead of {wanted}"
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (report, fake) = playing.end().await;
    assert_eq!(
        (report.verdict, report.reason.as_deref()),
        (Verdict::Passed, None),
        "{report:#?}"
    );
    assert!(report.reverted && is_as_before(&fake));
    let patches = fake.log.lock().iter().filter(|line| line.starts_with("patch")).count();
    assert!(
        (100..400).contains(&patches),
        "{patches}: only what differs by 1 % is sent"
    );
    assert_eq!(report.injected.len(), 1);
    assert!((report.injected[0].until - 10.0).abs() < 0.2);
    assert_eq!(report.expectations[1].name, "recovered within");
    assert!(report.series.len() >= 12);
}

#[tokio::test(start_paused = true)]
async fn steps_are_carried_out_in_order() {
    let playing = start(
        "
scenario: x
steps:
  - enable outage for 2s
  - put: {name: extra, faults: [{delay: 1s}]}
    for: 3s
  - at 3s: hold percentage of extra at 5% for 1s
  - at 3s: step delay of slow through 20ms, 30ms every 1s
  - revert slow
",
    );
    let (report, fake) = playing.end().await;
    assert_eq!(report.verdict, Verdict::Passed, "{:?}", report.reason);
    assert!(is_as_before(&fake));
    insta::assert_snapshot!(fake.log.lock().join("\n"));
    let injected: Vec<String> = report
        .injected
        .iter()
        .map(|one| format!("{:.1} to {:.1}: {}", one.from, one.until, one.text))
        .collect();
    insta::assert_snapshot!(injected.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_expectation_that_fails_is_named() {
    let (report, _) = start(&RAMP.replace("p99: < 2s", "p99: < 500ms")).end().await;
    assert_eq!(report.verdict, Verdict::Failed);
    let reason = report.reason.clone().unwrap();
    assert_eq!(reason, "did not hold: p99 < 500ms (during)");
    assert!(report.expectations[0].margin.unwrap() < -0.8);
    assert!(
        report.summary().contains("failed       p99 < 500ms (during)"),
        "{}",
        report.summary()
    );
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_baseline_ends_it_before_anything_is_injected() {
    let (report, fake) = start(&RAMP.replace("{p99: < 100ms}", "{p99: < 1ms}")).end().await;
    assert_eq!(report.verdict, Verdict::Aborted);
    assert!(
        report.reason.unwrap().contains("did not hold before"),
        "{:?}",
        report.steady
    );
    assert!(fake.log.lock().is_empty() && report.injected.is_empty());
}

#[tokio::test(start_paused = true)]
async fn aborting_puts_everything_back() {
    let playing = start(RAMP);
    tokio::time::sleep(Duration::from_secs(5)).await;
    playing.control.send_replace(Control::Abort("enough".into()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(is_as_before(&playing.fake), "at once");
    let (report, _) = playing.end().await;
    assert_eq!(
        (report.verdict, report.reason.as_deref()),
        (Verdict::Aborted, Some("enough"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_the_clock_and_keeps_what_is_in_force() {
    let playing = start(RAMP);
    tokio::time::sleep(Duration::from_secs(7)).await;
    playing.control.send_replace(Control::Pause);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let held = playing.fake.delay();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(playing.fake.delay(), held);
    assert_eq!(playing.told.lock().last().unwrap().state, State::Paused);
    playing.control.send_replace(Control::Go);
    let told = Arc::clone(&playing.told);
    let (report, _) = playing.end().await;
    assert_eq!(report.verdict, Verdict::Passed, "{:?}", report.reason);
    assert!((report.seconds.during - 71.0).abs() < 0.5, "{:?}", report.seconds);
    let at: Vec<f64> = told.lock().iter().map(|progress| progress.at).collect();
    assert!(at.windows(2).all(|pair| pair[0] <= pair[1]));
}

#[tokio::test(start_paused = true)]
async fn the_stop_switch_fails_it() {
    let playing = start(RAMP);
    tokio::time::sleep(Duration::from_secs(5)).await;
    *playing.fake.halted.lock() = Some("the stop switch: pager".into());
    let (report, fake) = playing.end().await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(report.reason.as_deref(), Some("halted: the stop switch: pager"));
    assert!(is_as_before(&fake));
}

#[tokio::test(start_paused = true)]
async fn a_condition_to_stop_halts_it() {
    let yaml = RAMP.replace("steps:", "stop_when: {errors: '> 50%'}\nsteps:");
    let began = Instant::now();
    let playing = start_with(&yaml, Arc::new(Fake::new()), move |_| Seen {
        error: (began.elapsed() > Duration::from_secs(4)).then_some(Wrong::Natural),
        ..Seen::default()
    });
    let (report, fake) = playing.end().await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(
        report
            .reason
            .unwrap()
            .starts_with("halted by `stop_when`: errors > 50% came true")
    );
    assert!((2.0..7.5).contains(&report.seconds.during), "{:?}", report.seconds);
    assert!(is_as_before(&fake));
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_goes_away_fails_it() {
    let playing = start(RAMP);
    tokio::time::sleep(Duration::from_secs(5)).await;
    playing.fake.rules.lock().remove("slow");
    // The traffic asks for the delay of this rule, so it ends here too.
    let (report, fake) = playing.end().await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(report.reason.unwrap().contains("`slow`"));
    assert!(is_as_before(&fake));
}

#[tokio::test(start_paused = true)]
async fn reverting_is_tried_again_and_a_failure_is_never_a_pass() {
    let fake = Arc::new(Fake::new());
    *fake.stuck.lock() = 3;
    let (report, fake) = start_with(RAMP, fake, |_| Seen::default()).end().await;
    assert!(report.reverted && is_as_before(&fake));
    let fake = Arc::new(Fake::new());
    *fake.stuck.lock() = 100;
    let (report, _) = start_with(RAMP, fake, |_| Seen::default()).end().await;
    assert_eq!((report.verdict, report.reverted), (Verdict::Failed, false));
    assert!(report.reason.unwrap().contains("could be put back: stuck"));
}

#[tokio::test(start_paused = true)]
async fn without_requests_nothing_is_known() {
    let fake = Arc::new(Fake::new());
    let scenario = "scenario: x\nsteps: [enable outage for 2s]\nexpect: {errors: < 1%, recovered within: 2s}\n";
    let scenario = Scenario::load("s.yaml", scenario.as_bytes().to_vec()).unwrap();
    let (recorder, (_keep, orders)) = (Recorder::new(Instant::now()), watch::channel(Control::Go));
    let report = play(&scenario, &*fake, &fake.save(&[]), &recorder, orders, |_| {}).await;
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert_eq!(
        report.reason.as_deref(),
        Some("no requests to check: errors < 1% (during), recovered within 2s (after)")
    );
}

/// A report with awkward characters in every text.
async fn awkward() -> ScenarioReport {
    let (mut report, _) = start(&RAMP.replace("scenario: ramp", "scenario: 'a <b> & \"c\"'"))
        .end()
        .await;
    report.reason = Some("bad \u{1} <script>alert(1)</script>".into());
    report.verdict = Verdict::Failed;
    report.command = "squall scenario run 'x&y.yaml'".into();
    report
}

#[tokio::test(start_paused = true)]
async fn reports_escape_what_they_show() {
    let report = awkward().await;
    let (junit, html) = (report.junit(), report.html());
    for page in [&junit, &html] {
        assert!(
            !page.contains("<script>") && !page.contains('\u{1}') && !page.contains("<b>"),
            "{page}"
        );
    }
    assert!(junit.contains("tests=\"5\" failures=\"1\" errors=\"0\""), "{junit}");
    assert!(junit.contains("a &lt;b&gt; &amp; &quot;c&quot;"));
    assert!(
        !html.contains("http://")
            || html.matches("http://").count() == html.matches("http://www.w3.org/2000/svg").count()
    );
}

#[tokio::test(start_paused = true)]
async fn the_json_report_reads_back() {
    let report = awkward().await;
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<ScenarioReport>(&json).unwrap(), report);
}
