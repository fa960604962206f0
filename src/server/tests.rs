use super::*;
use crate::metrics::Site;

const CONFIGURATION: &str =
    "listeners: {web: {address: '127.0.0.1:0', upstream: mirror}}\nupstreams: {mirror: {fake: echo}}\n";

fn server(folder: &tempfile::TempDir) -> Arc<Server> {
    let file = folder.path().join("squall.yaml");
    std::fs::write(&file, CONFIGURATION).unwrap();
    Server::start(Source::File(file), Some(1), Metrics::new().unwrap()).unwrap()
}

/// With one thread, any work on it would keep the clock below from ticking.
#[tokio::test(flavor = "current_thread")]
async fn a_reload_does_no_work_on_the_threads_of_requests() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    let rule = |number| format!("  - {{name: r{number}, match: {{path: /{number}/*/x}}, faults: [{{delay: 1ms}}]}}\n");
    let rules: String = (0..3000).map(rule).collect();
    std::fs::write(
        folder.path().join("squall.yaml"),
        format!("{CONFIGURATION}rules:\n{rules}"),
    )
    .unwrap();
    let mut ticks = 0;
    let reload = server.reload();
    tokio::pin!(reload);
    let snapshot = loop {
        tokio::select! {
            reloaded = &mut reload => break reloaded.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(1)) => ticks += 1,
        }
    };
    assert_eq!(snapshot.snapshot.rules.len(), 3000);
    assert!(ticks >= 20, "{ticks} ticks");
}

#[test]
fn a_reload_that_takes_too_long_is_refused_and_the_next_one_waits_for_it() {
    // The one thread that loads is busy until the test lets go of it.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    let (let_go, busy) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || busy.recv());
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = server(&folder);
        let hash = server.snapshot().hash.clone();
        let slow = server.reload_within(Duration::from_millis(10)).await.unwrap_err();
        assert!(slow.to_string().contains("takes longer than 0.01 s"), "{slow}");
        let busy = server.reload_within(Duration::from_millis(10)).await.unwrap_err();
        assert!(busy.to_string().contains("earlier reload is still loading"), "{busy}");
        assert_eq!(server.metrics().reloads().1, 2);
        assert_eq!(server.snapshot().hash, hash, "the old configuration stays");
        drop(let_go);
        server.reload().await.unwrap();
    });
}

#[tokio::test]
async fn a_reload_goes_on_without_its_caller() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    let hanging = Arc::clone(&server.reloading).lock_owned().await;
    // The future is polled once, and dropped.
    assert!(timeout(Duration::from_millis(10), server.reload()).await.is_err());
    drop(hanging);
    let reloaded = async {
        while server.metrics().reloads().0 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), reloaded).await.unwrap();
}

#[tokio::test]
async fn a_stopping_server_does_not_reload() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    server.drain(Duration::from_secs(5)).await;
    assert!(matches!(server.reload().await, Err(Failure::Stopping)));
    assert!(server.addresses().is_empty());
}

#[tokio::test]
async fn each_rule_in_force_has_its_series_and_no_other_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    let save = |name: &str| {
        let rule = format!("rules: [{{name: {name}, faults: [{{delay: 1ms}}, {{delay: 2ms}}]}}]\n");
        std::fs::write(folder.path().join("squall.yaml"), format!("{CONFIGURATION}{rule}")).unwrap();
    };
    let series = |rule: &str| -> Vec<String> {
        let label = format!("rule=\"{rule}\"");
        let page = server.metrics_page(crate::metrics::Series::All);
        let lines = page
            .lines()
            .filter(|line| line.contains(&label) && !line.contains("_bucket"));
        lines.map(|line| line.replace(&label, "")).collect()
    };
    save("first");
    let first = server.reload().await.unwrap();
    save("second");
    server.reload().await.unwrap();
    // A request that still has the old rules counts, but brings no series back.
    let former = &first.snapshot.rules[0].metrics;
    former.matched();
    former.injected(1, &Site::new("web", "mirror"));
    former.injected(1, &Site::new("web", "other"));
    former.skipped(1, &Site::new("web", "mirror"), "no body");
    assert_eq!(series("first"), [""; 0]);
    let expected = [
        "squall_faults_active{} 0",
        "squall_faults_injected_total{fault=\"delay\",listener=\"web\",,upstream=\"mirror\"} 0",
        "squall_faults_shadowed_total{fault=\"delay\",listener=\"web\",,upstream=\"mirror\"} 0",
        "squall_injected_delay_seconds_sum{} 0",
        "squall_injected_delay_seconds_count{} 0",
        "squall_rules_matched_total{} 0",
    ];
    assert_eq!(series("second"), expected);
}
