//! Responses to HTTP/1.0 clients.

use std::sync::LazyLock;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::modules::http::{HttpModule, HttpModuleBuilder, HttpModuleCtx, HttpModules, Module};

use super::remove;

/// Whether the end of a response to an HTTP/1.0 client can only be told by closing the connection.
pub(in crate::proxy) fn ends_with_connection(method: &Method, response: &ResponseHeader) -> bool {
    let bodiless =
        method == Method::HEAD || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !bodiless && !response.headers.contains_key(CONTENT_LENGTH)
}

/// Modules for an HTTP/1.0 client, which knows no chunks (RFC 9112, section 6.1). With an HTTP/2 upstream, Pingora says
/// `chunked` after every callback but a module's.
pub(in crate::proxy) fn modules() -> HttpModuleCtx {
    static MODULES: LazyLock<HttpModules> = LazyLock::new(|| {
        let mut modules = HttpModules::new();
        modules.add_module(Box::new(WithoutChunks));
        modules
    });
    MODULES.build_ctx()
}

struct WithoutChunks;

impl HttpModuleBuilder for WithoutChunks {
    fn init(&self) -> Module {
        Box::new(WithoutChunks)
    }
}

#[async_trait]
impl HttpModule for WithoutChunks {
    async fn response_header_filter(&mut self, response: &mut ResponseHeader, _: bool) -> Result<()> {
        remove(response, &TRANSFER_ENCODING)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
