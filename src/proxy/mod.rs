//! Listeners, connections, requests.

pub mod accept;
pub mod answer;
pub(crate) mod bind;
pub mod carry;
pub mod connection;
pub mod fakes;
pub mod gone;
pub mod hold;
pub mod http;
mod http1;
mod http2;
mod live;
pub mod log;
mod serve;
mod socket;
mod stream;
mod timer;
pub mod tls;
pub mod upstream;
