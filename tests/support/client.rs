//! An HTTP/1.1 client, with and without TLS, that can also misbehave.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};
use serde_json::Value as Json;
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::pem::Pair;

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// One connection.
pub(crate) struct Client {
    stream: Stream,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects by TLS, whatever the certificate.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::with(address, trusting(&[&TLS13, &TLS12], &[b"http/1.1"])).unwrap()
    }

    /// Connects by one version of TLS and one protocol within.
    pub(crate) fn by(
        address: SocketAddr,
        version: &'static SupportedProtocolVersion,
        protocol: &[u8],
    ) -> io::Result<Self> {
        Self::with(address, trusting(&[version], &[protocol]))
    }

    /// Connects by TLS, trusting this authority only.
    pub(crate) fn checking(
        address: SocketAddr,
        authority: CertificateDer<'static>,
    ) -> io::Result<Self> {
        Self::checking_by(address, [authority])
    }

    /// Connects by TLS, trusting these authorities only.
    pub(crate) fn checking_by(
        address: SocketAddr,
        authorities: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        authorities.into_iter().for_each(|authority| roots.add(authority).unwrap());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::with(address, config)
    }

    /// Connects by TLS, whatever the certificate, and shows one.
    pub(crate) fn presenting(
        address: SocketAddr,
        version: &'static SupportedProtocolVersion,
        pair: &Pair,
    ) -> io::Result<Self> {
        let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        Self::with(address, config)
    }

    /// Connects by TLS from a loopback address, whatever the certificate.
    pub(crate) fn from(source: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        Self::over(tcp_from(source, address)?, trusting(&[&TLS13, &TLS12], &[b"http/1.1"]))
    }

    /// Connects without TLS from a loopback address.
    pub(crate) fn plain_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: Stream::Plain(tcp_from(source, address)?) })
    }

    /// Connects without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { stream: Stream::Plain(tcp(address)) }
    }

    fn with(address: SocketAddr, config: ClientConfig) -> io::Result<Self> {
        Self::over(patient(TcpStream::connect(address)?)?, config)
    }

    fn over(stream: TcpStream, config: ClientConfig) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = Box::new(StreamOwned::new(connection, stream));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: Stream::Tls(stream) })
    }

    /// The certificate of the server.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.chain().remove(0)
    }

    /// The certificates that the server has shown.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        let Stream::Tls(stream) = &self.stream else { panic!("there is no TLS") };
        stream.conn.peer_certificates().unwrap().iter().map(|c| c.clone().into_owned()).collect()
    }

    /// The status of the answer to a request, if one comes.
    pub(crate) fn status(&mut self, request: &[u8]) -> io::Result<u16> {
        self.write(request)?;
        Ok(self.answer()?.status)
    }

    /// Sends a review's body.
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", path, &["Content-Type: application/json"], body.as_ref())
    }

    #[track_caller]
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost");
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        let head = [&[request.as_str()], headers, &[length.as_str()]].concat().join("\r\n");
        // The server may have answered and gone before all is written.
        let _ = self.write(head.as_bytes()).and_then(|()| self.write(body));
        self.answer().expect("an answer")
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Reads an answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let answer = self.any_answer()?;
        if answer.status == 100 { self.answer() } else { Ok(answer) }
    }

    /// Reads an answer, which may be a request to go on.
    pub(crate) fn any_answer(&mut self) -> io::Result<Answer> {
        let head = self.read_until(b"\r\n\r\n")?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.read_exact(&mut answer.body)?;
        if answer.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Whether the server closes the connection without a further word.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.read_exact(&mut byte) {
            Ok(()) => false,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
            }
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let length = self.read_until(b"\r\n")?;
            let length = usize::from_str_radix(length.trim(), 16).unwrap();
            let mut chunk = vec![0; length];
            self.read_exact(&mut chunk)?;
            body.append(&mut chunk);
            self.read_exact(&mut [0; 2])?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn read_until(&mut self, end: &[u8]) -> io::Result<String> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            bytes.push(byte[0]);
        }
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read_exact(buffer),
            Stream::Tls(stream) => stream.read_exact(buffer),
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The response within a review.
    #[track_caller]
    pub(crate) fn response(&self) -> Json {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/json"));
        let mut review: Json = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(review["kind"], "AdmissionReview");
        review["response"].take()
    }
}

/// A TCP connection on which no read lasts for ever.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap()).unwrap()
}

/// The same from one of the loopback addresses, each of which is a source of its own.
pub(crate) fn tcp_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&address.into())?;
    patient(socket.into())
}

fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn trusting(versions: &[&'static SupportedProtocolVersion], protocols: &[&[u8]]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// Trusts everyone.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
