//! The crate `noxious-client`. It calls the stream `direction`, which Toxiproxy ignores: all its toxics are downstream there.

use noxious_client::{Client, Proxy, StreamDirection, Toxic, ToxicKind};
use rust_clients::{serve, Command};
use serde_json::{json, Value};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).expect("the address of the API");
    let client = Client::new(&address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    serve(|command| {
        runtime
            .block_on(carry_out(&client, command))
            .map_err(|why| why.to_string())
    })
}

async fn carry_out(client: &Client, command: &Command) -> Result<Value, Box<dyn std::error::Error>> {
    let name = command.text("name");
    let done = match command.text("do").as_str() {
        "create" => {
            client
                .create_proxy(&name, &command.text("listen"), &command.text("upstream"))
                .await?;
            describe(&client.proxy(&name).await?)
        }
        "read" => describe(&client.proxy(&name).await?),
        "list" => json!(client.proxies().await?.keys().collect::<Vec<_>>()),
        "toxics" => {
            let toxics = client.proxy(&name).await?.toxics().await?;
            json!(toxics.iter().map(|toxic| &toxic.name).collect::<Vec<_>>())
        }
        "add" => {
            let toxic = Toxic {
                kind: kind(command)?,
                name: format!("{}_{}", command.text("type"), command.text("stream")),
                toxicity: 1.0,
                direction: StreamDirection::Downstream,
            };
            json!(client.proxy(&name).await?.add_toxic(&toxic).await?.name)
        }
        "update" => {
            let proxy = client.proxy(&name).await?;
            let toxic = command.text("toxic");
            json!(
                proxy
                    .update_toxic(&toxic, 1.0, kind(command)?, StreamDirection::Downstream)
                    .await?
                    .name
            )
        }
        "remove" => json!(client.proxy(&name).await?.remove_toxic(&command.text("toxic")).await?),
        "disable" => json!(client.proxy(&name).await?.disable().await?),
        "enable" => json!(client.proxy(&name).await?.enable().await?),
        "reset" => json!(client.reset_state().await?),
        "delete" => json!(client.proxy(&name).await?.delete().await?),
        other => return Err(format!("{other} is not what this client can do").into()),
    };
    Ok(done)
}

fn describe(proxy: &Proxy) -> Value {
    json!({ "listen": proxy.config.listen, "enabled": proxy.is_enabled() })
}

fn kind(command: &Command) -> Result<ToxicKind, String> {
    let number = |name| u64::from(command.attribute(name));
    Ok(match command.text("type").as_str() {
        "latency" => ToxicKind::Latency {
            latency: number("latency"),
            jitter: number("jitter"),
        },
        "bandwidth" => ToxicKind::Bandwidth { rate: number("rate") },
        "slow_close" => ToxicKind::SlowClose { delay: number("delay") },
        "timeout" => ToxicKind::Timeout {
            timeout: number("timeout"),
        },
        "slicer" => ToxicKind::Slicer {
            average_size: number("average_size"),
            size_variation: number("size_variation"),
            delay: number("delay"),
        },
        "limit_data" => ToxicKind::LimitData { bytes: number("bytes") },
        other => return Err(format!("{other} is not what this client can add")),
    })
}
