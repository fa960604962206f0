//! Where a request goes: by which route, to which upstream, with which path.

use std::sync::Arc;

use super::{Asked, RouteTaken};
use crate::config::snapshot::{Listener, ListenerKind};
use crate::cors::is_preflight;
use crate::draw::head::Head;
use crate::proxy::exchange::route::Route;
use crate::proxy::exchange::view::Target;

/// Where a request goes.
pub(super) struct Way {
    /// The name of the upstream; empty if it goes to none.
    pub(super) upstream: Arc<str>,
    /// The route, or where the listener's other requests go; `None` for a connection.
    pub(super) taken: Option<Arc<Route>>,
    pub(super) route: Option<RouteTaken>,
    /// The target that the upstream gets, if it is another one.
    pub(super) sent: Option<String>,
    /// The status and the reason if squall answers it instead.
    pub(super) ends: Option<(u16, String)>,
}

impl Way {
    /// Where a request to a listener goes, or a connection to one of bytes.
    pub(super) fn of(listener: &Listener, asked: &Asked, head: &Head<'_>) -> Way {
        let ListenerKind::Http(view) = &listener.kind else {
            return Way {
                upstream: Arc::clone(listener.upstream()),
                taken: None,
                route: None,
                sent: None,
                ends: None,
            };
        };
        let route = view.route(head);
        let taken = (!view.routes.is_empty()).then(|| RouteTaken {
            number: route.number,
            of: view.routes.len(),
            takes: route.number.map(|_| route.condition.to_string()),
        });
        let sent = route.paths.to_upstream(asked.target.as_bytes());
        let sent = String::from_utf8_lossy(&sent);
        Way {
            upstream: Arc::clone(&route.upstream),
            taken: Some(Arc::clone(route)),
            route: taken,
            sent: (sent != asked.target).then(|| sent.into_owned()),
            ends: preflight(route, asked).or_else(|| ends(route.target.as_deref(), asked)),
        }
    }
}

/// The answer of squall to a preflight.
fn preflight(route: &Route, asked: &Asked) -> Option<(u16, String)> {
    let cors = route.cors.as_ref().filter(|_| route.answers_preflights())?;
    let status = if cors.allowed(&asked.headers).is_some() {
        204
    } else {
        403
    };
    is_preflight(&asked.method, &asked.headers).then(|| (status, "it is a preflight".to_owned()))
}

/// Why squall answers a request itself, with which status.
fn ends(target: Option<&Target>, asked: &Asked) -> Option<(u16, String)> {
    let upstream = match target {
        None => {
            return Some((
                404,
                "no route takes it, and the listener has no upstream of its own".to_owned(),
            ));
        }
        Some(Target::Real(upstream)) if upstream.is_forward() => upstream,
        Some(_) => return None,
    };
    match &asked.authority {
        // Names are not looked up, so that explaining needs no network.
        Some(authority) => upstream.may_forward(false, authority).err().map(|reason| (403, reason)),
        None => Some((400, "it is not made to a proxy: explain it with curl -x".to_owned())),
    }
}
