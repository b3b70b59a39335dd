//! The way to another cluster, as a remote Secret's kubeconfig describes it. Whoever may write such
//! a Secret decides where it leads, so nothing on this machine is followed or shown: no program, no
//! file, no proxy; and no address that only this machine, its node or its cloud can reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ConfigExt};
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use kube::{Client, Config};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower::{BoxError, ServiceBuilder, service_fn};

use super::unreached::{PROXY, Unreached};
use crate::value::unusable_address;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 4;
/// Where clouds tell a machine its secrets; those that are link-local are refused as such.
const METADATA: &[&str] = &["100.100.100.200", "168.63.129.16", "fd00:ec2::254", "192.0.0.192"];

/// Connects to other clusters.
#[derive(Clone)]
pub struct Dial {
    allows_loopback: bool,
    resolve: Resolve,
}

type Resolve =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

impl Default for Dial {
    fn default() -> Self {
        Self {
            allows_loopback: false,
            resolve: Arc::new(|host, port| {
                Box::pin(async move {
                    Ok(lookup_host((host, port)).await?.take(MOST_ADDRESSES).collect())
                })
            }),
        }
    }
}

impl Dial {
    /// The same for tests, in which every cluster is on one machine.
    #[must_use]
    pub fn with_loopback(self, allows_loopback: bool) -> Self {
        Self { allows_loopback, ..self }
    }

    /// The same, where names lead elsewhere.
    #[cfg(test)]
    pub(crate) fn resolving(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
    }

    /// A client of the cluster that a kubeconfig leads to.
    pub fn client(&self, kubeconfig: &str) -> Result<Client, Unreached> {
        self.by(config(kubeconfig)?)
    }

    /// A client of whoever publishes a cluster's metadata, which has no credentials.
    pub(super) fn client_of_metadata(
        &self,
        endpoint: &str,
        authority: &str,
        is_insecure: bool,
    ) -> Result<Client, Unreached> {
        let mut config = Config::new(endpoint.parse().map_err(|_| Unreached::Unresolved)?);
        config.accept_invalid_certs = is_insecure;
        config.default_retry = false;
        if !authority.is_empty() {
            let blocks = pem::parse_many(authority).map_err(|_| Unreached::Untrusted)?;
            config.root_cert = Some(blocks.into_iter().map(pem::Pem::into_contents).collect());
        } else if is_insecure {
            // Without the system's, which may be none.
            config.root_cert = Some(Vec::new());
        }
        self.by(config).map_err(|_| Unreached::Untrusted)
    }

    fn by(&self, config: Config) -> Result<Client, Unreached> {
        let dial = self.clone();
        let connect = service_fn(move |uri: Uri| {
            let dial = dial.clone();
            async move { dial.connect(&uri).await }
        });
        let unusable = |error: kube::Error| Unreached::of(&error);
        let https = config.rustls_https_connector_with_connector(connect).map_err(unusable)?;
        let client = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(|_| USER)?)
            .layer(config.extra_headers_layer().map_err(|_| USER)?)
            .map_err(BoxError::from)
            .service(client);
        Ok(Client::new(service, config.default_namespace))
    }

    /// Connects to the very address that was looked at: a name may have another one the next time.
    async fn connect(&self, uri: &Uri) -> Result<TokioIo<TcpStream>, Unreached> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(443);
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                let resolved = (self.resolve)(host.to_owned(), port).await;
                resolved.map_err(|_| Unreached::Unresolved)?
            }
        };
        // A name that leads to one of these as well is up to something.
        if let Some(class) = addresses.iter().find_map(|address| self.refuses(address.ip())) {
            return Err(Unreached::Address(class));
        }
        let mut failure = Unreached::Unresolved;
        for address in addresses {
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => failure = Unreached::of(&error),
                Err(_) => failure = Unreached::Slow,
            }
        }
        Err(failure)
    }

    /// What makes an address one that is never connected to.
    fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let address = embedded(address);
        if self.allows_loopback && address.is_loopback() {
            return None;
        }
        let is = |text: &&str| text.parse() == Ok(address);
        let is_this_network = matches!(address, IpAddr::V4(it) if it.octets()[0] == 0);
        unusable_address(address)
            .or_else(|| METADATA.iter().any(is).then_some("a metadata address"))
            .or_else(|| is_this_network.then_some("an address of this machine"))
    }
}

/// The IPv4 address that an IPv6 address stands for, if it stands for one: as IPv4-mapped, or by
/// the prefix of NAT64.
fn embedded(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => match address.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into()
            }
            _ => address.into(),
        },
        address @ IpAddr::V4(_) => address,
    }
}

const USER: Unreached = Unreached::Kubeconfig("has a user that cannot be used");

/// What leads to the cluster of the current context, if nothing else is needed for it.
fn config(kubeconfig: &str) -> Result<Config, Unreached> {
    // Its errors repeat what stands there.
    let unreadable = |_| Unreached::Kubeconfig("cannot be read");
    let Kubeconfig { current_context, contexts, clusters, auth_infos, .. } =
        Kubeconfig::from_yaml(kubeconfig).map_err(unreadable)?;
    let current = current_context.ok_or(Unreached::Kubeconfig("has no current-context"))?;
    let context = contexts.into_iter().find(|context| context.name == current);
    let context = context.and_then(|context| context.context);
    let context = context.ok_or(Unreached::Kubeconfig("does not have its current context"))?;
    let mut clusters = clusters.into_iter().filter(|cluster| cluster.name == context.cluster);
    let cluster = clusters.next().and_then(|cluster| cluster.cluster);
    let cluster = cluster.ok_or(Unreached::Kubeconfig("does not have the cluster"))?;
    let mut users = auth_infos.into_iter().filter(|user| Some(&user.name) == context.user.as_ref());
    let user = users.next().and_then(|user| user.auth_info);
    let user = user.ok_or(Unreached::Kubeconfig("does not have the user"))?;
    let mut config = of_cluster(cluster)?;
    config.auth_info = credentials(user)?;
    Ok(config)
}

fn of_cluster(cluster: Cluster) -> Result<Config, Unreached> {
    let server = cluster.server.unwrap_or_default();
    let uri: Uri = server.parse().map_err(|_| Unreached::Kubeconfig("has no usable server"))?;
    let has_user_info = uri.authority().is_none_or(|it| it.as_str().contains('@'));
    if uri.scheme_str() != Some("https") || has_user_info {
        return Err(Unreached::Kubeconfig("has a server that is not an https URL"));
    }
    if cluster.proxy_url.is_some_and(|url| !url.is_empty()) {
        return Err(Unreached::Kubeconfig(PROXY));
    }
    let mut config = Config::new(uri);
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
    config.tls_server_name = cluster.tls_server_name.filter(|name| !name.is_empty());
    config.default_retry = false;
    let data = cluster.certificate_authority_data.filter(|data| !data.is_empty());
    if data.is_none() && cluster.certificate_authority.is_some_and(|file| !file.is_empty()) {
        return Err(FILE);
    }
    config.root_cert = data.map(|data| certificates(&data)).transpose()?;
    Ok(config)
}

const FILE: Unreached = Unreached::Kubeconfig("refers to a file, which isthmus does not read");

fn certificates(data: &str) -> Result<Vec<Vec<u8>>, Unreached> {
    let unusable = Unreached::Kubeconfig("has a certificate authority that cannot be read");
    let pem = STANDARD.decode(data).ok().and_then(|bytes| pem::parse_many(bytes).ok());
    let pem = pem.filter(|blocks| !blocks.is_empty()).ok_or(unusable)?;
    Ok(pem.into_iter().map(pem::Pem::into_contents).collect())
}

/// The credentials that stand in the kubeconfig itself.
fn credentials(user: AuthInfo) -> Result<AuthInfo, Unreached> {
    let is_set = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    if user.exec.is_some() {
        return Err(Unreached::Kubeconfig(
            "runs a program for credentials, which isthmus does not",
        ));
    }
    if user.auth_provider.is_some() {
        return Err(Unreached::Kubeconfig("has an auth-provider, which isthmus does not follow"));
    }
    let certificate = (&user.client_certificate, &user.client_certificate_data);
    let refers_to_files = is_set(&user.token_file) && user.token.is_none()
        || is_set(certificate.0) && !is_set(certificate.1)
        || is_set(&user.client_key) && user.client_key_data.is_none();
    if refers_to_files {
        return Err(FILE);
    }
    let (token_file, client_certificate, client_key) = (None, None, None);
    Ok(AuthInfo { token_file, client_certificate, client_key, ..user })
}

#[cfg(test)]
mod tests;
