//! The page of `/metrics`: the bytes of the proxies, and figures of the process, under Toxiproxy's names.

use prometheus::{Encoder, IntCounterVec, Opts, Registry, TextEncoder};

use super::proxies::Traffic;
use crate::metrics;

/// What tells series apart.
const LABELS: [&str; 4] = ["direction", "proxy", "listener", "upstream"];

/// Renders the page. `traffic` and the figures of the process are left out where they are not asked for.
///
/// # Errors
/// The library's, which does not happen with these names.
pub(super) fn page(traffic: Option<&[Traffic]>, process: bool) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    if process {
        metrics::register_process(&registry)?;
    }
    if let Some(traffic) = traffic {
        let counter = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &LABELS);
        let received = counter("toxiproxy_proxy_received_bytes_total", "Bytes that proxies received.")?;
        let sent = counter("toxiproxy_proxy_sent_bytes_total", "Bytes that proxies sent.")?;
        for of in traffic {
            for (direction, passed) in [("upstream", of.bytes.upstream), ("downstream", of.bytes.downstream)] {
                let labels = [direction, of.proxy.as_str(), of.listen.as_str(), of.upstream.as_str()];
                // The data path counts a byte once it is sent.
                received.with_label_values(&labels).inc_by(passed);
                sent.with_label_values(&labels).inc_by(passed);
            }
        }
        registry.register(Box::new(received))?;
        registry.register(Box::new(sent))?;
    }
    let mut page = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::running::Bytes;
    use super::*;

    #[test]
    fn the_page_has_what_is_asked_for() {
        let traffic = [Traffic {
            proxy: "redis".into(),
            listen: "127.0.0.1:1".into(),
            upstream: "u:\"1".into(),
            bytes: Bytes {
                upstream: 5,
                downstream: 0,
            },
        }];
        let page = page(Some(&traffic), true).unwrap();
        let labels = r#"{direction="upstream",listener="127.0.0.1:1",proxy="redis",upstream="u:\"1"}"#;
        assert!(
            page.contains(&format!("toxiproxy_proxy_received_bytes_total{labels} 5\n")),
            "{page}"
        );
        assert!(
            page.contains(&format!("toxiproxy_proxy_sent_bytes_total{labels} 5\n")),
            "{page}"
        );
        assert!(page.contains("process_resident_memory_bytes"), "{page}");
        assert_eq!(super::page(None, false).unwrap(), "");
    }
}
