//! The proxy: listeners, connections, and requests on their way to upstreams and back.
//!
//! The modules are ordered; each imports only those below it in this list:
//!
//! ```text
//! listen      accept, TLS handshake, connection rules, requests off a connection
//! tcp         one connection of any protocol: decide, connect, move both directions
//! exchange    one request: send it upstream, move both directions, respond
//! execute     plans: waits, queues, endings, each fault counted once
//! client      the client's side: HTTP/1, HTTP/2
//! upstream    the upstream's side: endpoints, connections, HTTP/1, HTTP/2, fakes
//! tls         certificates, ClientHello
//! http1 http2 messages on the wire
//! body        parts of bodies, their sources and sinks
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
pub mod tcp;
pub mod tls;
pub mod upstream;
