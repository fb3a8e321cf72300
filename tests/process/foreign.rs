//! Other people's clients, by client, transport and address family: coturn's, aioice's and libnice's. The table that
//! this makes is printed and written to `target/foreign-clients.md`; each cell is a run that lost nothing and that the
//! server counted, or says why there is none.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::relay::{Credential, Relay, Running};
use crate::support::{SOON, free_port, text};

/// From the client to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// The columns.
const WAYS: [(Transport, &str); 6] = [
    (Transport::Udp, "127.0.0.1"),
    (Transport::Udp, "::1"),
    (Transport::Tcp, "127.0.0.1"),
    (Transport::Tcp, "::1"),
    (Transport::Tls, "127.0.0.1"),
    (Transport::Tls, "::1"),
];

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }
}

/// Everything that a client needs to know.
#[derive(Clone)]
struct Place {
    port: u16,
    tls_port: u16,
    /// Of coturn's echo server, on both families.
    echo: u16,
    credential: (String, String),
    certificate: PathBuf,
}

impl Place {
    fn port(&self, transport: Transport) -> String {
        match transport {
            Transport::Tls => self.tls_port.to_string(),
            _ => self.port.to_string(),
        }
    }
}

/// What became of one run.
enum Cell {
    /// Bytes of payload that the client had relayed towards peers, at least, and a word about it.
    Green(u64, String),
    /// Why there is no run: a note below the table.
    Left(&'static str),
    Red(String),
}

/// A row: a client in one of its modes.
struct Row {
    name: &'static str,
    run: fn(&Place, Transport, &str) -> Cell,
}

const ROWS: &[Row] = &[
    Row {
        name: "`turnutils_stunclient`",
        run: stunclient,
    },
    Row {
        name: "`turnutils_natdiscovery -m -f`",
        run: natdiscovery,
    },
    Row {
        name: "`turnutils_uclient -y` (channels, caller to caller)",
        run: |place, transport, ip| uclient(place, transport, ip, &["-y"]),
    },
    Row {
        name: "`turnutils_uclient -y -s` (indications)",
        run: |place, transport, ip| uclient(place, transport, ip, &["-y", "-s"]),
    },
    Row {
        name: "`turnutils_uclient -e` (to `turnutils_peer`)",
        run: |place, transport, ip| to_echo(place, transport, ip, ip, &[]),
    },
    Row {
        name: "`turnutils_uclient -X -e 127.0.0.1` (IPv4 asked for)",
        run: |place, transport, ip| to_echo(place, transport, ip, "127.0.0.1", &["-X"]),
    },
    Row {
        name: "`turnutils_uclient -x -e ::1` (IPv6 asked for)",
        run: |place, transport, ip| to_echo(place, transport, ip, "::1", &["-x"]),
    },
    Row {
        name: "`turnutils_uclient -Z -y` (both families at once)",
        run: |place, transport, ip| uclient(place, transport, ip, &["-Z", "-y"]),
    },
    Row {
        name: "`turnutils_uclient -Z -e ::1` (both, to an IPv6 peer)",
        run: |place, transport, ip| to_echo(place, transport, ip, "::1", &["-Z"]),
    },
    Row {
        name: "`turnutils_uclient -M -e` (moves to another port, then sends; RFC 8016)",
        run: moving,
    },
    Row {
        name: "`turnutils_uclient -y -D` (padded over UDP as well)",
        run: |place, transport, ip| uclient(place, transport, ip, &["-y", "-D", "-l", "101"]),
    },
    Row {
        name: "`turnutils_uclient -y -g` (DONT-FRAGMENT)",
        run: |place, transport, ip| uclient(place, transport, ip, &["-y", "-g"]),
    },
    Row {
        name: "`turnutils_uclient -y -G -n 20` (refreshes in between)",
        run: |place, transport, ip| uclient(place, transport, ip, &["-y", "-G", "-n", "20"]),
    },
    Row {
        name: "`turnutils_uclient -y -m 10 -c -l 1400` (ten at once, long)",
        run: |place, transport, ip| {
            uclient(
                place,
                transport,
                ip,
                &["-y", "-m", "10", "-c", "-l", "1400"],
            )
        },
    },
    Row {
        name: "`turnutils_uclient -T -m 3 -l 1400` (TCP allocations, one connects to the other's)",
        run: |place, transport, ip| {
            over_stream(place, transport, ip, &["-T", "-m", "3", "-l", "1400"])
        },
    },
    Row {
        name: "`turnutils_uclient -P` (TCP allocations, to which a peer connects)",
        run: passive,
    },
    Row {
        name: "`turnutils_uclient -S` (DTLS)",
        run: |_, _, _| Cell::Left("DTLS is not spoken; ARCHITECTURE.md says why"),
    },
    Row {
        name: "aioice",
        run: aioice,
    },
    Row {
        name: "libnice",
        run: libnice,
    },
];

fn stunclient(place: &Place, transport: Transport, ip: &str) -> Cell {
    if transport != Transport::Udp {
        return Cell::Left("coturn's STUN client speaks UDP alone");
    }
    let output = Command::new("turnutils_stunclient")
        .args(["-p", &place.port(transport), ip])
        .output();
    let printed = printed(&output.expect("turnutils_stunclient, of Debian's package coturn"));
    match printed.contains(&format!("UDP reflexive addr: {ip}:")) {
        true => Cell::Green(0, "address told".to_owned()),
        false => Cell::Red(printed),
    }
}

fn natdiscovery(place: &Place, transport: Transport, ip: &str) -> Cell {
    if transport != Transport::Udp {
        return Cell::Left("NAT behaviour is that of UDP");
    }
    if ip.contains(':') {
        return Cell::Left("the server's second address is one of IPv4 here");
    }
    let output = Command::new("turnutils_natdiscovery")
        .args(["-m", "-f", "-p", &place.port(transport), ip])
        .output();
    let printed = printed(&output.expect("turnutils_natdiscovery, of Debian's package coturn"));
    let found = ["Mapping", "Filtering"]
        .iter()
        .all(|what| printed.contains(&format!("NAT with Endpoint Independent {what}!")));
    match found {
        true => Cell::Green(0, "no NAT found".to_owned()),
        false => Cell::Red(printed),
    }
}

fn printed(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// Sent messages of the default or the named length; all of them have to come back.
fn uclient(place: &Place, transport: Transport, ip: &str, mode: &[&str]) -> Cell {
    uclient_of(place, transport, ip, mode, 1)
}

/// Modes for TCP allocations (RFC 6062). The relay's own addresses are no peers over TCP, but for `turn.allow_peers`,
/// which names loopback here.
fn over_stream(place: &Place, transport: Transport, ip: &str, mode: &[&str]) -> Cell {
    if transport == Transport::Udp {
        return Cell::Left("TCP allocations are made over a stream (RFC 6062 §4.1)");
    }
    uclient(place, transport, ip, &[mode, &[family_of(ip)]].concat())
}

fn passive(place: &Place, transport: Transport, ip: &str) -> Cell {
    match transport {
        Transport::Udp => over_stream(place, transport, ip, &[]),
        // Half of what it counts goes to itself: so it is with coturn's server.
        Transport::Tcp => uclient_of(place, transport, ip, &["-P", family_of(ip)], 2),
        Transport::Tls => Cell::Left("coturn's client fails at this with coturn's server as well"),
    }
}

/// Data is sent from where the client has moved, so that none is for where it was.
fn moving(place: &Place, transport: Transport, ip: &str) -> Cell {
    match transport {
        Transport::Tls => Cell::Left("coturn's client fails at this with coturn's server as well"),
        _ => to_echo(place, transport, ip, "127.0.0.1", &["-M"]),
    }
}

/// Asks for a relayed address of this family.
fn family_of(ip: &str) -> &'static str {
    if ip.contains(':') { "-x" } else { "-X" }
}

/// One of so many has to come back.
fn uclient_of(place: &Place, transport: Transport, ip: &str, mode: &[&str], of: u64) -> Cell {
    let over: &[&str] = match transport {
        Transport::Udp => &[],
        Transport::Tcp => &["-t"],
        Transport::Tls => &["-t", "-S"],
    };
    let (username, password) = &place.credential;
    let output = Command::new("turnutils_uclient")
        .args(["-p", &place.port(transport), "-u", username, "-w", password])
        .args(over)
        .args(mode)
        .arg(ip)
        .output()
        .expect("turnutils_uclient, of Debian's package coturn");
    let printed = printed(&output);
    let value = |flag: &str, default| {
        let at = mode.iter().position(|argument| *argument == flag);
        at.map_or(default, |at| mode[at + 1].parse().unwrap())
    };
    let total = printed
        .lines()
        .find_map(|line| line.split_once("start_mclient: tot_send_msgs="))
        .and_then(|(_, counts)| counts.split_once(", tot_recv_msgs="))
        .and_then(|(sent, received)| {
            Some((sent.parse::<u64>().ok()?, received.parse::<u64>().ok()?))
        });
    match total {
        Some((sent, received)) if output.status.success() && sent == of * received && sent > 0 => {
            let bytes = received * value("-l", 100);
            Cell::Green(bytes, format!("{received}/{sent}"))
        }
        _ => Cell::Red(printed),
    }
}

fn to_echo(place: &Place, transport: Transport, ip: &str, peer: &str, mode: &[&str]) -> Cell {
    let echo = place.echo.to_string();
    let mode = [mode, &["-e", peer, "-r", &echo]].concat();
    uclient(place, transport, ip, &mode)
}

fn aioice(place: &Place, transport: Transport, ip: &str) -> Cell {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("target/python/bin/python"));
    // What Python's TLS trusts.
    command.env("SSL_CERT_FILE", &place.certificate);
    let script = root.join("tests/clients/aioice_call.py");
    python(command, &script, place, transport, ip)
}

fn libnice(place: &Place, transport: Transport, ip: &str) -> Cell {
    if transport == Transport::Tls {
        return Cell::Left("what libnice calls TLS is Google's pseudo-TLS, not RFC 8656 §3.1");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Debian's own Python, for which python3-gi is built.
    let command = Command::new("/usr/bin/python3");
    let script = root.join("tests/clients/nice_call.py");
    python(command, &script, place, transport, ip)
}

/// Two agents of one program, which says last how many bytes one of them heard.
fn python(mut command: Command, script: &Path, place: &Place, way: Transport, ip: &str) -> Cell {
    let (username, password) = &place.credential;
    let output = command
        .arg(script)
        .args([ip, &place.port(way), &way.name().to_lowercase()])
        .args([username, password])
        .output()
        .expect("the Python that scripts/setup brings");
    let printed = printed(&output);
    let relayed = printed
        .lines()
        .filter(|line| line.contains("relay"))
        .count();
    let heard = printed
        .lines()
        .find_map(|line| line.strip_prefix("heard "))
        .and_then(|count| count.parse().ok());
    match heard {
        Some(bytes) if output.status.success() && relayed >= 2 => {
            Cell::Green(bytes, format!("{bytes} B"))
        }
        _ => Cell::Red(printed),
    }
}

fn echo_server(port: u16) -> Child {
    Command::new("turnutils_peer")
        .args(["-p", &port.to_string(), "-L", "127.0.0.1", "-L", "::1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("turnutils_peer, of Debian's package coturn")
}

/// A certificate for both loopback addresses, and its key.
fn write_certificate(chain: &Path, key: &Path) {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(chain, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_clients_relay_over_each_transport_and_family() {
    let files = tempfile::tempdir().unwrap();
    let (chain, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    write_certificate(&chain, &key);
    let (port, tls_port, echo) = (free_port(), free_port(), free_port());
    let relay = Relay::start(&[
        &format!("--turn-listen=[::]:{port}"),
        &format!("--turn-tls-listen=[::]:{tls_port}"),
        &format!("--turn-tls-cert={}", chain.display()),
        &format!("--turn-tls-key={}", key.display()),
        "--turn-external-ip=127.0.0.1,::1",
        "--turn-alternate-ip=127.0.0.2",
        &format!("--turn-alternate-port={}", free_port()),
        "--turn-allow-peers=127.0.0.0/8,::1/128",
        // coturn's client leaves its allocations behind.
        "--turn-max-allocations-per-user=0",
    ]);
    let _echo = Running(echo_server(echo));
    let ann = relay.server.user("ann").await;
    let Credential { username, password } = relay.credential(&ann).await;
    let place = Place {
        port,
        tls_port,
        echo,
        credential: (username, password),
        certificate: chain,
    };

    let heads = WAYS.map(|(transport, ip)| {
        let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
        format!("{} {family}", transport.name())
    });
    let mut table = format!("| client | {} |\n|---|", heads.join(" | "));
    table += &"---|".repeat(WAYS.len());
    table.push('\n');
    let (mut notes, mut broken) = (Vec::new(), Vec::new());
    let counter = "moznods_turn_relayed_bytes_total{direction=\"to_peer\"}";
    for row in ROWS {
        let before = relay.metric(counter).await;
        let runs = WAYS.map(|(transport, ip)| {
            let place = place.clone();
            tokio::task::spawn_blocking(move || (row.run)(&place, transport, ip))
        });
        write!(table, "| {} |", row.name).unwrap();
        let mut expected = 0;
        for (run, head) in runs.into_iter().zip(&heads) {
            let shown = match run.await.unwrap() {
                Cell::Green(bytes, word) => {
                    expected += bytes;
                    format!("✓ {word}")
                }
                Cell::Left(why) => {
                    let number = notes.iter().position(|note| *note == why);
                    let number = number.unwrap_or_else(|| {
                        notes.push(why);
                        notes.len() - 1
                    });
                    format!("– ({})", number + 1)
                }
                Cell::Red(printed) => {
                    broken.push(format!("{}, {head}:\n{printed}", row.name));
                    "✗".to_owned()
                }
            };
            write!(table, " {shown} |").unwrap();
        }
        table.push('\n');
        // A client may be done before the last of it is counted.
        let started = Instant::now();
        let mut counted = relay.metric(counter).await - before;
        while counted < expected as f64 && started.elapsed() < SOON {
            tokio::time::sleep(Duration::from_millis(20)).await;
            counted = relay.metric(counter).await - before;
        }
        if counted < expected as f64 {
            broken.push(format!(
                "{}: {expected} bytes were relayed, the server counted {counted}",
                row.name
            ));
        }
        // Another client may get a port from which one of these has an allocation left, and be told 437.
        crate::relay_admin::printed(&relay.server, &["turn", "kill", "--user", "ann"]);
    }
    for (number, note) in notes.iter().enumerate() {
        write!(table, "\n({}) {note}.", number + 1).unwrap();
    }
    table.push('\n');
    println!("{table}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::write(target.join("foreign-clients.md"), &table).unwrap();
    assert!(broken.is_empty(), "{table}\n{}", broken.join("\n"));
}
