//! The crate `toxiproxy_rust`. It has no updates of toxics, and takes its own away by resetting a proxy.

use rust_clients::{serve, Command};
use serde_json::{json, Value};
use toxiproxy_rust::client::Client;
use toxiproxy_rust::proxy::{Proxy, ProxyPack};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).expect("the address of the API");
    let client = Client::new(address);
    serve(|command| carry_out(&client, command))
}

fn carry_out(client: &Client, command: &Command) -> Result<Value, String> {
    let name = command.text("name");
    match command.text("do").as_str() {
        "version" => client.version().map(Value::from),
        "create" => {
            let pack = ProxyPack::new(name, command.text("listen"), command.text("upstream"));
            let made = client.populate(vec![pack])?;
            Ok(made.first().map(describe).unwrap_or_default())
        }
        "read" => client.find_proxy(&name).map(|proxy| describe(&proxy)),
        "list" => client.all().map(|all| json!(all.keys().collect::<Vec<_>>())),
        "toxics" => {
            let toxics = client.find_proxy(&name)?.toxics()?;
            Ok(json!(toxics.iter().map(|toxic| &toxic.name).collect::<Vec<_>>()))
        }
        "add" => add(&client.find_proxy(&name)?, command),
        "remove" => client.find_proxy(&name)?.delete_all_toxics().map(Value::from),
        "disable" => client.find_proxy(&name)?.disable().map(Value::from),
        "enable" => client.find_proxy(&name)?.enable().map(Value::from),
        "reset" => client.reset().map(Value::from),
        "delete" => client.find_proxy(&name)?.delete().map(Value::from),
        other => Err(format!("{other} is not what this client can do")),
    }
}

fn describe(proxy: &Proxy) -> Value {
    json!({ "listen": proxy.proxy_pack.listen, "enabled": proxy.proxy_pack.enabled })
}

fn add(proxy: &Proxy, command: &Command) -> Result<Value, String> {
    let (kind, stream) = (command.text("type"), command.text("stream"));
    let name = format!("{kind}_{stream}");
    let number = |name| command.attribute(name);
    match kind.as_str() {
        "latency" => proxy.with_latency(stream, number("latency"), number("jitter"), 1.0),
        "bandwidth" => proxy.with_bandwidth(stream, number("rate"), 1.0),
        "slow_close" => proxy.with_slow_close(stream, number("delay"), 1.0),
        "timeout" => proxy.with_timeout(stream, number("timeout"), 1.0),
        "slicer" => {
            let (average, variation, delay) = (number("average_size"), number("size_variation"), number("delay"));
            proxy.with_slicer(stream, average, variation, delay, 1.0)
        }
        "limit_data" => proxy.with_limit_data(stream, number("bytes"), 1.0),
        _ => return Err(format!("{kind} is not what this client can add")),
    };
    Ok(Value::from(name))
}
