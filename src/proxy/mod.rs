//! Listeners, connections, requests.
//!
//! In storeys; each imports what stands below it, never above:
//!
//! ```text
//! listen      accept, TLS handshake, connection rules, requests off a connection
//! exchange    the loop: ask the upstream, move both directions, answer
//! execute     plans: waits, queues, endings, each fault counted once
//! client      a request's own side: HTTP/1, HTTP/2
//! upstream    the other side: endpoints, connections, HTTP/1, HTTP/2, fakes
//! tls         certificates, ClientHello
//! http1 http2 messages on the wire
//! body        what bodies consist of, where they come from and go to
//! record      what was injected into one request
//! net         sockets, addresses, timers
//! ```

mod body;
pub mod client;
pub mod exchange;
pub mod execute;
mod http1;
mod http2;
pub mod listen;
pub mod net;
pub mod record;
pub mod tls;
pub mod upstream;
