//! An address that stays while those who serve it come and go, as a Service is for its Pods.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Hands connections on, to whoever serves them now.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Who serves them, and whether anybody ever will.
    state: Arc<Mutex<(Option<SocketAddr>, bool)>>,
}

impl Relay {
    /// One that nobody stands behind yet.
    pub(crate) fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into())
    }

    /// The same, on this address.
    pub(crate) fn at(host: IpAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new((None, true)));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for caller in listener.incoming() {
                let (server, goes_on) = *shared.lock().unwrap();
                if !goes_on {
                    return;
                }
                // Where nobody serves, the connection is closed.
                let server = server.map(TcpStream::connect).and_then(Result::ok);
                if let (Ok(caller), Some(server)) = (caller, server) {
                    both_ways(&Arc::new(caller), &Arc::new(server));
                }
            }
        });
        Self { address, state }
    }

    /// Hands new connections to another, or to nobody.
    pub(crate) fn lead_to(&self, server: Option<SocketAddr>) {
        self.state.lock().unwrap().0 = server;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.lock().unwrap().1 = false;
        // It is told when the next one calls.
        let _ = TcpStream::connect(self.address);
    }
}

fn both_ways(caller: &Arc<TcpStream>, server: &Arc<TcpStream>) {
    for (from, to) in [(caller, server), (server, caller)] {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        let _ = (from.set_nodelay(true), to.set_nodelay(true));
        thread::spawn(move || {
            let _ = io::copy(&mut &*from, &mut &*to);
            let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
        });
    }
}
