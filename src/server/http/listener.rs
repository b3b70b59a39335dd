//! Listening: from a socket to requests.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::Http;
use super::connections::{Connections, Entry, Open, Phase};
use crate::server::tls::TlsSetup;

/// The largest head of a request, in bytes: several times an API server's, with a token in it. As
/// much of each connection is buffered.
const LARGEST_HEAD: usize = 16 << 10;
/// How long a closed connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How much is read from one who does not speak HTTP, in bytes.
const MOST_UNREAD: u64 = 1 << 20;
/// How long to wait before accepting again when that failed for want of something.
const BREATHER: Duration = Duration::from_millis(50);
/// The response to a client that speaks HTTP on the HTTPS port.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 43\r\nConnection: close\r\n\r\nThis is HTTPS, and the request is in HTTP.\n";

/// What answers requests.
pub(in crate::server) trait Answers: Clone + Send + Sync + 'static {
    /// Answers a request that has come by a connection.
    fn answer(
        &self,
        request: Request<Body>,
        open: &Open,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// A socket that requests come in through.
#[derive(Clone)]
pub(in crate::server) struct Endpoint<A> {
    pub(in crate::server) http: Arc<Http>,
    pub(in crate::server) answers: A,
    /// How connections are secured; nothing for plain HTTP.
    pub(in crate::server) tls: Option<Arc<TlsSetup>>,
    pub(in crate::server) connections: Arc<Connections>,
}

impl<A: Answers> Endpoint<A> {
    /// Accepts connections until it is cancelled.
    pub(in crate::server) async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (open, room) = self.connections.open(peer.ip());
                    self.note(room);
                    let counted = self.tls.as_ref().map(|_| Counted::new(&self.http));
                    let endpoint = self.clone();
                    tokio::spawn(async move {
                        // Answers are small and wait for nothing.
                        let _ = stream.set_nodelay(true);
                        endpoint.serve(stream, &Arc::new(open)).await;
                        drop(counted);
                    });
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Most likely the process has run out of file descriptors.
                    if self.connections.evict() {
                        self.http.metrics.closed("evicted");
                    }
                    sleep(BREATHER).await;
                }
            }
        }
    }

    /// Closes connections whose clients take too long, until it is cancelled.
    pub(in crate::server) async fn sweep(&self) {
        let often = (self.connections.client_timeout() / 4).min(Duration::from_secs(1));
        loop {
            sleep(often.max(Duration::from_millis(5))).await;
            for _ in 0..self.connections.sweep() {
                self.http.metrics.closed("timeout");
            }
        }
    }

    async fn serve(&self, stream: TcpStream, open: &Arc<Open>) {
        let Some(tls) = &self.tls else {
            return self.http(stream, open).await;
        };
        let handshake = async {
            if begins_with_http(&stream).await? {
                let mut stream = stream;
                stream.write_all(NOT_TLS).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP instead of TLS"));
            }
            tls.acceptor().accept(stream).await
        };
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = open.closed() => return,
        };
        match shaken {
            Ok(stream) => {
                if stream.get_ref().1.peer_certificates().is_some() {
                    open.certify();
                }
                self.http(stream, open).await;
            }
            Err(error) => {
                self.http.metrics.handshake_failures.inc();
                tracing::debug!(%error, "handshake failed");
            }
        }
    }

    async fn http(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, open: &Arc<Open>) {
        let room = open.arrived();
        self.note(room);
        if room == Entry::None {
            return;
        }
        let watched = Watched { stream: &mut stream, open: Arc::clone(open) };
        if self.requests(watched, open).await {
            return;
        }
        self.http.metrics.refused(StatusCode::BAD_REQUEST);
        // Lets the client read the response: closing with unread bytes would discard it.
        let mut rest = stream.take(MOST_UNREAD);
        let _ = timeout(GOODBYE, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }

    /// Serves requests until the connection ends; false if what came was no HTTP.
    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        open: &Arc<Open>,
    ) -> bool {
        let service = service_fn(|request| self.answer(request, open));
        let mut http = http1::Builder::new();
        // The connection's own clock tells idle ones from slow ones, which this one does not.
        http.header_read_timeout(None).max_buf_size(LARGEST_HEAD);
        // Probes come one at a time, and whoever keeps a connection keeps it from them.
        http.keep_alive(self.tls.is_some());
        let mut http = pin!(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = http.as_mut() => !ended.is_err_and(|error| error.is_parse()),
            () = open.closed() => {
                if open.phase() == Phase::Idle {
                    http.as_mut().graceful_shutdown();
                    let _ = timeout(GOODBYE, http).await;
                }
                true
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        open: &Arc<Open>,
    ) -> Result<Response<Body>, Infallible> {
        open.enter(Phase::Body);
        let mut response = self.answers.answer(request.map(Body::new), open).await;
        if self.http.is_draining() {
            // Clients would keep calling a process that is about to end.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        open.enter(Phase::Answer);
        Ok(response)
    }

    fn note(&self, room: Entry) {
        if room != Entry::Free {
            self.http.metrics.closed("evicted");
        }
    }
}

/// A connection that is counted as open until this is dropped.
struct Counted(Arc<Http>);

impl Counted {
    fn new(http: &Arc<Http>) -> Self {
        http.metrics.connections.inc();
        Self(Arc::clone(http))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

/// Whether the client speaks HTTP without TLS: its first byte is that of a method.
async fn begins_with_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(first[0].is_ascii_uppercase())
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// A stream that notes what its connection is doing.
struct Watched<S> {
    stream: S,
    open: Arc<Open>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.open.received();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.open.flushed();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
