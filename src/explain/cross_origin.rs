//! What `cors` of a listener means for a request from a page.

use http::header::ORIGIN;

use super::way::Way;
use super::{Asked, shown};
use crate::cors::is_preflight;

/// Why a rule that matches a preflight does not hit it.
pub(super) const SPARED: &str =
    "a preflight: spared, since the listener has `cors`; a rule with `method: OPTIONS` hits it";

/// What `cors` means for a request.
#[derive(Debug, Default)]
pub(super) struct CrossOrigin {
    /// Whether rules spare the request, as a preflight.
    pub(super) spared: bool,
    /// What happens to its page, in words.
    pub(super) note: Option<String>,
}

pub(super) fn of(way: &Way, asked: &Asked) -> CrossOrigin {
    let Some(route) = &way.taken else {
        return CrossOrigin::default();
    };
    let preflight = is_preflight(&asked.method, &asked.headers);
    let Some(cors) = &route.cors else {
        let hit = "a preflight: rules hit it like any request; with `cors` on the listener they spare it";
        return CrossOrigin {
            spared: false,
            note: preflight.then(|| hit.to_owned()),
        };
    };
    let note = asked.headers.get(ORIGIN).map(|origin| {
        let (origin, allowed) = (shown(origin), cors.allowed(&asked.headers).is_some());
        match (preflight, route.answers_preflights(), allowed) {
            (true, true, true) => format!("a preflight: squall answers it itself, and allows `{origin}`"),
            (true, true, false) => {
                format!("a preflight: squall answers it itself with 403, since `cors` does not allow `{origin}`")
            }
            (true, false, _) => format!(
                "a preflight: the upstream `{}` answers it, and unless it allows `{origin}`, the browser does not send the request: \
                with `cors: {{origins: \"{origin}\", natural: replace}}` squall answers it itself",
                route.upstream
            ),
            (false, true, true) => format!("pages of `{origin}` can read the response, injected or natural"),
            (false, false, true) => {
                format!(
                    "pages of `{origin}` can read injected responses; natural ones as the upstream allows, or with `natural: replace` \
                    in `cors`"
                )
            }
            (false, _, false) => {
                format!("pages of `{origin}` can't read injected responses: `cors` does not allow the origin")
            }
        }
    });
    CrossOrigin {
        spared: preflight,
        note,
    }
}
