//! Fake upstreams: servers that squall brings along, so that there is something to be slow, broken or kind without a
//! second process.
//!
//! A fake is an [`axum::Router`]. The proxy calls it in process, once for each request (`tower::ServiceExt::oneshot`):
//! there is no socket between them. `squall fake NAME` puts the same router behind a listener with [`serve`].
//!
//! Fakes inject nothing and decide nothing about faults: their responses are the natural ones. A `delay` that a
//! client requests of `test-api` is a property of that API, not an injected delay.

mod context;
pub mod declared;
mod echo;
mod fakeresponse;
mod forms;
mod httpbin;
mod llm;
mod made_up;
mod page;
mod picture;
mod query;
mod reply;
mod schema;
mod sonarqube;
pub mod spec;
mod store;
pub mod test_api;
mod tunnel;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::serve::ListenerExt;
use axum::{Extension, Router};
use tokio::net::TcpListener;

pub use self::context::{Context, Store};
pub use self::reply::{Client, Mount, OverTls};
use self::spec::FakeSpec;
pub use self::tunnel::Tunnel;
use crate::limits::bodies::Budget;
use crate::yaml::report::Diagnostic;

/// Builds a fake.
///
/// Opens and, where needed, fills the store before it returns, so that the first request finds everything ready: call
/// it where a few tens of milliseconds of blocking are fine.
///
/// # Errors
///
/// All that is wrong with the settings, each at its place; that the store can't be used.
pub fn build(spec: &FakeSpec, context: &Context<'_>) -> Result<Router, Vec<Diagnostic>> {
    spec.check(context.place)?;
    let Some(name) = &spec.name else {
        return declared::router(spec, context);
    };
    match name.value.as_str() {
        "echo" => Ok(echo::router()),
        "fakeresponse" => fakeresponse::router(spec, context),
        "httpbin" => httpbin::router(spec, context),
        "llm" => llm::router(spec, context),
        "sonarqube" => sonarqube::router(spec, context),
        "test-api" => test_api::router(spec, context),
        _ => Err(vec![spec::unknown(name, context.place)]),
    }
}

/// The files that a fake is made from, its store not included: when they change, it must be built again. `folder` is
/// where relative paths start from.
pub fn files(spec: &FakeSpec, folder: &Path) -> Vec<PathBuf> {
    declared::files::named(spec, folder)
}

/// Serves a fake over HTTP/1.1 on `listener` until `shutdown` completes, then lets the requests in flight finish.
///
/// # Errors
///
/// The listener fails.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let router = router.layer(Extension(Budget::default()));
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(shutdown)
        .await
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;
    use crate::yaml::report::Span;

    fn context(store: Store) -> Context<'static> {
        Context {
            seed: 1,
            store,
            folder: Path::new("."),
            place: Span::NOWHERE,
            warnings: std::cell::RefCell::default(),
        }
    }

    #[test]
    fn every_name_builds_and_an_unknown_one_lists_them() {
        for name in spec::names() {
            assert!(build(&FakeSpec::named(name), &context(Store::Memory)).is_ok(), "{name}");
        }
        let errors = build(&FakeSpec::named("nope"), &context(Store::Memory)).unwrap_err();
        assert_eq!(
            errors[0].message,
            "unknown fake `nope`; valid: echo, fakeresponse, httpbin, llm, sonarqube, test-api"
        );
    }

    #[tokio::test]
    async fn every_row_of_every_page_has_a_line_to_try() {
        for name in spec::names().filter(|name| *name != "test-api") {
            let router = build(&FakeSpec::named(name), &context(Store::Memory)).unwrap();
            let request = http::Request::get("/").header("accept", "text/html");
            let response = router.oneshot(request.body(axum::body::Body::empty()).unwrap());
            let page = axum::body::to_bytes(response.await.unwrap().into_body(), 1 << 20).await;
            let page = String::from_utf8(page.unwrap().to_vec()).unwrap();
            let rows: Vec<_> = page.split("<tr><td>").skip(1).collect();
            assert!(!rows.is_empty(), "{name}");
            for row in rows {
                assert!(row.contains("'http://localhost/"), "{name}: {row}");
            }
        }
    }

    #[test]
    fn a_store_that_cannot_be_used_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = |store| {
            let errors = build(&FakeSpec::named("test-api"), &context(store)).unwrap_err();
            errors[0].message.clone()
        };
        let message = error(Store::File(directory.path().to_owned()));
        assert!(message.contains(&directory.path().display().to_string()), "{message}");
        let text = directory.path().join("text");
        std::fs::write(&text, "no database, but long enough to be taken for one: ".repeat(20)).unwrap();
        assert!(error(Store::File(text)).contains("not a database"));
    }
}
