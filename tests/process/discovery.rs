//! NAT behaviour discovery (RFC 5780) as coturn's client sees it, and settings with which there is none.

use std::net::UdpSocket;
use std::process::Command;

use crate::support::{Server, free_port, moznods, text};

/// A server at 127.0.0.1 and 127.0.0.2, and its ports.
fn start() -> (Server, [u16; 2]) {
    let (port, alternate) = (free_port(), free_port());
    let server = Server::start(&[
        "--turn-enabled=true",
        &format!("--turn-listen=0.0.0.0:{port}"),
        "--turn-external-ip=127.0.0.1",
        "--turn-alternate-ip=127.0.0.2",
        &format!("--turn-alternate-port={alternate}"),
    ]);
    (server, [port, alternate])
}

fn natdiscovery(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("turnutils_natdiscovery")
        .args(arguments)
        .args(["-p", &port.to_string(), "127.0.0.1"])
        .output()
        .expect("turnutils_natdiscovery, of Debian's package coturn");
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{printed}");
    printed
}

#[tokio::test]
async fn coturns_client_finds_that_there_is_no_nat() {
    let (_server, [port, alternate]) = start();
    // With padding, requests and answers are in fragments wherever links are as usual.
    for padding in [&[][..], &["-P"]] {
        let printed = natdiscovery(port, &[&["-m", "-f"], padding].concat());
        for line in [
            "NAT with Endpoint Independent Mapping!",
            "NAT with Endpoint Independent Filtering!",
            // The mapping is asked for at the other address, the filter tried from the other address and port.
            &format!("Response origin: : 127.0.0.2:{port}"),
            &format!("Response origin: : 127.0.0.2:{alternate}"),
            &format!("Other addr: : 127.0.0.2:{alternate}"),
        ] {
            assert!(printed.contains(line), "{line}: {printed}");
        }
    }
}

#[tokio::test]
async fn coturns_client_tries_how_long_a_mapping_lasts() {
    let (_server, [port, _]) = start();
    let printed = natdiscovery(port, &["-t", "-T", "1"]);
    // The second answer goes to the port of the first request.
    assert!(printed.contains("RFC 5780 response 2"), "{printed}");
    let answers = printed.matches("UDP reflexive addr: 127.0.0.1:").count();
    assert_eq!(answers, 2, "{printed}");
}

#[tokio::test]
async fn without_an_alternate_address_coturns_client_is_told_so() {
    let port = free_port();
    let _server = Server::start(&[
        "--turn-enabled=true",
        &format!("--turn-listen=0.0.0.0:{port}"),
        "--turn-external-ip=127.0.0.1",
    ]);
    let output = Command::new("turnutils_natdiscovery")
        .args(["-m", "-p", &port.to_string(), "127.0.0.1"])
        .output()
        .unwrap();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(
        printed.contains("UDP reflexive addr: 127.0.0.1:"),
        "{printed}"
    );
    assert!(!printed.contains("Other addr"), "{printed}");
}

#[tokio::test]
async fn an_alternate_address_that_cannot_be_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let (port, taken) = (free_port(), free_port());
    let start = |arguments: &[&str]| {
        let output = moznods(directory.path())
            .args(["serve", "--http-listen=127.0.0.1:0"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let everywhere = format!("--turn-listen=0.0.0.0:{port}");
    let first = "--turn-external-ip=127.0.0.1";
    let second = "--turn-alternate-ip=127.0.0.2";
    assert_eq!(
        start(&["--turn-listen=127.0.0.1:0", first, second]),
        "moznods: turn.alternate_ip = \"127.0.0.2\" (--turn-alternate-ip): expected turn.listen on all addresses then, \
         such as [::]:3478\n"
    );
    assert_eq!(
        start(&[&everywhere, first, "--turn-alternate-ip=127.0.0.1"]),
        "moznods: turn.alternate_ip = \"127.0.0.1\" (--turn-alternate-ip): expected another address than \
         turn.external_ip\n"
    );
    let error = start(&[&everywhere, first, "--turn-alternate-ip=192.0.2.7"]);
    let begins = "moznods: turn.alternate_ip: 192.0.2.7 cannot be it; expected an address of this machine, which has ";
    assert!(error.starts_with(begins), "{error}");
    // Two names for what is one address here.
    let error = start(&[
        &everywhere,
        "--turn-external-ip=192.0.2.8/127.0.0.2",
        "--turn-alternate-ip=192.0.2.7/127.0.0.2",
    ]);
    assert_eq!(
        error,
        "moznods: turn.alternate_ip: 127.0.0.2 cannot be it; expected another address than that which the relay has \
         already\n"
    );
    assert_eq!(
        start(&[&everywhere, first, "--turn-alternate-ip=auto"]),
        "moznods: turn.alternate_ip = \"auto\" (--turn-alternate-ip): expected A.B.C.D, or PUBLIC/PRIVATE; at most one \
         for IPv4 and one for IPv6\n"
    );
    let same = format!("--turn-alternate-port={port}");
    assert_eq!(
        start(&[&everywhere, first, second, &same]),
        format!(
            "moznods: turn.alternate_port = \"{port}\" (--turn-alternate-port): expected another port than that of \
             turn.listen\n"
        )
    );
    let _taken = UdpSocket::bind(("0.0.0.0", taken)).unwrap();
    assert_eq!(
        start(&[
            &everywhere,
            first,
            second,
            &format!("--turn-alternate-port={taken}")
        ]),
        format!(
            "moznods: turn.alternate_port = \"0.0.0.0:{taken}\": UDP: Address already in use (os error 98); expected an \
             address of this machine and a free port\n"
        )
    );
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 0, "nothing is made");
}
