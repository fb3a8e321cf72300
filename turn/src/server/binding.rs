//! Binding: which address a client has (RFC 8489 §12), and how the NAT before it behaves (RFC 5780).

use std::net::SocketAddr;

use super::limiter::Address;
use super::request::{Code, is_unknown_required, unknown_attributes};
use super::{FiveTuple, Now, RelayAddress, Server, Transport, Verdict};
use crate::wire::{Builder, Class, Message, Method, attr, padded};

/// RFC 5780 §6.1: of the answer, that of the outgoing interface, rounded up.
const PADDING_MAX: usize = 1500;

/// The two addresses of a family and the two ports between which a client learns how its NAT behaves (RFC 5780 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// Both of one family, and the server listens at both.
    pub addresses: [RelayAddress; 2],
    /// At which the server listens, for UDP and TCP, on each address.
    pub ports: [u16; 2],
}

/// One of the four combinations: indices into [`Discovery::addresses`] and [`Discovery::ports`].
#[derive(Clone, Copy)]
struct Place {
    address: usize,
    port: usize,
}

impl Place {
    /// RFC 5780 §6.1, table 1.
    fn change(self, asked: Change) -> Self {
        Place {
            address: self.address ^ usize::from(asked.address),
            port: self.port ^ usize::from(asked.port),
        }
    }
}

/// CHANGE-REQUEST (RFC 5780 §7.2).
#[derive(Clone, Copy, Default)]
struct Change {
    address: bool,
    port: bool,
}

impl Discovery {
    pub(super) fn is_usable(&self) -> bool {
        let [first, second] = self.addresses;
        let ips = [first.public, first.local, second.public, second.local];
        let one_family = ips.iter().all(|ip| ip.is_ipv4() == first.public.is_ipv4());
        one_family
            && !ips.iter().any(|ip| ip.is_unspecified())
            && first.public != second.public
            && first.local != second.local
            && self.ports[0] != self.ports[1]
    }

    /// Where a request has arrived.
    fn place(&self, server: SocketAddr) -> Option<Place> {
        let mut addresses = self.addresses.iter();
        Some(Place {
            address: addresses.position(|address| address.local == server.ip())?,
            port: self.ports.iter().position(|port| *port == server.port())?,
        })
    }

    /// As clients see it, and as it is bound here.
    fn at(&self, place: Place) -> Option<(SocketAddr, SocketAddr)> {
        let address = self.addresses.get(place.address)?;
        let port = *self.ports.get(place.port)?;
        Some((
            SocketAddr::new(address.public, port),
            SocketAddr::new(address.local, port),
        ))
    }
}

/// What the answer is beyond the client's address.
#[derive(Default)]
struct Extras {
    /// Bytes of PADDING.
    padding: Option<usize>,
    other: Option<SocketAddr>,
    origin: Option<SocketAddr>,
}

impl Server {
    /// No credentials are needed.
    pub(super) fn binding(&mut self, now: Now, tuple: FiveTuple, message: Message<'_>) -> Verdict {
        let config = self.common.config();
        let found = config.discovery.iter().find_map(|discovery| {
            let place = discovery.place(tuple.server)?;
            Some((*discovery, place))
        });
        let understood = |kind| match kind {
            attr::PADDING => found.is_some(),
            // A stream cannot be answered from elsewhere, or to elsewhere.
            attr::CHANGE_REQUEST | attr::RESPONSE_PORT => {
                found.is_some() && tuple.transport == Transport::Udp
            }
            kind => !is_unknown_required(kind),
        };
        let unknown = unknown_attributes(&message, |kind| !understood(kind));
        if !unknown.is_empty() {
            return self.refuse_binding(now, tuple, message, Code::UnknownAttribute, &unknown);
        }
        let mut extras = Extras::default();
        let mut to = tuple;
        if let Some((discovery, here)) = found {
            let asked = change_request(&message).and_then(|change| {
                let port = response_port(&message)?;
                extras.padding = message.get(attr::PADDING).map(<[u8]>::len);
                // RFC 5780 §7.5: the two together would hit a third party with much.
                match (port, extras.padding) {
                    (Some(_), Some(_)) => Err(Code::BadRequest),
                    _ => Ok((change, port)),
                }
            });
            let (change, port) = match asked {
                Ok(asked) => asked,
                Err(code) => return self.refuse_binding(now, tuple, message, code, &[]),
            };
            let other = here.change(Change {
                address: true,
                port: true,
            });
            extras.other = discovery.at(other).map(|(public, _)| public);
            if let Some((public, local)) = discovery.at(here.change(change)) {
                extras.origin = Some(public);
                to.server = local;
            }
            to.client.set_port(port.unwrap_or(tuple.client.port()));
        }
        let id = message.transaction_id();
        let address = Address::by_transport(tuple.transport);
        let verdict = self.answer_unproven(now, tuple, message, address, 0, |out, room| {
            let mut answer = Builder::new(out, Method::Binding, Class::Success, id);
            // Without MAPPED-ADDRESS, though RFC 5780 §6.1 wants both: it would take the room of OTHER-ADDRESS.
            answer.xor_address(attr::XOR_MAPPED_ADDRESS, tuple.client);
            extras.add(&mut answer, room);
            answer
        });
        match verdict {
            Verdict::Answer if to != tuple => Verdict::AnswerTo(to),
            verdict => verdict,
        }
    }

    fn refuse_binding(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'_>,
        code: Code,
        unknown: &[u16],
    ) -> Verdict {
        let id = message.transaction_id();
        let address = Address::by_transport(tuple.transport);
        self.answer_unproven(now, tuple, message, address, code as u16, |out, _| {
            let mut answer = Builder::new(out, Method::Binding, Class::Error, id);
            answer.error_code(code as u16, "");
            if !unknown.is_empty() {
                answer.unknown_attributes(unknown);
            }
            answer
        })
    }
}

impl Extras {
    /// As far as there is room, the most useful first: not even RFC 5780 makes an answer to an unproven address more
    /// than three times what it sent.
    fn add(&self, answer: &mut Builder<'_>, room: usize) {
        if let Some(asked) = self.padding {
            // No longer than the request's.
            let len = padded(asked).min(PADDING_MAX);
            let zeros = [0; PADDING_MAX];
            if let Some(padding) = zeros.get(..len)
                && answer.len() + 4 + len <= room
            {
                answer.attribute(attr::PADDING, padding);
            }
        }
        for (kind, address) in [
            (attr::OTHER_ADDRESS, self.other),
            (attr::RESPONSE_ORIGIN, self.origin),
        ] {
            let Some(address) = address else { continue };
            let len = if address.is_ipv4() { 8 } else { 20 };
            if answer.len() + 4 + len <= room {
                answer.address(kind, address);
            }
        }
    }
}

fn change_request(message: &Message<'_>) -> Result<Change, Code> {
    match message.get(attr::CHANGE_REQUEST) {
        None => Ok(Change::default()),
        Some(&[_, _, _, flags]) => Ok(Change {
            address: flags & 0x04 != 0,
            port: flags & 0x02 != 0,
        }),
        Some(_) => Err(Code::BadRequest),
    }
}

/// RFC 5780 §7.5: a port, with or without two bytes of padding. Nobody can be answered at port 0.
fn response_port(message: &Message<'_>) -> Result<Option<u16>, Code> {
    match message.get(attr::RESPONSE_PORT) {
        None => Ok(None),
        Some(&[p0, p1] | &[p0, p1, _, _]) if (p0, p1) != (0, 0) => {
            Ok(Some(u16::from_be_bytes([p0, p1])))
        }
        Some(_) => Err(Code::BadRequest),
    }
}
