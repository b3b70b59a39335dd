//! The API server as a client of it sees it that keeps one connection: what tests do often, they do
//! without starting kubectl.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::client::{Answer, Client};
use super::plane::ADMIN;
use super::wait_for;

pub(crate) const JSON: &str = "Content-Type: application/json";
pub(crate) const MERGE: &str = "Content-Type: application/merge-patch+json";
/// JSON is YAML, too.
pub(crate) const APPLY: &str = "Content-Type: application/apply-patch+yaml";

/// Where IstioMulticlusters are.
pub(crate) const MEMBERS: &str = "/apis/deckhouse.io/v1alpha1/istiomulticlusters";

/// A connection to the API server by somebody with a token.
pub(crate) struct Api {
    client: Client,
    token: String,
}

impl Api {
    /// A connection of an administrator.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::by(address, ADMIN)
    }

    /// A connection of somebody with this token.
    pub(crate) fn by(address: SocketAddr, token: &str) -> Self {
        Self { client: Client::connect(address), token: token.to_owned() }
    }

    /// A connection of an administrator, as far as there is an API server.
    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let client = Client::by(address, &rustls::version::TLS13, b"http/1.1")?;
        Ok(Self { client, token: ADMIN.to_owned() })
    }

    /// Creates an object in a collection.
    #[track_caller]
    pub(crate) fn create(&mut self, collection: &str, object: &Json) -> Answer {
        self.send("POST", collection, object)
    }

    /// Creates an object as a dry run: what webhooks say to it.
    #[track_caller]
    pub(crate) fn try_create(&mut self, collection: &str, object: &Json) -> Answer {
        self.create(&format!("{collection}?dryRun=All"), object)
    }

    /// The same, where the API server may go meanwhile; what is told where it is refused.
    pub(crate) fn ask(&mut self, collection: &str, object: &Json) -> Result<(), String> {
        let body = object.to_string();
        let head = format!(
            "POST {collection}?dryRun=All HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{JSON}\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        match self.client.write(head.as_bytes()).and_then(|()| self.client.answer()) {
            Ok(answer) if answer.status == 201 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Json {
        let answer = self.send("GET", path, &Json::Null);
        // Of a resource that has just come, the API server says so in words.
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| answer.text().into())
    }

    #[track_caller]
    pub(crate) fn delete(&mut self, path: &str) {
        let answer = self.send("DELETE", path, &Json::Null);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }

    /// Deletes an object or all of a collection, as far as there is any, and waits until it is gone.
    #[track_caller]
    pub(crate) fn clear(&mut self, path: &str) {
        let at_once = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        wait_for(path, || {
            let status = self.send("DELETE", path, &at_once).status;
            // A resource that has just come or is just going says 409 or 429 at first.
            let mut is_there = || {
                let found = self.get(path);
                found["items"].as_array().map_or(found["code"] != 404, |items| !items.is_empty())
            };
            (status == 404 || status == 200 && !is_there()).then_some(())
        });
    }

    /// Changes an object by a merge patch.
    #[track_caller]
    pub(crate) fn merge(&mut self, path: &str, patch: &Json) {
        let answer = self.send_as("PATCH", path, MERGE, patch);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    #[track_caller]
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &Json) -> Answer {
        self.send_as(method, path, JSON, body)
    }

    #[track_caller]
    pub(crate) fn send_as(
        &mut self,
        method: &str,
        path: &str,
        content: &str,
        body: &Json,
    ) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.token);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.client.send(method, path, &[&authorization, content], body.as_bytes())
    }
}
