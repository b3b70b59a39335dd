//! Receiving a request's body, within limits of size, time and memory.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::{timeout, timeout_at};

use super::room::Part;

/// The largest body that is read, in bytes: an update of a full ConfigMap carries it twice, with
/// everything escaped.
pub(in crate::server) const LARGEST: usize = 8 << 20;
/// Up to here a body needs no room among the large ones, in bytes: each connection brings as much,
/// and slow large bodies must not stop an ordinary review.
pub(in crate::server) const MEDIUM: usize = 32 << 10;
/// How much of a body that is too large is read, so that its sender gets to read the answer.
const LINGER: usize = 64 << 20;

/// Why a body is not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Unreceived {
    /// It is larger than [`LARGEST`].
    TooLarge,
    /// It took too long.
    TooSlow,
    /// The connection broke within it.
    Broken,
    /// It is said not to be JSON.
    WrongType(&'static str),
    /// There is not enough memory for it.
    NoMemory,
}

/// A body, and the room it takes.
pub(in crate::server) struct Received {
    /// The bytes.
    pub(in crate::server) bytes: Bytes,
    _room: Part,
}

/// Receives a body that says it is JSON.
pub(in crate::server) async fn receive(
    client_timeout: Duration,
    headers: &HeaderMap,
    mut body: Body,
    room: Part,
    deadline: Instant,
) -> Result<Received, Unreceived> {
    let announced = announced(headers);
    let received = match acceptable(headers, announced) {
        Ok(()) => {
            let deadline = deadline.min(Instant::now() + client_timeout);
            let read = read(&mut body, announced.unwrap_or(0), room);
            timeout_at(deadline.into(), read).await.unwrap_or(Err(Unreceived::TooSlow))
        }
        Err(refusal) => Err(refusal),
    };
    if matches!(
        received,
        Err(Unreceived::TooLarge | Unreceived::WrongType(_) | Unreceived::NoMemory)
    ) {
        linger(client_timeout, headers, body);
    }
    received
}

/// Keeps reading a body that is not needed, so that its sender can read the response: closing a
/// connection with unread bytes would discard the response.
pub(in crate::server) fn linger(client_timeout: Duration, headers: &HeaderMap, mut body: Body) {
    if headers.contains_key(EXPECT) {
        // It waits to be asked for the body, and reading would ask.
        return;
    }
    let drained = async move {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > LINGER {
                return;
            }
        }
    };
    tokio::spawn(async move { timeout(client_timeout, drained).await });
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn acceptable(headers: &HeaderMap, announced: Option<usize>) -> Result<(), Unreceived> {
    if announced.is_some_and(|length| length > LARGEST) {
        return Err(Unreceived::TooLarge);
    }
    let is = |value: &[u8], name: &str| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    // A body of no stated type may be examined instead (RFC 9110, 8.3), and is: it is JSON or 400.
    for value in headers.get_all(CONTENT_TYPE) {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        if !is(essence, "application/json") {
            return Err(Unreceived::WrongType("the Content-Type must be application/json"));
        }
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !is(encoding.as_bytes(), "identity") => {
            Err(Unreceived::WrongType("Content-Encoding is not supported"))
        }
        _ => Ok(()),
    }
}

async fn read(body: &mut Body, announced: usize, mut room: Part) -> Result<Received, Unreceived> {
    let (mut bytes, mut charged) = (Vec::new(), MEDIUM);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unreceived::Broken)?.into_data() else { continue };
        // Most bodies come in one piece, which is the connection's buffer.
        if bytes.is_empty() && data.len() <= MEDIUM && body.is_end_stream() {
            return Ok(Received { bytes: data, _room: room });
        }
        let length = bytes.len() + data.len();
        if length > LARGEST {
            return Err(Unreceived::TooLarge);
        }
        // What is announced is asked for in one piece, and costs nothing until it comes. What is
        // not doubles each time it grows.
        let is_announced = length <= announced;
        let capacity = match length {
            _ if bytes.is_empty() => announced.min(MEDIUM).max(length),
            _ if length <= bytes.capacity() => bytes.capacity(),
            _ if is_announced => announced,
            _ => (2 * bytes.capacity()).clamp(length, LARGEST),
        };
        let needed = if is_announced { length } else { capacity };
        if needed > charged {
            if !room.grow(needed - charged) {
                return Err(Unreceived::NoMemory);
            }
            charged = needed;
        }
        bytes.reserve_exact(capacity - bytes.len());
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes: bytes.into(), _room: room })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_plain_json_is_read() {
        const CASES: &[(Option<&str>, Option<&str>, bool)] = &[
            (None, None, true),
            (Some("application/json"), None, true),
            (Some("application/json; charset=utf-8"), None, true),
            (Some("Application/JSON ;charset=UTF-8"), Some("identity"), true),
            (Some("application/json-patch+json"), None, false),
            (Some("text/plain"), None, false),
            (Some(""), None, false),
            (Some("application/json"), Some("gzip"), false),
        ];
        for (content_type, encoding, accepted) in CASES {
            let mut headers = HeaderMap::new();
            for (name, value) in [(CONTENT_TYPE, content_type), (CONTENT_ENCODING, encoding)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(acceptable(&headers, None).is_ok(), *accepted, "{content_type:?}");
        }
        assert!(acceptable(&HeaderMap::new(), Some(LARGEST)).is_ok());
        assert!(matches!(
            acceptable(&HeaderMap::new(), Some(LARGEST + 1)),
            Err(Unreceived::TooLarge)
        ));
    }
}
