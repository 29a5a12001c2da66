//! A second address of an edge, which a test can cut off.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// A port of loopback that forwards bytes to another port, so that clients see the certificate of
/// the edge behind it. It works until the test's process ends.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<RelayState>,
}

#[derive(Debug, Default)]
struct RelayState {
    is_cut: AtomicBool,
    connections: AtomicUsize,
}

impl Relay {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(RelayState::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                if !shared.is_cut.load(Ordering::SeqCst) {
                    thread::spawn(move || join(&client, target));
                }
            }
        });
        Self { address, state }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all new connections at once from now on.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
    }

    /// Forwards new connections again.
    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// Counts all connections so far, forwarded or closed.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

/// Copies in both directions until both ends are closed. Any error ends the connection.
fn join(client: &TcpStream, target: SocketAddr) {
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server));
        copy(&server, client);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
