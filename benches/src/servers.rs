//! What is measured: processes on a core of their own, and what they cost.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_bench::client::{Client, ClientError, Credential, Link, udp_socket};
use moznods_bench::sys;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::forward::{Destinations, Forwarder, Listening};
use crate::stream_forward::StreamForwarder;

/// Servers, clients and peers each have an address of their own, so that they do not take each other's ports.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
pub const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
pub const PEERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Core of the server, and of the load.
pub const SERVER_CORE: usize = 0;
pub const LOAD_CORE: usize = 1;
/// For a server to start.
const START: Duration = Duration::from_secs(20);

/// Clients that ask for an allocation at once.
const AT_ONCE: usize = 32;

const USERNAME: &str = "bench";
const PASSWORD: &str = "measured on loopback";

/// Why something cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(
        "coturn's turnserver is not installed; expected Debian's package coturn: run `scripts/setup bench`"
    )]
    NoCoturn,
    #[error("{}: no such program; expected our server: run `make build`, or name it by --server-binary", .0.display())]
    NoServer(PathBuf),
    #[error("this machine has {0} core; expected two, one for the server and one for the load")]
    TooFewCores(usize),
    #[error("{name} did not start: {why}")]
    NotStarted { name: &'static str, why: String },
    #[error("{name}: {why}")]
    Client {
        name: &'static str,
        why: ClientError,
    },
    #[error(
        "case \"{0}\": there is none of this name; `moznods-bench --list` shows those there are"
    )]
    NoCase(String),
    #[error("{path}: answered {status}: {body}")]
    Refused {
        path: String,
        status: u16,
        body: String,
    },
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Keeps this thread to the core of the load, and lets it open a socket for each of many clients.
pub fn prepare_load() -> Result<(), BenchError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Err(BenchError::TooFewCores(cores));
    }
    moznods_turn::net::raise_file_limit()?;
    Ok(sys::pin(&[LOAD_CORE])?)
}

/// Runs what is measured with the load on the server's core as well.
pub fn with_both_cores<T>(run: impl FnOnce() -> T) -> Result<T, BenchError> {
    sys::pin(&[SERVER_CORE, LOAD_CORE])?;
    let outcome = run();
    sys::pin(&[LOAD_CORE])?;
    Ok(outcome)
}

/// A process that is measured; ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Kept open: who writes to a closed one fails.
    output: Option<BufReader<ChildStdout>>,
    // Removed after the process has ended.
    _directory: Option<TempDir>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it on these cores.
    pub fn start(
        command: &mut Command,
        cores: &[usize],
        directory: Option<TempDir>,
    ) -> io::Result<Self> {
        sys::pin(cores)?;
        let child = command.spawn();
        sys::pin(&[LOAD_CORE])?;
        let mut child = child?;
        Ok(Process {
            output: child.stdout.take().map(BufReader::new),
            child,
            _directory: directory,
        })
    }

    /// The next line of its output; empty when it has ended.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            output.read_line(&mut line)?;
        }
        Ok(line)
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.unwrap_or(0) * 1024)
    }

    /// Time that all of its threads have run, those that have ended among them.
    pub fn cpu(&self) -> io::Result<Duration> {
        sys::cpu_of(self.child.id())
    }
}

/// A TURN server that is measured.
#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub process: Process,
    pub address: SocketAddr,
    tls_address: SocketAddr,
    /// Trusts its certificate.
    tls: Arc<ClientConfig>,
    pub credential: Credential,
}

/// How clients come, when not over UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        })
    }
}

/// Certificate and key, as files in a server's directory.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// Makes a certificate for [`SERVER`], and what trusts it.
fn make_certificate(directory: &Path) -> io::Result<Arc<ClientConfig>> {
    let made = rcgen::generate_simple_self_signed([SERVER.to_string()]);
    let made = made.map_err(io::Error::other)?;
    std::fs::write(directory.join(CERTIFICATE), made.cert.pem())?;
    std::fs::write(directory.join(KEY), made.signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    let certificate = made.cert.der().clone();
    roots.add(certificate).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Which TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours { workers: usize },
    Coturn,
}

impl Server {
    pub fn start(kind: Kind, binary: &Path) -> Result<Self, BenchError> {
        let directory = TempDir::new()?;
        let tls = make_certificate(directory.path())?;
        let port = free_port(FIRST_PORT)?;
        let address = SocketAddr::new(SERVER, port);
        let tls_address = SocketAddr::new(SERVER, free_port(port + 1)?);
        let credential = Credential {
            username: USERNAME.to_owned(),
            password: PASSWORD.to_owned(),
        };
        let (name, process) = match kind {
            Kind::Ours { workers } => (
                "moznods",
                ours(binary, directory, [address, tls_address], workers)?,
            ),
            Kind::Coturn => (
                "coturn",
                coturn(directory, [address, tls_address], &credential)?,
            ),
        };
        let server = Server {
            name,
            process,
            address,
            tls_address,
            tls,
            credential,
        };
        server.wait()?;
        Ok(server)
    }

    /// Until an allocation can be made: our server obeys the command that makes the user within a second, and coturn
    /// does not say when it listens.
    fn wait(&self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START;
        loop {
            match self.allocate() {
                Ok(mut client) => return client.end().map_err(|why| self.failed(why)),
                Err(why) if Instant::now() > deadline => return Err(self.failed(why)),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn allocate(&self) -> Result<Client, ClientError> {
        let link = Link::udp(CLIENTS, self.address)?;
        Client::allocate(link, self.address, &self.credential)
    }

    /// Allocations of so many clients over UDP.
    pub fn clients(&self, count: usize) -> Result<Vec<Client>, BenchError> {
        self.clients_at(CLIENTS, count)
    }

    /// As [`clients`](Self::clients), at an address that may be of none that came before: coturn remembers them.
    pub fn clients_at(&self, ip: IpAddr, count: usize) -> Result<Vec<Client>, BenchError> {
        let mut clients = Vec::with_capacity(count);
        while clients.len() < count {
            let links = (0..AT_ONCE.min(count - clients.len()))
                .map(|_| Link::udp(ip, self.address))
                .collect::<io::Result<_>>()?;
            let made = Client::allocate_all(links, self.address, &self.credential);
            clients.extend(made.map_err(|why| self.failed(why))?);
        }
        Ok(clients)
    }

    /// An allocation of a client that comes over this.
    pub fn stream_client(&self, transport: Transport) -> Result<Client, BenchError> {
        let connect = || {
            let (link, address) = match transport {
                Transport::Tcp => (Link::tcp(CLIENTS, self.address)?, self.address),
                Transport::Tls => {
                    let tls = Arc::clone(&self.tls);
                    (Link::tls(CLIENTS, self.tls_address, tls)?, self.tls_address)
                }
            };
            Client::allocate(link, address, &self.credential)
        };
        connect().map_err(|why| self.failed(why))
    }

    pub fn failed(&self, why: ClientError) -> BenchError {
        BenchError::Client {
            name: self.name,
            why,
        }
    }
}

/// Of those that servers listen at: below those that are handed out to clients and as relays, so that nobody takes one
/// meanwhile.
pub const FIRST_PORT: u16 = 20_000;

pub fn free_port(from: u16) -> io::Result<u16> {
    for port in from..30_000 {
        let address = (SERVER, port);
        if UdpSocket::bind(address).is_ok() && std::net::TcpListener::bind(address).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Our program, with nothing in its environment or directory that could set it up.
pub fn clean(binary: &Path, directory: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(directory);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("MOZNODS_") {
            command.env_remove(variable);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn ours(
    binary: &Path,
    directory: TempDir,
    [address, tls]: [SocketAddr; 2],
    workers: usize,
) -> Result<Process, BenchError> {
    let name = "moznods";
    let binary =
        std::fs::canonicalize(binary).map_err(|_| BenchError::NoServer(binary.to_owned()))?;
    let command = || clean(&binary, directory.path());
    let mut add = command();
    add.args(["turn", "user", "add", USERNAME, "--password-stdin"]);
    let mut serve = command();
    serve.args([
        "serve",
        "--http-listen=127.0.0.1:0",
        "--turn-external-ip=127.0.0.1",
        "--turn-allow-peers=127.0.0.0/8",
        "--turn-relay-ports=30001-65535",
        "--turn-max-allocations-per-user=0",
        "--turn-unauthenticated-per-second=0",
        "--log-level=warn",
    ]);
    serve.arg(format!("--turn-listen={address}"));
    serve.arg(format!("--turn-tls-listen={tls}"));
    serve.arg(format!("--turn-tls-cert={CERTIFICATE}"));
    serve.arg(format!("--turn-tls-key={KEY}"));
    serve.arg(format!("--turn-workers={workers}"));
    let cores: Vec<usize> = (SERVER_CORE..SERVER_CORE + workers).collect();
    let mut process = Process::start(&mut serve, &cores, Some(directory))?;
    if process.line()?.is_empty() {
        let why = "its error is above".to_owned();
        return Err(BenchError::NotStarted { name, why });
    }
    let mut adding = add.spawn()?;
    if let Some(mut input) = adding.stdin.take() {
        writeln!(input, "{PASSWORD}")?;
    }
    let added = adding.wait_with_output()?;
    if !added.status.success() {
        let why = "no user can be added".to_owned();
        return Err(BenchError::NotStarted { name, why });
    }
    Ok(process)
}

fn coturn(
    directory: TempDir,
    [address, tls]: [SocketAddr; 2],
    credential: &Credential,
) -> Result<Process, BenchError> {
    let mut command = Command::new("turnserver");
    command.current_dir(directory.path());
    command.args([
        "-n",
        "--no-cli",
        "--no-dtls",
        "--relay-threads=1",
        "--min-port=30001",
        "--max-port=65535",
        "--lt-cred-mech",
        "--realm=bench",
        "--allow-loopback-peers",
        "--no-dynamic-ip-list",
        "--no-dynamic-realms",
        "--no-auth-pings",
        "--no-stdout-log",
        "--log-file=/dev/null",
        "--userdb=turndb",
        "--pidfile=turnserver.pid",
    ]);
    command.arg(format!("--listening-ip={}", address.ip()));
    command.arg(format!("--relay-ip={}", address.ip()));
    command.arg(format!("--listening-port={}", address.port()));
    command.arg(format!("--tls-listening-port={}", tls.port()));
    command.arg(format!("--cert={CERTIFICATE}"));
    command.arg(format!("--pkey={KEY}"));
    command.arg(format!(
        "--user={}:{}",
        credential.username, credential.password
    ));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match Process::start(&mut command, &[SERVER_CORE], Some(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BenchError::NoCoturn),
        outcome => Ok(outcome?),
    }
}

/// A bare forwarder.
#[derive(Debug)]
pub struct Floor {
    pub process: Process,
    pub listening: Listening,
}

impl Floor {
    pub fn start(what: Forwarder, destinations: &Destinations) -> Result<Self, BenchError> {
        Self::start_as("forward", what.arguments(), destinations)
    }

    pub fn start_of_streams(
        what: StreamForwarder,
        destinations: &Destinations,
    ) -> Result<Self, BenchError> {
        Self::start_as("forward-streams", what.arguments(), destinations)
    }

    fn start_as(
        name: &str,
        arguments: Vec<String>,
        destinations: &Destinations,
    ) -> Result<Self, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, &[SERVER_CORE], None)?;
        // Kept open: the forwarder ends when it is closed.
        if let Some(input) = &mut process.child.stdin {
            writeln!(input, "{}", serde_json::json!(destinations))?;
        }
        let listening =
            serde_json::from_str(&process.line()?).map_err(|why| BenchError::NotStarted {
                name: "forwarder",
                why: why.to_string(),
            })?;
        Ok(Floor { process, listening })
    }
}

/// Sockets of clients or peers, and their addresses.
pub fn sockets(ip: IpAddr, count: usize) -> io::Result<(Vec<UdpSocket>, Vec<SocketAddr>)> {
    let sockets: Vec<UdpSocket> = (0..count)
        .map(|_| udp_socket(ip))
        .collect::<io::Result<_>>()?;
    let addresses = sockets.iter().map(UdpSocket::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    Ok((sockets, addresses))
}
