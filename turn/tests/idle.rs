//! What thousands of allocations cost that nobody talks through, and that their memory is given back once they have
//! ended.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay, give_memory_back, raise_file_limit};
use moznods_turn::wire::{Builder, Method, attr};
use support::memory::{resident, settle};
use support::sockets::{PATIENCE, config, live, wait_until};
use support::{Client, Users, bind, namespace, udp_transport};

const ALLOCATIONS: usize = 5000;
/// Bytes of memory that each may take, with one permission and one channel.
const COST: usize = 2560;
/// What may be left while one of the last lives on.
const LEFT_FOR_ONE: usize = ALLOCATIONS * COST / 8;
/// What may be left of all of them: pages that are only partly free.
const LEFT: usize = ALLOCATIONS * COST / 20;

/// A caller of its own address, so that no port that it was given is one that is to be relayed from.
struct Caller {
    socket: UdpSocket,
    nonce: Vec<u8>,
}

impl Caller {
    fn arrive(relay: &Relay) -> Self {
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        socket.connect(relay.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let nonce = Vec::new();
        let mut caller = Caller { socket, nonce };
        // It has no nonce yet, and is told one.
        assert_eq!(caller.ask(Method::Allocate, udp_transport), 438);
        assert_eq!(caller.ask(Method::Allocate, udp_transport), 0);
        let peer = SocketAddr::from(([127, 0, 0, 3], 5000));
        assert_eq!(caller.ask(Method::ChannelBind, bind(0x4000, peer)), 0);
        caller
    }

    fn leave(mut self) {
        assert_eq!(self.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0)), 0);
    }

    fn ask(&mut self, method: Method, fill: impl FnOnce(&mut Builder<'_>)) -> u16 {
        let mut client = Client::new("alice");
        client.nonce = std::mem::take(&mut self.nonce);
        self.socket.send(&client.request(method, fill)).unwrap();
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).unwrap();
        let code = client.read(&buffer[..length]).code;
        self.nonce = client.nonce;
        code
    }
}

#[test]
fn idle_allocations_cost_little_and_leave_nothing() {
    // With the allocator as it is for others, which keeps more than in other tests.
    let set_up =
        "ip link set lo up && unset MALLOC_ARENA_MAX MALLOC_TRIM_THRESHOLD_ && exec \"$0\" \"$@\"";
    if !namespace::enter_as("idle_allocations_cost_little_and_leave_nothing", set_up) {
        return;
    }
    raise_file_limit().unwrap();
    give_memory_back();
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let mut config = config("127.0.0.1", &["127.0.0.0/8"]);
    config.limits.allocations_per_owner = 0;
    config.limits.unauthenticated_per_second = 0;
    let relay = Relay::start(listeners, config, Arc::<Users>::default()).unwrap();
    // Once all buffers are as large as they get.
    (0..200)
        .map(|_| Caller::arrive(&relay))
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(Caller::leave);

    let before = settle(resident);
    for _ in 0..2 {
        let callers: Vec<_> = (0..ALLOCATIONS).map(|_| Caller::arrive(&relay)).collect();
        let cost = settle(resident) - before;
        // One of the last stays, so that not even the tables are empty.
        let mut leaving = callers.into_iter().rev();
        let last = leaving.next().unwrap();
        leaving.for_each(Caller::leave);
        let held = || resident().saturating_sub(before);
        wait_until("most is given back", || held() <= LEFT_FOR_ONE);
        last.leave();
        wait_until("all allocations end", || live(&relay) == 0);
        wait_until("all is given back", || held() <= LEFT);
        println!("{} bytes each; {} left of all", cost / ALLOCATIONS, held());
        assert!(cost <= ALLOCATIONS * COST, "{cost} bytes");
    }
}
