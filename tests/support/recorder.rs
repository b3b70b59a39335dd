//! A webhook that keeps what it is asked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::https::{Connection, listen};

/// What a webhook answers to the request of a review, and how often it was asked before.
type Answer = dyn Fn(&Json, usize) -> Json + Send + Sync;

/// A webhook that keeps what it is asked.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    /// What its callers trust, as a `caBundle`.
    pub(crate) bundle: String,
    requests: Arc<Mutex<Vec<Json>>>,
}

impl Recorder {
    /// One that answers so, or breaks the connection for null. It ends with the test's process.
    pub(crate) fn start(answer: impl Fn(&Json, usize) -> Json + Send + Sync + 'static) -> Self {
        let requests = Arc::default();
        let kept = Arc::clone(&requests);
        let host = Ipv4Addr::LOCALHOST.into();
        let (address, authority) =
            listen(host, move |connection| serve(connection, &answer, &kept));
        Self { address, bundle: STANDARD.encode(authority), requests }
    }

    /// What it was asked about an object, in order.
    pub(crate) fn requests(&self, name: &str) -> Vec<Json> {
        let requests = self.requests.lock().unwrap();
        let of_name = |request: &&Json| request["object"]["metadata"]["name"] == name;
        requests.iter().filter(of_name).cloned().collect()
    }
}

fn serve(stream: Connection, answer: &Answer, kept: &Mutex<Vec<Json>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().map_err(io::Error::other)?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let review: Json = serde_json::from_slice(&body)?;
        let request = &review["request"];
        let before = {
            let mut kept = kept.lock().unwrap();
            let is_same = |other: &&Json| {
                other["object"]["metadata"]["name"] == request["object"]["metadata"]["name"]
            };
            let before = kept.iter().filter(is_same).count();
            kept.push(request.clone());
            before
        };
        let mut response = answer(request, before);
        if response.is_null() {
            return Ok(());
        }
        response["uid"] = request["uid"].clone();
        let (version, kind) = (&review["apiVersion"], &review["kind"]);
        let text = json!({"apiVersion": version, "kind": kind, "response": response}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        stream.get_mut().write_all((head + &text).as_bytes())?;
    }
}
