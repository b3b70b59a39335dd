//! A way to a server that can go dead without a word: nothing that is sent arrives any more, and
//! nobody is told.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A way to a server.
pub(crate) struct Cable {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_dead: AtomicBool,
    /// Whether what servers send is lost.
    is_mute: Arc<AtomicBool>,
    is_over: AtomicBool,
    connections: Mutex<Vec<Arc<Connection>>>,
}

#[derive(Default)]
struct Connection {
    /// Once it is, it stays so.
    is_dead: AtomicBool,
    is_mute: Arc<AtomicBool>,
    /// How much the server has sent.
    received: AtomicUsize,
}

impl Cable {
    /// A way to the server at this address.
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self::to_any([server])
    }

    /// A way to servers that take turns, as a Service's Pods do; one that is gone is passed over.
    pub(crate) fn to_any(servers: impl Into<VecDeque<SocketAddr>>) -> Self {
        let mut servers = servers.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for caller in listener.incoming() {
                if of_thread.is_over.load(Ordering::Relaxed) {
                    return;
                }
                servers.rotate_left(1);
                let server = servers.iter().find_map(|server| TcpStream::connect(server).ok());
                // Where none is there, the connection is closed.
                if let (Ok(caller), Some(server)) = (caller, server) {
                    of_thread.join(&Arc::new(caller), &Arc::new(server));
                }
            }
        });
        Self { address, shared }
    }

    /// From now on nothing arrives, on no connection, those to come included.
    pub(crate) fn die(&self) {
        let connections = self.shared.connections.lock().unwrap();
        self.shared.is_dead.store(true, Ordering::Relaxed);
        connections.iter().for_each(|connection| connection.die());
    }

    /// From now on, or no more, servers get what is sent, and nobody gets their answers.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.shared.is_mute.store(is_mute, Ordering::Relaxed);
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        let connections = self.shared.connections.lock().unwrap();
        connections.iter().filter(|connection| Arc::strong_count(connection) > 1).count()
    }

    /// New connections work again; those that were there are forgotten.
    pub(crate) fn revive(&self) {
        self.shared.is_dead.store(false, Ordering::Relaxed);
    }

    /// From now on nothing arrives on those connections by which the server has sent so much.
    pub(crate) fn die_where_received(&self, least: usize) -> usize {
        let connections = self.shared.connections.lock().unwrap();
        let is_one =
            |it: &&Arc<Connection>| it.received.load(Ordering::Relaxed) >= least && !it.is_dead();
        connections.iter().filter(is_one).map(|connection| connection.die()).count()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // It is told when the next one calls.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn join(&self, caller: &Arc<TcpStream>, server: &Arc<TcpStream>) {
        let is_mute = Arc::clone(&self.is_mute);
        let connection = Arc::new(Connection { is_mute, ..Connection::default() });
        let mut connections = self.connections.lock().unwrap();
        if self.is_dead.load(Ordering::Relaxed) {
            connection.die();
        }
        connections.retain(|connection| Arc::strong_count(connection) > 1);
        for (from, to, counts) in [(caller, server, false), (server, caller, true)] {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let _ = from.set_nodelay(true);
            let connection = Arc::clone(&connection);
            thread::spawn(move || connection.pass_on(&from, &to, counts));
        }
        connections.push(connection);
    }
}

impl Connection {
    fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    fn pass_on(&self, mut from: &TcpStream, mut to: &TcpStream, counts: bool) {
        let mut piece = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if counts {
                self.received.fetch_add(length, Ordering::Relaxed);
            }
            let is_lost = self.is_dead() || counts && self.is_mute.load(Ordering::Relaxed);
            if !is_lost && to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        if !self.is_dead() {
            let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
        }
    }
}
