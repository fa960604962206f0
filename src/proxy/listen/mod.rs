//! Listeners, and their connections from the accept to the end.
//!
//! ```text
//! bind ─ Bound ─ serve ─ Listener      accept loop ─ connection task ─ gate ─ handshake ─ http1 or http2 ─ finish
//! ```

pub mod accept;
pub mod gate;
mod http1;
mod http2;
pub mod intercept;
mod live;
mod serve;
pub mod spec;
