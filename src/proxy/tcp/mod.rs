//! TCP connections: bytes of any protocol between a client and a server, with the faults of rules on them.
//!
//! ```text
//! accepted ─ decide each rule ─ before the request: waits, queues, endings ─ dial ─┬─ client ─ lane ─> server
//!                  │                                                               └─ server ─ lane ─> client
//!                  └──── again, for the rules that changed, for as long as the connection is open
//! ```
//!
//! A connection is here what a request is elsewhere. Each rule that hits it has a plan of its own, and in each direction that it
//! shapes a Shaper of its own, in the order of the rules. So a rule that is added, changed or removed while the connection is
//! open leaves the others alone, and no byte is lost: what a removed shaper holds passes on first. A direction without a shaper
//! moves its bytes within the kernel.

mod carry;
mod flow;
mod links;
mod log;
mod side;
pub mod view;

use std::sync::Arc;

use tokio::sync::watch;

use self::carry::Carry;
pub(in crate::proxy) use self::side::Side;
use self::view::TcpView;
use super::client::Connection;
use super::execute::hold::Holder;
use super::tls::Hello;
use crate::journal::Journal;

/// Carries the connections of one listener.
#[derive(Debug)]
pub struct Relay {
    /// The view in force. Open connections take on the rules of a new one.
    views: watch::Sender<Arc<TcpView>>,
    holder: Arc<Holder>,
    /// Keeps the connections that have ended.
    journal: Arc<Journal>,
}

impl Relay {
    /// A relay with its first view.
    pub fn new(view: Arc<TcpView>, holder: Arc<Holder>, journal: Arc<Journal>) -> Arc<Relay> {
        Arc::new(Relay {
            views: watch::Sender::new(view),
            holder,
            journal,
        })
    }

    /// The view in force.
    pub fn view(&self) -> Arc<TcpView> {
        Arc::clone(&self.views.borrow())
    }

    /// Puts another view into force, at once and without waiting for connections: new connections go where it says, and open
    /// ones take on its rules.
    pub fn replace(&self, view: Arc<TcpView>) {
        self.views.send_replace(view);
    }

    /// Carries a connection to its end. `hello` is what the client said in its TLS handshake, if it has one.
    pub(in crate::proxy) async fn serve(&self, client: Side, connection: &Arc<Connection>, hello: Hello) {
        // Boxed, as what moves it would otherwise hold it several times.
        Box::new(Carry::new(self, client, Arc::clone(connection), hello))
            .run()
            .await;
    }
}
