//! A bounded load of reviews over connections that are kept, as the API server keeps them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one call may take before the run is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client's side of TLS that trusts this authority.
pub(super) fn connector(authority: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate");
    roots.add(authority).expect("an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// The bytes of a call of `/validate`, as the API server sends it.
pub(super) fn call(body: &[u8]) -> Arc<[u8]> {
    let head = format!(
        "POST /validate?timeout=10s HTTP/1.1\r\nHost: isthmus.isthmus.svc:443\r\n\
         User-Agent: kube-apiserver-admission\r\nContent-Length: {}\r\n\
         Accept: application/json, */*\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

/// One connection.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(tls: &TlsConnector, address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        Ok(Self { stream: tls.connect(name, stream).await?, received: Vec::new() })
    }

    /// Makes a call; the status and the length of its answer's body.
    pub(super) async fn call(&mut self, call: &[u8]) -> (u16, usize) {
        let exchange = async {
            self.stream.write_all(call).await?;
            self.stream.flush().await?;
            self.answer().await
        };
        timeout(PATIENCE, exchange).await.expect("an answer in time").expect("an answer")
    }

    async fn answer(&mut self) -> io::Result<(u16, usize)> {
        self.received.clear();
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&self.received[..end]);
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse().ok()).flatten()
            });
            let invalid = || io::Error::from(io::ErrorKind::InvalidData);
            let length: usize = length.ok_or_else(invalid)?;
            if self.received.len() >= end + 4 + length {
                return Ok((status.ok_or_else(invalid)?, length));
            }
        }
    }
}

/// Some connections, and how long to wait between the calls of each.
pub(super) struct Load {
    connections: Vec<Connection>,
    pause: Duration,
}

impl Load {
    pub(super) async fn open(
        tls: &TlsConnector,
        address: SocketAddr,
        connections: usize,
        pause: Duration,
    ) -> io::Result<Self> {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(tls, address).await?);
        }
        Ok(Self { connections: open, pause })
    }

    /// Makes so many calls by each connection; how long each took.
    pub(super) async fn run(&mut self, call: &Arc<[u8]>, times: usize) -> Vec<Duration> {
        let pause = self.pause;
        let mut tasks = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let call = Arc::clone(call);
            tasks.spawn(async move {
                let mut took = Vec::with_capacity(times);
                for _ in 0..times {
                    let begun = Instant::now();
                    let (status, _) = connection.call(&call).await;
                    took.push(begun.elapsed());
                    assert_eq!(status, 200, "a review is answered");
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
                (connection, took)
            });
        }
        let mut all = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (connection, took) = done.expect("the load runs");
            self.connections.push(connection);
            all.extend(took);
        }
        all
    }
}
