//! What no webhook in axum and rustls can be faster than: the same listener, a handler that reads
//! the body and looks at none of it, and always the same answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::available_parallelism;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, header};
use axum::routing::post;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// The argument that makes this program that server; the certificate's and the key's files follow.
pub(super) const ARGUMENT: &str = "--null-server";

const ANSWER: &[u8] = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"fa32436e-ba87-4982-8d6a-fe84ac46fce9","allowed":true}}"#;

/// Serves until it is killed.
pub(super) fn serve(certificate: &str, key: &str) {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).expect("a certificate").collect();
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain.expect("a certificate"), key)
        .expect("the key of the certificate");
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // As many threads as `isthmus serve` has.
    let workers = available_parallelism().map_or(1, usize::from).clamp(2, 8);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.expect("a runtime").block_on(accept(TlsAcceptor::from(Arc::new(tls))));
}

async fn accept(tls: TlsAcceptor) {
    let json = HeaderValue::from_static("application/json");
    let handler = |_: Bytes| async move { ([(header::CONTENT_TYPE, json)], ANSWER) };
    let router = Router::new().route("/validate", post(handler)).layer(
        // As large as what isthmus takes.
        axum::extract::DefaultBodyLimit::max(8 << 20),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("webhook: https://{}/", listener.local_addr().expect("an address"));
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let stream = TokioIo::new(tls.accept(stream).await?);
            let service = service_fn(move |request: Request<Incoming>| {
                let router = router.clone();
                async move { router.oneshot(request.map(Body::new)).await as Result<_, Infallible> }
            });
            let mut http = http1::Builder::new();
            // Without a timer hyper has no timeout for the head, as with isthmus.
            http.header_read_timeout(None);
            http.serve_connection(stream, service).await.map_err(std::io::Error::other)
        });
    }
}
