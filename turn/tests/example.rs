//! The example is a TURN server: its own process, and a client that relays through it.

mod support;

use std::net::UdpSocket;
use std::time::Duration;

use moznods_turn::auth::Key;
use moznods_turn::wire::{Builder, Method, attr};
use support::{Answer, Client, bind, channel_data, example, udp_transport};

fn ask(socket: &UdpSocket, client: &mut Client, bytes: &[u8]) -> Answer {
    socket.send(bytes).unwrap();
    let mut buffer = [0; 1500];
    let count = socket.recv(&mut buffer).expect("an answer");
    client.read(&buffer[..count])
}

#[test]
fn it_relays_for_its_user_in_under_sixty_lines() {
    let source = include_str!("../examples/relay.rs");
    assert!(source.lines().count() < 60);

    let (_example, address) = example::start("secret", None);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();

    let mut client = Client::new("alice");
    client.key = Key::long_term("alice", example::REALM, "secret");
    let bare = client.bare(Method::Allocate, udp_transport);
    assert_eq!(ask(&socket, &mut client, &bare).code, 401);
    let mut granted = |method, fill: &dyn Fn(&mut Builder<'_>)| {
        let bytes = client.request(method, fill);
        let answer = ask(&socket, &mut client, &bytes);
        assert_eq!((answer.code, answer.signed), (0, true));
        answer
    };
    let allocated = granted(Method::Allocate, &udp_transport);
    let relay = allocated.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    let to = peer.local_addr().unwrap();
    granted(Method::ChannelBind, &|m| bind(0x4000, to)(m));

    let mut buffer = [0; 100];
    socket.send(&channel_data(0x4000, b"ping")).unwrap();
    let (count, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..count], from), (&b"ping"[..], relay));
    peer.send_to(b"pong", relay).unwrap();
    let count = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..count], channel_data(0x4000, b"pong"));
}
