//! Servers that are not what they should be, and kubeconfigs that lead astray.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::cluster::Shown;
use crate::cluster::observe::{Bounds, observe};
use crate::observe::{NotKubernetes, Seen};
use crate::settings::Settings;

/// What must not appear anywhere.
const PLANTED: &str = "planted-token";

/// What a server does with a request.
#[derive(Clone)]
enum Reply {
    Answer(u16, String),
    /// It answers with a list that never ends.
    Endless,
    /// It begins to respond, and never continues.
    Stall,
}

/// An HTTPS server of which each request is counted.
struct Server {
    address: SocketAddr,
    authority: String,
    requests: Arc<AtomicUsize>,
    authorization: Arc<Mutex<String>>,
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, key()).unwrap()
}

impl Server {
    async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_certificate(|_| {}, reply).await
    }

    async fn with_certificate(
        change: impl FnOnce(&mut CertificateParams),
        reply: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let issuer = issuer();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            authority: issuer.pem(),
            requests: Arc::default(),
            authorization: Arc::default(),
        };
        let (requests, authorization) =
            (Arc::clone(&server.requests), Arc::clone(&server.authorization));
        let (acceptor, reply) = (TlsAcceptor::from(Arc::new(config)), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, reply) = (acceptor.clone(), Arc::clone(&reply));
                let (requests, authorization) = (Arc::clone(&requests), Arc::clone(&authorization));
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await.ok()?;
                    loop {
                        let mut head = Vec::new();
                        while !head.ends_with(b"\r\n\r\n") {
                            head.push(stream.read_u8().await.ok()?);
                        }
                        requests.fetch_add(1, Ordering::Relaxed);
                        let head = String::from_utf8(head).unwrap();
                        let lines: Vec<_> = head.lines().collect();
                        if let Some(shown) = lines.iter().find(|it| it.starts_with("authorization"))
                        {
                            (*shown).clone_into(&mut authorization.lock().unwrap());
                        }
                        let path = lines[0].split(' ').nth(1).unwrap();
                        let reply = reply(path);
                        answer(&mut stream, reply).await?;
                    }
                    #[expect(unreachable_code, reason = "it tells the type")]
                    Some(())
                });
            }
        });
        server
    }

    fn kubeconfig(&self) -> String {
        kubeconfig(&format!("https://{}", self.address), &self.authority, "")
    }

    async fn observed(&self, bounds: &Bounds) -> Result<Shown, Unreached> {
        observed(&Dial::default().with_loopback(true), &self.kubeconfig(), bounds).await
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(stream: &mut (impl AsyncWriteExt + Unpin), reply: Reply) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    match reply {
        Reply::Answer(status, body) => {
            let location = "location: https://127.0.0.1:1/planted-token";
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} x\r\n{location}\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            stream.write_all(text.as_bytes()).await.ok()
        }
        Reply::Endless => {
            stream.write_all(head.as_bytes()).await.ok()?;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            loop {
                stream.write_all(chunk.as_bytes()).await.ok()?;
            }
        }
        Reply::Stall => {
            stream.write_all(head.as_bytes()).await.ok()?;
            std::future::pending().await
        }
    }
}

async fn observed(dial: &Dial, kubeconfig: &str, bounds: &Bounds) -> Result<Shown, Unreached> {
    let result = async {
        let client = dial.client(kubeconfig)?;
        observe(&client, &Settings::default(), bounds).await
    };
    let result = result.await;
    assert!(!format!("{result:?}").contains(PLANTED), "{result:?}");
    result.inspect_err(|error| {
        assert!(!error.to_string().contains(PLANTED), "{error}");
        assert!(error.reason().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    })
}

/// A kubeconfig as `istioctl create-remote-secret` writes it, with more fields of the user.
fn kubeconfig(server: &str, authority: &str, user: &str) -> String {
    let authority = STANDARD.encode(authority);
    let user = if user.is_empty() { format!("token: {PLANTED}") } else { user.to_owned() };
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: b\n\
         clusters:\n- name: b\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
         contexts:\n- name: b\n  context: {{cluster: b, user: b}}\n\
         users:\n- name: b\n  user:\n    {user}\n"
    )
}

/// An API server that shows its identity and nothing else.
fn sound(path: &str) -> Reply {
    match path {
        "/api/v1/namespaces/kube-system" => Reply::Answer(
            200,
            r#"{"kind": "Namespace", "metadata": {"name": "kube-system", "uid": "u-1"}}"#.into(),
        ),
        _ => Reply::Answer(403, PLANTED.to_owned()),
    }
}

#[tokio::test]
async fn it_reads_by_the_token_what_it_may() {
    let server = Server::start(sound).await;
    let Shown { observed, refused } = server.observed(&Bounds::default()).await.unwrap();
    assert_eq!((&*observed.uid.value, observed.pod_subnets), ("u-1", None));
    // What takes another right than a reader of Istio has is not missed.
    assert_eq!(refused, ["namespaces", "nodes", "pods", "services"]);
    assert_eq!(*server.authorization.lock().unwrap(), format!("authorization: Bearer {PLANTED}"));
}

#[tokio::test]
async fn what_an_answer_is_not_is_told_by_its_class() {
    let deep = format!(r#"{{"kind": "PodList", "items": {}"#, "[".repeat(1 << 20));
    let refused = || sound("");
    let cases = [
        (Reply::Answer(401, PLANTED.to_owned()), Unreached::Unauthorized),
        (Reply::Answer(302, PLANTED.to_owned()), Unreached::Redirect(302)),
        (Reply::Answer(307, PLANTED.to_owned()), Unreached::Redirect(307)),
        (Reply::Answer(500, PLANTED.to_owned()), Unreached::Status(500)),
        (Reply::Answer(200, format!("<html>{PLANTED}")), Unreached::NotKubernetes(NotKubernetes)),
        (Reply::Answer(200, deep), Unreached::NotKubernetes(NotKubernetes)),
        (refused(), Unreached::Unidentified),
        (Reply::Answer(404, PLANTED.to_owned()), Unreached::Unidentified),
    ];
    for (reply, expected) in cases {
        let server = Server::start(move |_| reply.clone()).await;
        let error = server.observed(&Bounds::default()).await.unwrap_err();
        assert_eq!(error, expected);
        // Redirects are not followed, and requests are not repeated.
        assert!(server.requests() <= Seen::new(&Settings::default()).first().len() + 2, "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_costs_what_the_bounds_say() {
    let server = Server::start(|_| Reply::Endless).await;
    let bounds = Bounds { answer: 64 << 10, whole: 256 << 10, ..Bounds::default() };
    assert_eq!(server.observed(&bounds).await, Err(Unreached::TooMuch));
    // Each costs a whole answer, and those under way are given up.
    assert!(server.requests() <= 4 + bounds.at_once, "{}", server.requests());
    // One such list alone is as if it were refused.
    let server = Server::start(|path| match path {
        _ if path.starts_with("/api/v1/pods") => Reply::Endless,
        _ => sound(path),
    });
    let shown = server.await.observed(&bounds).await.unwrap();
    assert_eq!(shown.observed.uid.value, "u-1");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_so_long() {
    let bounds = Bounds { time: Duration::from_millis(300), ..Bounds::default() };
    let server = Server::start(|_| Reply::Stall).await;
    assert_eq!(server.observed(&bounds).await, Err(Unreached::Slow));
    // One that does not even begin TLS.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap());
    let dial = Dial::default().with_loopback(true);
    let result = observed(&dial, &kubeconfig(&server, &issuer().pem(), ""), &bounds).await;
    assert_eq!(result, Err(Unreached::Slow));
}

#[tokio::test]
async fn a_certificate_must_be_valid_and_of_the_authority() {
    let past = rcgen::date_time_ymd(2001, 1, 1);
    let expired = Server::with_certificate(|params| params.not_after = past, sound).await;
    let other_name = |params: &mut CertificateParams| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("other.example.com".try_into().unwrap())];
    };
    let other_name = Server::with_certificate(other_name, sound).await;
    let mut foreign = Server::start(sound).await;
    foreign.authority = issuer().pem();
    let unknown = "is not signed by the certificate authority (CA) of the kubeconfig";
    for (server, why) in
        [(&expired, "has expired"), (&other_name, "is for another name"), (&foreign, unknown)]
    {
        let result = server.observed(&Bounds::default()).await;
        assert_eq!(result, Err(Unreached::Certificate(why)));
        assert_eq!(server.requests(), 0, "no credentials are shown");
    }
    // Where the kubeconfig says so, any will do, and a name of its own.
    let dial = Dial::default().with_loopback(true);
    for (server, field) in [
        (&foreign, "insecure-skip-tls-verify: true"),
        (&other_name, "tls-server-name: other.example.com"),
    ] {
        let field = format!("    {field}\ncontexts:");
        let kubeconfig = server.kubeconfig().replace("contexts:", &field);
        let is_insecure = field.contains("insecure");
        let kubeconfig = if is_insecure { without_authority(&kubeconfig) } else { kubeconfig };
        let result = observed(&dial, &kubeconfig, &Bounds::default()).await;
        assert_eq!(result.unwrap().observed.uid.value, "u-1");
    }
}

fn without_authority(kubeconfig: &str) -> String {
    let is_kept = |line: &&str| !line.contains("certificate-authority-data");
    kubeconfig.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn an_address_of_this_machine_or_its_cloud_is_never_connected_to() {
    let server = Server::start(sound).await;
    let port = server.address.port();
    for (host, class) in [
        ("127.0.0.1", "a loopback address"),
        ("127.9.9.9", "a loopback address"),
        ("[::1]", "a loopback address"),
        ("[::ffff:127.0.0.1]", "a loopback address"),
        ("[64:ff9b::7f00:1]", "a loopback address"),
        ("localhost", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("0.1.2.3", "an address of this machine"),
        ("[::]", "the unspecified address"),
        ("169.254.169.254", "a link-local address"),
        ("[::ffff:169.254.169.254]", "a link-local address"),
        ("[fe80::1]", "a link-local address"),
        ("[fd00:ec2::254]", "a metadata address"),
        ("100.100.100.200", "a metadata address"),
        ("168.63.129.16", "a metadata address"),
        ("224.0.0.1", "a multicast address"),
        ("[ff02::1]", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
    ] {
        let kubeconfig = kubeconfig(&format!("https://{host}:{port}"), &server.authority, "");
        let result = observed(&Dial::default(), &kubeconfig, &Bounds::default()).await;
        assert_eq!(result, Err(Unreached::Address(class)), "{host}");
    }
    assert_eq!(server.requests(), 0);
    for usable in ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "8.8.8.8", "fd00::1"] {
        assert_eq!(Dial::default().refuses(usable.parse().unwrap()), None, "{usable}");
    }
}

#[tokio::test]
async fn a_name_is_looked_at_each_time_and_dialled_where_it_was_seen_to_lead() {
    let server = Server::with_certificate(
        |params| {
            params.subject_alt_names =
                vec![rcgen::SanType::DnsName("b.example.com".try_into().unwrap())];
        },
        sound,
    )
    .await;
    let good = server.address;
    let metadata = SocketAddr::from(([169, 254, 169, 254], 80));
    let public = SocketAddr::from(([203, 0, 113, 1], 443));
    let lead = |addresses: Vec<SocketAddr>, allows_loopback: bool| Dial {
        allows_loopback,
        resolve: Arc::new(move |_, _| {
            let addresses = addresses.clone();
            async move { Ok(addresses) }.boxed()
        }),
    };
    let kubeconfig = kubeconfig("https://b.example.com", &server.authority, "");
    for (addresses, class) in [
        (vec![good], "a loopback address"),
        (vec![metadata], "a link-local address"),
        (vec![public, metadata], "a link-local address"),
    ] {
        let dial = lead(addresses, false);
        let result = observed(&dial, &kubeconfig, &Bounds::default()).await;
        assert_eq!(result, Err(Unreached::Address(class)));
    }
    assert_eq!(server.requests(), 0);
    let dial = lead(vec![good], true);
    let result = observed(&dial, &kubeconfig, &Bounds::default()).await;
    assert_eq!(result.unwrap().observed.uid.value, "u-1");
    let nowhere = observed(&lead(Vec::new(), true), &kubeconfig, &Bounds::default()).await;
    assert_eq!(nowhere, Err(Unreached::Unresolved));
    let failing = Dial {
        allows_loopback: true,
        resolve: Arc::new(|_, _| async { Err(io::ErrorKind::NotFound.into()) }.boxed()),
    };
    let result = observed(&failing, &kubeconfig, &Bounds::default()).await;
    assert_eq!(result, Err(Unreached::Unresolved));
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let kubeconfig = kubeconfig(&format!("https://{address}"), &issuer().pem(), "");
    let dial = Dial::default().with_loopback(true);
    let result = observed(&dial, &kubeconfig, &Bounds::default()).await;
    assert_eq!(result, Err(Unreached::Refused));
}

#[test]
fn a_kubeconfig_that_needs_anything_else_is_not_followed() {
    let server = "https://10.0.0.1:6443";
    let pem = issuer().pem();
    let of_user = |user: &str| kubeconfig(server, &pem, user);
    let sound = of_user("");
    assert!(config(&sound).is_ok());
    let program = "runs a program for credentials, which isthmus does not";
    let provider = "has an auth-provider, which isthmus does not follow";
    let file = "refers to a file, which isthmus does not read";
    let not_https = "has a server that is not an https URL";
    let no_authority = "has a certificate authority that cannot be read";
    let cases = [
        (format!("{PLANTED}: ["), "cannot be read"),
        (String::new(), "has no current-context"),
        (
            sound.replace("current-context: b", "current-context: c"),
            "does not have its current context",
        ),
        (sound.replace("cluster: b,", "cluster: c,"), "does not have the cluster"),
        (sound.replace("user: b}", "user: c}"), "does not have the user"),
        (sound.replace("https://", "http://"), not_https),
        (sound.replace("https://", &format!("https://admin:{PLANTED}@")), not_https),
        (sound.replace(server, "10.0.0.1"), not_https),
        (sound.replace(server, "'https://[::1'"), "has no usable server"),
        (
            sound.replace("server: ", "proxy-url: http://10.0.0.2\n    server: "),
            "asks for a proxy, which isthmus does not use",
        ),
        (sound.replace("certificate-authority-data", "certificate-authority"), file),
        (
            sound.replace("certificate-authority-data: ", "certificate-authority-data: x"),
            no_authority,
        ),
        (
            of_user(&format!(
                "exec: {{apiVersion: client.authentication.k8s.io/v1, command: {PLANTED}}}"
            )),
            program,
        ),
        (of_user("auth-provider: {name: oidc, config: {}}"), provider),
        (of_user("tokenFile: /etc/hostname"), file),
        (of_user("{client-certificate: /etc/hostname, client-key: /etc/hostname}"), file),
        (of_user("{client-certificate-data: eA==, client-key: /etc/hostname}"), file),
    ];
    for (text, why) in cases {
        let error = Dial::default().client(&text).err();
        assert_eq!(error, Some(Unreached::Kubeconfig(why)), "{text}");
    }
    let unusable = of_user("{client-certificate-data: eA==, client-key-data: eA==}");
    let error = Dial::default().client(&unusable).err();
    let why = "has a certificate or key that cannot be used";
    assert_eq!(error, Some(Unreached::Kubeconfig(why)));
    let mut bomb = "k0: &k0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..30 {
        let before = [format!("*k{}", at - 1).as_str()].repeat(10).join(", ");
        writeln!(bomb, "k{at}: &k{at} [{before}]").unwrap();
    }
    assert!(Dial::default().client(&bomb).is_err());
}
