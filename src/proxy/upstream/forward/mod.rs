//! Forwards requests that were made to a proxy, to hosts that are allowed, over addresses that are.
//!
//! A name is looked up once, what may not be connected to is left out, and the connection goes to what is left. A name that
//! changes its address (DNS rebinding) can't lead anywhere else.

mod allow;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use pingora::{Error, ErrorType};

pub(super) use self::allow::Allow;
use super::peer::{Endpoint, Settings};
use super::target::{HttpTarget, TargetAddress};

/// The most hosts whose addresses are kept.
const KNOWN: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The error type for a place that may not be connected to.
const NOT_ALLOWED: ErrorType = ErrorType::new("NotAllowed");

/// Makes endpoints of the hosts that requests name.
pub(super) struct Forward {
    allow: Arc<Allow>,
    settings: Settings,
    /// By TLS and authority. Locked for one look-up, never across an await.
    known: Mutex<LruCache<(bool, String), Arc<Endpoint>>>,
}

impl Forward {
    pub(super) fn new(allow: Arc<Allow>, settings: Settings) -> Forward {
        Forward {
            allow,
            settings,
            known: Mutex::new(LruCache::new(KNOWN)),
        }
    }

    /// The endpoint for a URL's beginning, if its host may be asked.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn endpoint(&self, secure: bool, authority: &str) -> Result<Arc<Endpoint>, String> {
        let key = (secure, authority.to_ascii_lowercase());
        if let Some(known) = self.known.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let endpoint = Arc::new(self.new_endpoint(secure, authority)?);
        self.known.lock().put(key, Arc::clone(&endpoint));
        Ok(endpoint)
    }

    fn new_endpoint(&self, secure: bool, authority: &str) -> Result<Endpoint, String> {
        let scheme = if secure { "https" } else { "http" };
        let target = HttpTarget::parse(&format!("{scheme}://{authority}"), Path::new(""))?;
        match &target.place {
            TargetAddress::Ip(address) => self.allow.check(&address.ip().to_string(), *address)?,
            TargetAddress::Name(host, port) if !self.allow.knows(host, *port) => {
                return Err(format!("{authority} may not be forwarded to: {}", self.allow));
            }
            _ => {}
        }
        Endpoint::new(&target, &self.settings)
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", self.allow)
    }
}

/// The error of a request that may not go where it is to go. Its root cause is the text for the client.
pub(super) fn not_allowed(reason: String) -> Box<Error> {
    Error::because(NOT_ALLOWED, "not allowed", reason).into_up()
}

/// Why a request may not go where it is to go, if that is what an error says.
pub(in crate::proxy) fn refused(error: &Error) -> Option<String> {
    (*error.etype() == NOT_ALLOWED).then(|| error.root_cause().to_string())
}
