//! A kubeconfig, as far as Istio needs it to reach a cluster.
//!
//! It may hold credentials. Messages only quote names, hosts and file paths of it.

use std::collections::BTreeMap;

use url::{Host, Url};

use crate::syntax::{Node, Value};
use crate::value::{Invalid, unusable_address};

/// The fields of a user that hold a credential.
const CREDENTIALS: &[&str] = &["token", "password", "client-key-data", "auth-provider"];
/// The fields by which clients have credentials; a key or a password alone is none.
const METHODS: &[&str] = &[
    "token",
    "tokenFile",
    "client-certificate",
    "client-certificate-data",
    "username",
    "auth-provider",
    "exec",
];
/// The fields that name a file, where it stands, and what takes its place if it is there.
const FILES: &[(Part, &str, &str)] = &[
    (Part::Cluster, "certificate-authority", "certificate-authority-data"),
    (Part::User, "client-certificate", "client-certificate-data"),
    (Part::User, "client-key", "client-key-data"),
    (Part::User, "tokenFile", "token"),
];
const KUBECTL: &str = "write one with `kubectl config view --minify --flatten`";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Cluster,
    User,
}

/// What the current context of a kubeconfig leads to.
pub(crate) struct Access<'n, 'a> {
    cluster: &'n Node<'a>,
    user: &'n Node<'a>,
}

impl<'n, 'a> Access<'n, 'a> {
    /// Follows the current context to a cluster that Istio can reach, and to a user.
    pub(crate) fn of(root: &'n Node<'a>) -> Result<Self, Invalid> {
        if !matches!(root.value, Value::Map(_)) {
            return Err(invalid(format!("it is {}", root.kind()), KUBECTL));
        }
        let kind = root.get("kind").and_then(Node::text);
        if let Some(kind) = kind.filter(|kind| *kind != "Config") {
            return Err(invalid(format!("its kind is {kind:?}"), KUBECTL));
        }
        let current = root.get("current-context").and_then(Node::scalar).unwrap_or_default();
        if current.is_empty() {
            let remedy = match names(root, "contexts").as_slice() {
                [only] => format!("write current-context: {only}"),
                _ => "write the name of the context for the cluster".to_owned(),
            };
            return Err(invalid("current-context is missing".to_owned(), &remedy));
        }
        check_quoted(root.get("current-context"), "current-context")?;
        let context = named(root, "contexts", current, "context")?;
        let leads_to = |key: &str| {
            let name = context.get(key).and_then(Node::scalar).unwrap_or_default();
            check_quoted(context.get(key), key)?;
            let problem = format!("context {current:?} does not name a {key}");
            if name.is_empty() { Err(invalid(problem, KUBECTL)) } else { Ok(name) }
        };
        let cluster = named(root, "clusters", leads_to("cluster")?, "cluster")?;
        let user = named(root, "users", leads_to("user")?, "user")?;
        check_server(cluster)?;
        if !METHODS.iter().any(|field| is_set(user, field)) {
            let name = leads_to("user")?;
            let problem = format!("user {name:?} has no credentials");
            return Err(invalid(problem, "write its token or its client certificate and key"));
        }
        let access = Self { cluster, user };
        access.check_credentials()?;
        Ok(access)
    }

    /// The API server, as far as it is the same.
    pub(crate) fn server(&self) -> Option<String> {
        let url = Url::parse(self.cluster.get("server")?.text()?).ok()?;
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        Some(format!("{host}:{}", url.port_or_known_default()?))
    }

    /// Whether the API server's certificate is not verified.
    pub(crate) fn is_insecure(&self) -> bool {
        let skip = self.cluster.get("insecure-skip-tls-verify");
        skip.is_some_and(|skip| skip.value == Value::Bool(true))
    }

    /// The bearer token.
    pub(crate) fn token(&self) -> Option<&'n str> {
        self.user.get("token")?.text()
    }

    /// Refuses what clients refuse of its credentials.
    fn check_credentials(&self) -> Result<(), Invalid> {
        let has = |fields: [&str; 2]| fields.iter().any(|field| is_set(self.user, field));
        let is_certified = has(["client-certificate", "client-certificate-data"]);
        if is_certified && !has(["client-key", "client-key-data"]) {
            let problem = "its user has a client certificate without a key";
            return Err(invalid(problem.to_owned(), "write client-key-data too"));
        }
        if is_set(self.user, "token") && has(["username", "password"]) {
            let problem = "its user has both a token and a password, and clients refuse two";
            return Err(invalid(problem.to_owned(), "remove username and password"));
        }
        Ok(())
    }

    /// Whether a program must be run to get the credentials.
    pub(crate) fn runs_a_program(&self) -> bool {
        is_set(self.user, "exec")
    }

    /// The files that it needs beside itself, each with the field that names it.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &'n str)> {
        let (cluster, user) = (self.cluster, self.user);
        FILES.iter().filter_map(move |(part, field, data)| {
            let holder = if *part == Part::Cluster { cluster } else { user };
            let file = holder.get(field)?.text().filter(|file| !file.is_empty())?;
            let is_replaced = holder.get(data).is_some_and(|data| data.value != Value::Null);
            (!is_replaced).then_some((*field, file))
        })
    }
}

fn is_set(user: &Node<'_>, field: &str) -> bool {
    let value = user.get(field).map(|node| &node.value);
    !matches!(value, None | Some(Value::Null)) && user.get(field).and_then(Node::text) != Some("")
}

/// What any of its users needs that Istio takes from nobody, unless it is allowed: the name by which
/// that is allowed, and the field.
pub(crate) fn insecure_options(root: &Node<'_>) -> BTreeMap<String, String> {
    const OPTIONS: &[(&str, &str)] = &[
        ("client-key", "clientKey"),
        ("client-certificate", "clientCertificate"),
        ("tokenFile", "tokenFile"),
        ("exec", "exec"),
    ];
    let mut found = BTreeMap::new();
    for user in users(root) {
        for (field, option) in OPTIONS {
            if is_set(user, field) {
                found.insert((*option).to_owned(), (*field).to_owned());
            }
        }
        if let Some(provider) = user.get("auth-provider").filter(|it| it.value != Value::Null) {
            let name = provider.get("name").and_then(Node::scalar).unwrap_or_default();
            if name != "oidc" {
                found.insert(name.to_owned(), "auth-provider".to_owned());
            }
        }
    }
    found
}

fn users<'n, 'a>(root: &'n Node<'a>) -> impl Iterator<Item = &'n Node<'a>> {
    items(root, "users").filter_map(|entry| entry.get("user"))
}

/// Which credentials its users have, in the words of its fields.
pub(crate) fn credentials(root: &Node<'_>) -> Vec<&'static str> {
    let users: Vec<_> = users(root).collect();
    let holds = |field: &&&str| {
        users.iter().filter_map(|user| user.get(field)).any(|node| node.value != Value::Null)
    };
    CREDENTIALS.iter().filter(holds).copied().collect()
}

/// The one of a list's entries that has a name, and what it holds.
fn named<'n, 'a>(
    root: &'n Node<'a>,
    list: &str,
    name: &str,
    what: &str,
) -> Result<&'n Node<'a>, Invalid> {
    let is_named = |entry: &&Node<'_>| entry.get("name").and_then(Node::scalar) == Some(name);
    let Some(entry) = items(root, list).find(is_named) else {
        let known = names(root, list);
        let remedy = if known.is_empty() {
            format!("{list} is empty; {KUBECTL}")
        } else {
            format!("write one of {list}: {}", known.join(", "))
        };
        return Err(invalid(format!("there is no {what} {name:?}"), &remedy));
    };
    check_quoted(entry.get("name"), "the name")?;
    let held = entry.get(what).filter(|held| matches!(held.value, Value::Map(_)));
    held.ok_or_else(|| invalid(format!("{what} {name:?} is empty"), KUBECTL))
}

/// Refuses a name that YAML takes for a number or a boolean, as clients do.
fn check_quoted(name: Option<&Node<'_>>, what: &str) -> Result<(), Invalid> {
    match name.map(|name| (name, &name.value)) {
        Some((name, Value::Number(_) | Value::Bool(_))) => {
            let text = name.scalar().unwrap_or_default();
            let problem = format!("{what} {text} is {}, not a string", name.kind());
            Err(invalid(problem, &format!("write {text:?}, in quotes")))
        }
        _ => Ok(()),
    }
}

fn items<'n, 'a>(root: &'n Node<'a>, list: &str) -> impl Iterator<Item = &'n Node<'a>> {
    let items = match root.get(list).map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter()
}

/// How many names a message lists.
const NAMED: usize = 3;

fn names<'n>(root: &'n Node<'_>, list: &str) -> Vec<&'n str> {
    items(root, list).filter_map(|entry| entry.get("name")?.text()).take(NAMED).collect()
}

fn check_server(cluster: &Node<'_>) -> Result<(), Invalid> {
    const EXAMPLE: &str = "write one such as https://10.23.230.11:6443";
    let Some(server) = cluster.get("server").and_then(Node::text) else {
        return Err(invalid("its cluster has no server".to_owned(), EXAMPLE));
    };
    // Its text may hold a password, so it is not repeated.
    let Ok(url) = Url::parse(server) else {
        return Err(invalid("its server is not a URL".to_owned(), EXAMPLE));
    };
    let Some(host) = url.host() else {
        return Err(invalid("its server has no host".to_owned(), EXAMPLE));
    };
    if url.scheme() != "https" {
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let problem = format!("its server is {}, not https", url.scheme());
        return Err(invalid(problem, &format!("write https://{host}{port}")));
    }
    let unusable = match &host {
        Host::Domain(name) if *name == "localhost" || name.ends_with(".localhost") => {
            Some("a loopback name")
        }
        Host::Domain(_) => None,
        Host::Ipv4(address) => unusable_address((*address).into()),
        Host::Ipv6(address) => unusable_address((*address).into()),
    };
    match unusable {
        None => Ok(()),
        Some(class) => Err(invalid(
            format!("its server {host} is {class}, which would lead Istio to its own pod"),
            "write the address at which Istio reaches the cluster",
        )),
    }
}

fn invalid(problem: String, remedy: &str) -> Invalid {
    Invalid { problem, remedy: remedy.to_owned() }
}
