//! Real control planes, of etcd and kube-apiserver, each started once for a run of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, KeyPair, PublicKeyData, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value as Json;

use crate::support::api::Api;
use crate::support::client::Client;
use crate::support::elsewhere::known_outer_address;
use crate::support::pem;

/// How long the control plane may take to start on a slow machine.
const START: Duration = Duration::from_mins(5);
/// The token of an administrator.
pub(crate) const ADMIN: &str = "tests-administrator";
/// The authority of the certificate by which it is known to webhooks.
const CALLERS: &str = "callers.crt";
/// How often a program is started anew that ends by itself: somebody may have its port.
const STARTS: usize = 20;
/// Ends a program when the handle of this script is closed, which also happens when the test
/// process ends in whatever way, and ends with the program. Who interrupts the tests does not end
/// this before that.
const LEASH: &str = r#"trap '' INT TERM
log=$1; shift
exec 3<&0
"$@" >>"$log" 2>&1 3<&- &
program=$!
echo "$program" >"$log.pid"
{ cat <&3 >/dev/null; kill -9 "$program"; } 2>/dev/null &
lease=$!
exec 3<&-
wait "$program"
kill "$lease" 2>/dev/null
"#;

/// A control plane of this run.
pub(crate) struct Plane {
    directory: PathBuf,
    host: IpAddr,
    ports: Ports,
    /// The range of the Services' addresses, of which each control plane has another one.
    pub(crate) services: String,
    etcd: Mutex<Option<Leashed>>,
    api_server: Mutex<Option<Leashed>>,
    /// The definitions of custom resources as they were last applied, by their generations.
    pub(crate) definitions: Mutex<Option<Vec<(String, Json)>>>,
}

#[derive(Clone, Copy)]
struct Ports {
    etcd: u16,
    peers: u16,
    api: u16,
}

/// A program that ends with its handle.
struct Leashed(Child);

/// How many control planes tests use that need one: most tests wait most of the time.
const PLANES: usize = 5;
static PLANE: [OnceLock<Plane>; PLANES] = [const { OnceLock::new() }; PLANES];
static IDLE: Mutex<Idle> = Mutex::new(Idle { planes: BTreeSet::new(), wanted: Vec::new() });
static RETURNED: Condvar = Condvar::new();

/// The control planes that no test has. The last one is taken first, so that one test after another
/// starts one.
struct Idle {
    planes: BTreeSet<usize>,
    /// How many of the first ones other tests wait for; those that need one leave them to these.
    wanted: Vec<usize>,
}

/// That a test alone has a control plane; what it leaves there, the next one clears away.
pub(crate) struct Turn(usize);

/// A control plane for one test alone: what it holds is about one mesh.
pub(crate) fn exclusive() -> (&'static Plane, Turn) {
    let last = |idle: &Idle| {
        let wanted = idle.wanted.iter().copied().max().unwrap_or_default();
        idle.planes.range(wanted..).next_back().copied()
    };
    let mut idle = RETURNED.wait_while(idle(), |idle| last(idle).is_none()).unwrap();
    let number = last(&idle).unwrap();
    idle.planes.remove(&number);
    drop(idle);
    (plane(number), Turn(number))
}

/// The first control planes, for one test alone: each is a cluster of its own.
pub(crate) fn several<const COUNT: usize>() -> ([&'static Plane; COUNT], [Turn; COUNT]) {
    let mut idle = idle();
    idle.wanted.push(COUNT);
    let is_busy = |idle: &mut Idle| !(0..COUNT).all(|number| idle.planes.contains(&number));
    let mut idle = RETURNED.wait_while(idle, is_busy).unwrap();
    let at = idle.wanted.iter().position(|count| *count == COUNT).unwrap();
    idle.wanted.remove(at);
    idle.planes.retain(|number| *number >= COUNT);
    drop(idle);
    RETURNED.notify_all();
    (std::array::from_fn(plane), std::array::from_fn(Turn))
}

fn idle() -> MutexGuard<'static, Idle> {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| lock(&IDLE).planes.extend(0..PLANES));
    lock(&IDLE)
}

fn plane(number: usize) -> &'static Plane {
    PLANE[number].get_or_init(|| Plane::start(number))
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&IDLE).planes.insert(self.0);
        RETURNED.notify_all();
    }
}

/// A test that failed has left nothing half done in there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plane {
    fn start(number: usize) -> Self {
        let directory = directory().join(number.to_string());
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("control-plane");
        // Logs are kept until the next run; another run may be under way beside this one.
        for earlier in fs::read_dir(&parent).into_iter().flatten().map(Result::unwrap) {
            let pid = earlier.file_name().to_str().and_then(|name| name.parse().ok());
            let is_running =
                |pid| Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
            if !pid.is_some_and(is_running) {
                let _ = fs::remove_dir_all(earlier.path());
            }
        }
        fs::create_dir_all(&directory).unwrap();
        let key = KeyPair::generate().unwrap();
        fs::write(directory.join("sa.key"), key.serialize_pem()).unwrap();
        fs::write(directory.join("sa.pub"), public_pem(&key)).unwrap();
        show_to_webhooks(&directory);
        let token = format!("{ADMIN},admin,admin,\"system:masters\"\n");
        fs::write(directory.join("tokens.csv"), token).unwrap();
        let host = own_address();
        let [etcd, peers, api] = free_ports(host);
        let ports = Ports { etcd, peers, api };
        certify(&directory, [host, advertised(host)]);
        let plane = Self {
            directory,
            host,
            ports,
            services: format!("10.0.{number}.0/24"),
            etcd: Mutex::default(),
            api_server: Mutex::default(),
            definitions: Mutex::default(),
        };
        plane.start_etcd();
        plane.start_api_server();
        plane
    }

    pub(crate) fn start_etcd(&self) {
        let [client, peer] = [self.ports.etcd, self.ports.peers].map(|port| self.url("http", port));
        let data = self.directory.join("etcd");
        let args = [
            "--name=default",
            &format!("--data-dir={}", data.display()),
            &format!("--listen-client-urls={client}"),
            &format!("--advertise-client-urls={client}"),
            &format!("--listen-peer-urls={peer}"),
            &format!("--initial-advertise-peer-urls={peer}"),
            &format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync",
            "--log-level=warn",
        ];
        self.run("etcd", &self.etcd, &args, || {
            // Plain HTTP, which a TLS client of kubectl cannot ask for.
            let mut stream = TcpStream::connect((self.host, self.ports.etcd)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        });
    }

    pub(crate) fn start_api_server(&self) {
        let Ports { etcd, api, .. } = self.ports;
        let host = self.host;
        let file = |name: &str| self.directory.join(name).display().to_string();
        let args = [
            &format!("--bind-address={host}"),
            &format!("--advertise-address={}", advertised(host)),
            "--endpoint-reconciler-type=none",
            &format!("--secure-port={api}"),
            &format!("--cert-dir={}", file("pki")),
            &format!("--etcd-servers={}", self.url("http", etcd)),
            &format!("--service-account-issuer={}", self.url("https", api)),
            &format!("--service-account-key-file={}", file("sa.pub")),
            &format!("--service-account-signing-key-file={}", file("sa.key")),
            &format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC",
            &format!("--service-cluster-ip-range={}", self.services),
            &format!("--admission-control-config-file={}", file("admission.yaml")),
        ];
        self.kubeconfig("admin", ADMIN);
        self.run("kube-apiserver", &self.api_server, &args, || {
            TcpStream::connect(self.api()).ok()?;
            let ready = self.kubectl(&["get", "--raw=/readyz", "--request-timeout=5s"], "");
            let there = ["get", "namespace", "kube-system", "--request-timeout=5s"];
            (ready.stdout == "ok" && self.kubectl(&there, "").succeeded).then_some(())
        });
    }

    /// Keeps a copy of what etcd holds now, which takes the place of an earlier one.
    pub(crate) fn back_up(&self) {
        self.stop_etcd();
        let _ = fs::remove_dir_all(self.directory.join("backup"));
        copy(&self.directory.join("etcd"), &self.directory.join("backup"));
        self.start_etcd();
    }

    /// Has etcd hold again what was kept, while `stopped` is done; so an administrator would, by
    /// ending the API servers first.
    pub(crate) fn restore(&self, stopped: impl FnOnce()) {
        self.stop_api_server();
        self.stop_etcd();
        fs::remove_dir_all(self.directory.join("etcd")).unwrap();
        copy(&self.directory.join("backup"), &self.directory.join("etcd"));
        stopped();
        self.start_etcd();
        self.start_api_server();
    }

    /// Ends etcd, until it is started again.
    pub(crate) fn stop_etcd(&self) {
        drop(self.etcd.lock().unwrap().take());
    }

    /// Ends the API server, until it is started again.
    pub(crate) fn stop_api_server(&self) {
        drop(self.api_server.lock().unwrap().take());
    }

    /// Has the API server stand still while something is done.
    pub(crate) fn while_api_server_sleeps<T>(&self, act: impl FnOnce() -> T) -> T {
        struct Asleep(Pid);
        impl Drop for Asleep {
            fn drop(&mut self) {
                let _ = kill_process(self.0, Signal::CONT);
            }
        }
        let pid = fs::read_to_string(self.directory.join("kube-apiserver.log.pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let _asleep = Asleep(pid);
        act()
    }

    /// Asks etcd itself, past the API server.
    pub(crate) fn etcd(&self, path: &str, request: &Json) -> Json {
        let address = (self.host, self.ports.etcd).into();
        let headers = ["Content-Type: application/json"];
        let request = request.to_string();
        let answer = Client::plain(address).send("POST", path, &headers, request.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// A connection of an administrator to the API server.
    pub(crate) fn admin(&self) -> Api {
        Api::connect(self.api())
    }

    /// Where the API server listens.
    pub(crate) fn api(&self) -> SocketAddr {
        (self.host, self.ports.api).into()
    }

    /// The certificate of the API server, which has signed itself.
    pub(crate) fn authority(&self) -> String {
        fs::read_to_string(self.directory.join("pki/apiserver.crt")).unwrap()
    }

    /// A kubeconfig of somebody with this token.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let path = self.directory.join(format!("{name}.kubeconfig"));
        let authority = self.directory.join("pki/apiserver.crt");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: tests\n\
             clusters: [{{name: tests, cluster: {{server: 'https://{}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: tests, user: {{token: {token}}}}}]\n\
             contexts: [{{name: tests, context: {{cluster: tests, user: tests}}}}]\n",
            self.api(),
            authority.display()
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// What kubectl prints, as an administrator.
    pub(crate) fn kubectl(&self, args: &[&str], stdin: &str) -> Output {
        self.kubectl_editing("false", args, stdin)
    }

    /// The same, with an editor.
    pub(crate) fn kubectl_editing(&self, editor: &str, args: &[&str], stdin: &str) -> Output {
        let mut child = command("kubectl")
            .args(args)
            .env("KUBECONFIG", self.directory.join("admin.kubeconfig"))
            .env("KUBECACHEDIR", self.directory.join("cache"))
            .env("KUBE_EDITOR", editor)
            .env("TMPDIR", &self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without having read all of it.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Output {
            succeeded: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn leash(&self, name: &str, args: &[&str]) -> Leashed {
        let log = self.directory.join(format!("{name}.log"));
        let child = Command::new("sh")
            .args(["-c", LEASH, "leash"])
            .arg(log)
            .arg(binary(name))
            .args(args)
            // Otherwise half of the CPU time goes into garbage collection.
            .env("GOGC", "400")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tests need a shell, `sh`");
        Leashed(child)
    }

    /// Starts a program, and waits until it does what is asked of it.
    fn run(
        &self,
        name: &str,
        running: &Mutex<Option<Leashed>>,
        args: &[&str],
        mut is_ready: impl FnMut() -> Option<()>,
    ) {
        let (begun, mut starts) = (Instant::now(), 0);
        loop {
            let mut program = running.lock().unwrap();
            if program.as_mut().is_none_or(Leashed::has_ended) {
                starts += 1;
                *program = Some(self.leash(name, args));
            }
            drop(program);
            if is_ready().is_some() {
                return;
            }
            let log = self.directory.join(format!("{name}.log"));
            let waits = begun.elapsed() < START && starts < STARTS;
            assert!(waits, "{name} does not start, see {}", log.display());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn url(&self, scheme: &str, port: u16) -> String {
        format!("{scheme}://{}:{port}", self.host)
    }
}

impl Leashed {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// It has done what it was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.succeeded, "{}", self.stderr);
        self.stdout
    }
}

/// What helm prints.
pub(crate) fn helm(args: &[&str]) -> String {
    let output = command("helm").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A program that ends soon, so that it need not collect garbage.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    command.env("GOGC", "off");
    command
}

/// A program of the control plane.
pub(crate) fn binary(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/control-plane");
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = assets.unwrap_or(built).join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make control-plane`, which needs Go, or set KUBEBUILDER_ASSETS to a \
         directory with etcd, kube-apiserver and kubectl",
        path.display()
    );
    path
}

/// A file that others publish.
pub(crate) fn published(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/control-plane/published");
    fs::read_to_string(directory.join(name)).unwrap_or_else(|error| {
        panic!("{name} is missing: {error}: run `make control-plane`, which needs Go")
    })
}

/// Where all of this run is.
fn directory() -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("control-plane");
    parent.join(std::process::id().to_string())
}

/// The authority of the certificate that every API server shows to validating webhooks.
pub(crate) fn callers() -> PathBuf {
    static MADE: Once = Once::new();
    let directory = directory();
    MADE.call_once(|| {
        fs::create_dir_all(&directory).unwrap();
        let pair = pem::valid();
        let authority = ::pem::encode(&::pem::Pem::new("CERTIFICATE", pair.authority.as_ref()));
        for (name, text) in
            [(CALLERS, authority), ("webhooks.crt", pair.chain), ("webhooks.key", pair.key)]
        {
            fs::write(directory.join(name), text).unwrap();
        }
    });
    directory.join(CALLERS)
}

/// The address at which the API server says that it is.
fn advertised(host: IpAddr) -> IpAddr {
    known_outer_address().unwrap_or(host)
}

/// Makes the certificate of the API server. Its own would be of RSA, and with as many connections
/// as tests open a third of its time would go into their signatures.
fn certify(directory: &Path, addresses: [IpAddr; 2]) {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let names = names.map(String::from).into_iter();
    let names: Vec<_> = names.chain(addresses.map(|address| address.to_string())).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let directory = directory.join("pki");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("apiserver.crt"), cert.pem()).unwrap();
    fs::write(directory.join("apiserver.key"), signing_key.serialize_pem()).unwrap();
}

/// Has the API server show a certificate to validating webhooks, but not to mutating ones, as
/// Deckhouse does; whoever asks for none is shown none.
fn show_to_webhooks(directory: &Path) {
    let file = |name: &str| callers().with_file_name(name).display().to_string();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nusers:\n- name: '*'\n  user: {{client-certificate: {}, client-key: {}}}\n",
        file("webhooks.crt"),
        file("webhooks.key")
    );
    let admission = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: ValidatingAdmissionWebhook\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n    kind: WebhookAdmissionConfiguration\n    kubeConfigFile: {}\n",
        directory.join("webhooks.kubeconfig").display()
    );
    for (name, text) in [("webhooks.kubeconfig", kubeconfig), ("admission.yaml", admission)] {
        fs::write(directory.join(name), text).unwrap();
    }
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A loopback address of this process alone, where nobody takes the ports that it has chosen: of
/// Linux, on which all of 127.0.0.0/8 is there.
fn own_address() -> IpAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 64 | a & 63, b, c);
    TcpListener::bind((own, 0)).map_or(Ipv4Addr::LOCALHOST, |_| own).into()
}

/// Ports that nobody listens on.
fn free_ports(host: IpAddr) -> [u16; 3] {
    let taken = [(); 3].map(|()| TcpListener::bind((host, 0)).unwrap());
    taken.map(|listener| listener.local_addr().unwrap().port())
}

fn public_pem(key: &KeyPair) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(key.subject_public_key_info());
    let lines: Vec<_> = encoded.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
