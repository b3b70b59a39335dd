//! HTTPS servers of a test's own.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A connection that a client has made.
pub(crate) type Connection = StreamOwned<ServerConnection, TcpStream>;

/// Serves each connection to a free port of this address on a thread of its own, until the test's
/// process ends. Gives back the address, and in PEM the certificate, which clients are to trust.
pub(crate) fn listen(
    host: IpAddr,
    serve: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
) -> (SocketAddr, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([host.to_string()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (config, serve) = (Arc::new(config), Arc::new(serve));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let serve = Arc::clone(&serve);
            // A connection that breaks is over.
            thread::spawn(move || serve(StreamOwned::new(connection, stream)));
        }
    });
    (address, cert.pem())
}
