//! Where the faults of each rule may happen, for the metrics.

use std::sync::Arc;

use super::{ListenerKind, Snapshot};
use crate::metrics::{Counted, Site};
use crate::rule::decide::Rule;
use crate::rule::stage::Stage;

impl Snapshot {
    /// The rules in force, each with the listeners and upstreams whose traffic it may concern.
    pub fn counted(&self) -> Vec<Counted> {
        let (mut of_requests, mut of_connections) = (Vec::new(), Vec::new());
        for listener in self.listeners.iter().filter(|listener| listener.space.is_none()) {
            of_connections.push(Arc::clone(&listener.connection.site));
            match &listener.kind {
                ListenerKind::Tcp(view) => of_requests.push(Arc::clone(&view.metrics.site)),
                ListenerKind::Http(view) => {
                    let routes = view.all_routes().filter(|route| route.target.is_some());
                    of_requests.extend(routes.map(|route| Arc::clone(&route.metrics.site)));
                }
            }
        }
        let all: [Arc<[Arc<Site>]>; 2] = [of_requests.into(), of_connections.into()];
        let [of_requests, of_connections] = &all;
        let counted = |rule: &Arc<Rule>| {
            let sites = match rule.stage {
                Stage::Request => of_requests,
                Stage::Connection | Stage::Handshake => of_connections,
            };
            let sites = if sites.iter().all(|site| rule.concerns(site)) {
                // Most rules concern everything.
                Arc::clone(sites)
            } else {
                let mine = sites.iter().filter(|site| rule.concerns(site));
                mine.cloned().collect()
            };
            Counted {
                rule: Arc::clone(rule) as _,
                sites,
            }
        };
        self.rules.iter().map(counted).collect()
    }
}
