//! Listeners, connections, requests.

pub mod accept;
pub mod answer;
pub(crate) mod bind;
pub mod bodies;
pub mod carry;
pub mod connection;
pub mod fakes;
pub mod gate;
pub mod gone;
mod heads;
pub mod hold;
pub mod http;
mod http1;
mod http2;
pub mod intercept;
mod live;
pub mod log;
mod serve;
pub mod session;
mod socket;
mod stream;
mod timer;
pub mod tls;
mod upgrade;
pub mod upstream;
