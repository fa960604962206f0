use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::metrics::Metrics;

/// A data path without sockets: it notes what it is told.
#[derive(Debug, Default, Clone)]
struct Fake(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    open: Mutex<Vec<SocketAddr>>,
    rules: Mutex<Vec<String>>,
    ports: AtomicU16,
    /// Whether the machine has no IPv6.
    old: bool,
}

#[derive(Debug)]
struct FakeRunning(SocketAddr, Fake);

impl Engine for Fake {
    fn start(&self, start: Start<'_>) -> io::Result<Box<dyn Running>> {
        let mut address = start.listen;
        if self.0.old && address.is_ipv6() {
            return Err(io::Error::from_raw_os_error(97));
        }
        if address.port() == 0 {
            address.set_port(40_000 + self.0.ports.fetch_add(1, Ordering::Relaxed));
        }
        let mut open = self.0.open.lock();
        if open.contains(&address) {
            return Err(io::Error::from_raw_os_error(98));
        }
        open.push(address);
        drop(open);
        let running = FakeRunning(address, self.clone());
        running.replace(start.rules);
        Ok(Box::new(running))
    }
}

impl Running for FakeRunning {
    fn address(&self) -> SocketAddr {
        self.0
    }

    fn replace(&self, rules: &[Arc<Rule>]) {
        *self.1.0.rules.lock() = rules.iter().map(|rule| rule.name.to_string()).collect();
    }

    fn bytes(&self) -> Bytes {
        Bytes {
            upstream: 3,
            downstream: 2,
        }
    }
}

impl Drop for FakeRunning {
    fn drop(&mut self) {
        self.1.0.open.lock().retain(|address| *address != self.0);
    }
}

fn proxies() -> (Proxies, Fake) {
    let fake = Fake::default();
    let rules = Rules::new(1, Metrics::new().unwrap());
    (Proxies::new(rules, Box::new(fake.clone())), fake)
}

fn body(text: &str) -> Json {
    Json::first(text.as_bytes()).unwrap()
}

async fn create(proxies: &Proxies, text: &str) -> Result<Value, String> {
    proxies.create(&body(text)).await.map_err(|refusal| refusal.message)
}

const REDIS: &str = r#"{"name":"redis","listen":"127.0.0.1:26379","upstream":"127.0.0.1:6379"}"#;
const RESET: &str = r#"{"type":"reset_peer"}"#;

#[tokio::test]
async fn a_proxy_comes_and_goes() {
    let (proxies, fake) = proxies();
    let shown = create(&proxies, REDIS).await.unwrap();
    assert_eq!(
        shown.to_string(),
        r#"{"name":"redis","listen":"127.0.0.1:26379","upstream":"127.0.0.1:6379","enabled":true,"toxics":[]}"#
    );
    assert_eq!(proxies.show("redis"), Ok(shown.clone()));
    assert_eq!(proxies.list(), json!({"redis": shown}));
    assert_eq!(create(&proxies, REDIS).await, Err("proxy already exists".into()));
    let other = REDIS.replace("redis", "other");
    assert_eq!(
        create(&proxies, &other).await,
        Err("listen tcp 127.0.0.1:26379: bind: address already in use".into())
    );
    assert_eq!(proxies.delete("redis"), Ok(()));
    assert_eq!(proxies.delete("redis"), Err(Refusal::no_proxy()));
    assert!(fake.0.open.lock().is_empty());
}

#[tokio::test]
async fn real_addresses_are_shown() {
    let (proxies, _) = proxies();
    let listen = async |name: &str, listen: &str, enabled: bool| {
        let text = format!(r#"{{"name":"{name}","listen":"{listen}","upstream":"u:1","enabled":{enabled}}}"#);
        let shown = create(&proxies, &text).await?;
        Ok::<_, String>(shown["listen"].as_str().unwrap().to_owned())
    };
    assert_eq!(listen("a", "localhost:0", true).await.unwrap(), "127.0.0.1:40000");
    assert_eq!(listen("b", ":26379", true).await.unwrap(), "[::]:26379");
    assert_eq!(listen("c", "", true).await.unwrap(), "[::]:40001");
    assert_eq!(listen("d", "localhost:5", false).await.unwrap(), "localhost:5");
    assert_eq!(
        listen("e", "local373", true).await,
        Err("listen tcp: address local373: missing port in address".into())
    );
}

#[tokio::test]
async fn a_machine_without_ipv6_listens_on_ipv4() {
    let fake = Fake(Arc::new(Noted {
        old: true,
        ..Noted::default()
    }));
    let proxies = Proxies::new(Rules::new(1, Metrics::new().unwrap()), Box::new(fake));
    let shown = create(&proxies, r#"{"name":"a","listen":":7","upstream":"u:1"}"#).await;
    assert_eq!(shown.unwrap()["listen"], "0.0.0.0:7");
}

#[tokio::test]
async fn an_update_keeps_toxics_and_may_move_the_proxy() {
    let (proxies, fake) = proxies();
    create(&proxies, REDIS).await.unwrap();
    proxies.create_toxic("redis", Ok(body(RESET))).unwrap();
    let update = async |text: &str| proxies.update("redis", Ok(body(text))).await;
    let toxics = |shown: &Value| shown["toxics"].as_array().unwrap().len();
    let shown = update(r#"{"enabled":false}"#).await.unwrap();
    assert_eq!((&shown["enabled"], toxics(&shown)), (&false.into(), 1));
    assert!(fake.0.open.lock().is_empty());
    let shown = update(r#"{"upstream":"127.0.0.1:1"}"#).await.unwrap();
    assert_eq!((&shown["enabled"], toxics(&shown)), (&false.into(), 1));
    let shown = update(r#"{"listen":"127.0.0.1:5","enabled":true}"#).await.unwrap();
    assert_eq!((&shown["listen"], toxics(&shown)), (&"127.0.0.1:5".into(), 1));
    assert_eq!(*fake.0.rules.lock(), ["redis/reset_peer_downstream"]);
    let refusal = update(r#"{"listen":"nowhere"}"#).await.unwrap_err();
    assert_eq!(refusal, Refusal::of_system("address nowhere: missing port in address"));
    assert_eq!(proxies.show("redis").unwrap()["enabled"], true);
    let refusal = proxies.update("redis", Err("EOF".into())).await;
    assert_eq!(refusal, Err(Refusal::bad_body("EOF")));
    let refusal = proxies.update("nobody", Err("EOF".into())).await;
    assert_eq!(refusal, Err(Refusal::no_proxy()));
}

#[tokio::test]
async fn populating_leaves_what_is_there() {
    let (proxies, fake) = proxies();
    create(&proxies, r#"{"name":"a","listen":":7","upstream":"u:1"}"#)
        .await
        .unwrap();
    proxies.create_toxic("a", Ok(body(RESET))).unwrap();
    let list = r#"[{"name":"a","listen":":7","upstream":"u:1","toxics":[{"type":"noop"}]},
        {"name":"b","listen":"127.0.0.1:8","upstream":"u:1","enabled":false,"toxics":[{"type":"noop"},{"type":"reset"}]}]"#;
    let (shown, refused) = proxies.populate(&body(list)).await;
    assert_eq!(refused, None);
    let names = |proxy: &Value| {
        let toxics = proxy["toxics"].as_array().unwrap().iter();
        toxics
            .map(|toxic| toxic["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let toxics: Vec<_> = shown.iter().map(names).collect();
    assert_eq!(
        toxics,
        [
            vec!["reset_peer_downstream"],
            vec!["noop_downstream", "reset_downstream"]
        ]
    );
    let (shown, _) = proxies
        .populate(&body(r#"[{"name":"a","listen":":7","upstream":"u:2"}]"#))
        .await;
    assert_eq!((&shown[0]["upstream"], names(&shown[0]).len()), (&"u:2".into(), 0));
    assert_eq!(fake.0.open.lock().len(), 1);
}

#[tokio::test]
async fn populating_goes_as_far_as_it_can() {
    let (proxies, _) = proxies();
    let list = r#"[{"name":"a","listen":":7","upstream":"u:1"},{"name":"b","listen":"local373","upstream":"u:1"},
        {"name":"c","listen":":8","upstream":"u:1"}]"#;
    let (shown, refused) = proxies.populate(&body(list)).await;
    assert_eq!(shown.len(), 1);
    let reason = "listen tcp: address local373: missing port in address";
    assert_eq!(refused, Some(Refusal::of_system(reason)));
    // What is wrong with the body itself is found before anything is created.
    let list = r#"[{"name":"d","upstream":"u:1"},{"name":"e","upstream":"u:1","toxics":[{},{"type":"no"}]}]"#;
    let (shown, refused) = proxies.populate(&body(list)).await;
    let reason = "invalid toxic type at toxic 1 of proxy 2";
    assert_eq!((shown.len(), refused.unwrap().message.as_str()), (0, reason));
    assert_eq!(proxies.list().as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn toxics_are_listed_by_chain() {
    let (proxies, fake) = proxies();
    create(&proxies, REDIS).await.unwrap();
    let add = |text: &str| proxies.create_toxic("redis", Ok(body(text)));
    assert_eq!(
        add(RESET).unwrap().to_string(),
        r#"{"attributes":{"timeout":0},"name":"reset_peer_downstream","type":"reset_peer","stream":"downstream","toxicity":1}"#
    );
    add(r#"{"type":"limit_data","name":"second","attributes":{"bytes":5},"toxicity":0.5}"#).unwrap();
    add(r#"{"type":"noop","stream":"upstream"}"#).unwrap();
    add(r#"{"type":"limit_data","stream":"Upstream","attributes":{"bytes":5}}"#).unwrap();
    let names = || {
        let toxics = proxies.toxics("redis").unwrap();
        let names = toxics.as_array().unwrap().iter().map(|toxic| toxic["name"].clone());
        names.collect::<Vec<_>>()
    };
    let all = [
        "noop_upstream",
        "limit_data_Upstream",
        "reset_peer_downstream",
        "second",
    ];
    assert_eq!(names(), all);
    let rules = [
        "redis/limit_data_Upstream",
        "redis/reset_peer_downstream",
        "redis/second",
    ];
    assert_eq!(*fake.0.rules.lock(), rules);
    proxies.delete_toxic("redis", "reset_peer_downstream").unwrap();
    assert_eq!(*fake.0.rules.lock(), [rules[0], rules[2]]);
    assert_eq!(proxies.delete_toxic("redis", "x"), Err(Refusal::no_toxic()));
    assert_eq!(proxies.toxic("redis", "x"), Err(Refusal::no_toxic()));
    assert_eq!(proxies.toxic("x", "x"), Err(Refusal::no_proxy()));
    let update = |text: &str| proxies.update_toxic("redis", "second", Ok(body(text)));
    let shown = update(r#"{"toxicity":0.25,"attributes":{},"stream":"upstream"}"#).unwrap();
    assert_eq!(
        shown.to_string(),
        r#"{"attributes":{"bytes":5},"name":"second","type":"limit_data","stream":"downstream","toxicity":0.25}"#
    );
    update(r#"{"attributes":{"bytes":7,"x":[]}}"#).unwrap();
    assert!(update(r#"{"attributes":{"bytes":9},"toxicity":"1"}"#).is_err());
    assert!(update(r#"{"toxicity":1,"attributes":{"bytes":"9"}}"#).is_err());
    let shown = proxies.toxic("redis", "second").unwrap();
    assert_eq!(
        (&shown["attributes"]["bytes"], &shown["toxicity"]),
        (&7.into(), &0.25.into())
    );
}

#[tokio::test]
async fn toxics_are_refused_in_the_order_of_toxiproxy() {
    let (proxies, _) = proxies();
    create(&proxies, REDIS).await.unwrap();
    let refused = |text: &str| proxies.create_toxic("redis", Ok(body(text))).unwrap_err();
    proxies.create_toxic("redis", Ok(body(RESET))).unwrap();
    assert_eq!(refused(r#"{"stream":"x","type":"x"}"#), Refusal::invalid_stream());
    assert_eq!(refused(r#"{"type":"x"}"#), Refusal::invalid_type());
    assert_eq!(refused("{}"), Refusal::invalid_type());
    assert_eq!(
        refused(r#"{"type":"reset_peer","attributes":{"timeout":"x"}}"#),
        Refusal::toxic_exists()
    );
    let reason = "json: cannot unmarshal string into Go struct field LimitDataToxic.attributes.bytes of type int64";
    assert_eq!(
        refused(r#"{"type":"limit_data","attributes":{"bytes":"x"}}"#),
        Refusal::bad_body(reason)
    );
    assert_eq!(
        refused(r#"{"type":"bandwidth","attributes":{"rate":-1}}"#),
        Refusal::bad_body("a rate can't be negative")
    );
    let refusal = proxies.create_toxic("nobody", Err("EOF".into()));
    assert_eq!(refusal, Err(Refusal::no_proxy()));
}

#[tokio::test]
async fn a_reset_enables_everything_and_removes_all_toxics() {
    let (proxies, fake) = proxies();
    create(&proxies, REDIS).await.unwrap();
    proxies.create_toxic("redis", Ok(body(RESET))).unwrap();
    create(
        &proxies,
        r#"{"name":"b","listen":"localhost:5","upstream":"u:1","enabled":false}"#,
    )
    .await
    .unwrap();
    create(
        &proxies,
        r#"{"name":"a","listen":"nowhere","upstream":"u:1","enabled":false}"#,
    )
    .await
    .unwrap();
    let refused = proxies.reset().await.unwrap_err();
    assert_eq!(refused.message, "listen tcp: address nowhere: missing port in address");
    let all = proxies.list();
    let enabled = |name: &str| all[name]["enabled"].as_bool().unwrap();
    assert!(enabled("redis") && enabled("b") && !enabled("a"));
    assert!(all["redis"]["toxics"].as_array().unwrap().is_empty());
    assert!(fake.0.rules.lock().is_empty());
}

#[tokio::test]
async fn bytes_are_counted_over_runs() {
    let (proxies, _) = proxies();
    create(&proxies, REDIS).await.unwrap();
    let update = async |text: &str| drop(proxies.update("redis", Ok(body(text))).await.unwrap());
    let received = || proxies.traffic()[0].bytes.upstream;
    assert_eq!(received(), 3);
    update(r#"{"enabled":false}"#).await;
    assert_eq!(received(), 3);
    update(r#"{"enabled":true}"#).await;
    assert_eq!(received(), 6);
    update(r#"{"upstream":"u:9"}"#).await;
    assert_eq!(received(), 3);
}

#[tokio::test]
async fn toxics_are_bounded() {
    let (proxies, _) = proxies();
    let noops = |count| {
        let toxics = (0..count).map(|index| format!(r#"{{"type":"noop","name":"{index}"}}"#));
        let toxics = toxics.collect::<Vec<_>>().join(",");
        format!(r#"{{"name":"a","listen":":7","upstream":"u:1","toxics":[{toxics}]}}"#)
    };
    let refused = Refusal::too_many_toxics().message;
    assert_eq!(create(&proxies, &noops(MAX_TOXICS + 1)).await, Err(refused));
    create(&proxies, &noops(MAX_TOXICS)).await.unwrap();
    assert_eq!(
        proxies.create_toxic("a", Ok(body(RESET))),
        Err(Refusal::too_many_toxics())
    );
}
