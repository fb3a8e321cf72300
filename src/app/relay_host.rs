//! By which host clients reach the relay. It is that of the web, unless that leads elsewhere: a proxy on another machine, or a
//! tunnel, carries requests and sockets, but neither TURN nor anything over UDP.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moznods_turn::net::address;
use moznods_turn::policy::is_public;
use tokio::sync::Semaphore;

use super::App;
use crate::config::ExternalIp;

/// For a name to be looked up.
const LOOKUP: Duration = Duration::from_secs(3);
/// How long it is believed where a name leads.
const BELIEVED: Duration = Duration::from_secs(300);
/// At one time, as people come by whatever names they like, and each takes a thread until the system's resolver gives up.
const LOOKUPS: usize = 2;
/// Names that are remembered.
const MAX_NAMES: usize = 64;
/// Between two warnings: by which names people come, they say themselves.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What URIs of the relay name, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayHost {
    pub host: String,
    /// Where it is reached over TLS, for which the name must be that of the certificate; `None`: it is not.
    pub of_tls: Option<String>,
}

impl RelayHost {
    /// The same for all transports.
    pub fn named(host: &str) -> Self {
        RelayHost {
            host: host.to_owned(),
            of_tls: Some(host.to_owned()),
        }
    }

    /// By an address, which stands in no certificate.
    pub fn at(ip: IpAddr) -> Self {
        RelayHost {
            host: match ip {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            },
            of_tls: None,
        }
    }
}

/// Where names lead, as far as it is known.
pub struct Names {
    known: Mutex<Known>,
    lookups: Arc<Semaphore>,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            known: Mutex::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

#[derive(Default)]
struct Known {
    leads: HashMap<String, (Leads, Instant)>,
    warned: Option<Instant>,
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads {
    Here,
    /// To addresses of these families.
    Elsewhere {
        ipv4: bool,
        ipv6: bool,
    },
}

impl App {
    /// For a client that reaches the web at `web`. `has_passed_tls`: its own TLS ends here, so that what it sends to other ports of
    /// that host may as well.
    pub async fn relay_host(&self, web: &str, has_passed_tls: bool) -> RelayHost {
        if let Some(host) = &self.config.turn.host {
            return RelayHost::named(host);
        }
        let own = match self.leads(web).await {
            Leads::Here => None,
            elsewhere @ Leads::Elsewhere { .. } => self.instead(elsewhere),
        };
        match own {
            // Where the name leads elsewhere, it may be to a NAT that nobody has told of.
            None => RelayHost::named(web),
            Some(ip) => RelayHost {
                of_tls: has_passed_tls.then(|| web.to_owned()),
                ..RelayHost::at(ip)
            },
        }
    }

    /// The relay's own address for those who come by such a name: one that they may be able to reach, as they reach what the name
    /// leads to.
    fn instead(&self, leads: Leads) -> Option<IpAddr> {
        let Leads::Elsewhere { ipv4, ipv6 } = leads else {
            return None;
        };
        let is_reached = |ip: &IpAddr| if ip.is_ipv4() { ipv4 } else { ipv6 };
        self.own_relay_addresses().find(is_reached)
    }

    /// Names by which people came and that lead elsewhere.
    pub fn names_elsewhere(&self) -> Vec<String> {
        let known = self.names.known();
        let elsewhere = known
            .leads
            .iter()
            .filter(|(_, (leads, _))| *leads != Leads::Here);
        let mut names: Vec<String> = elsewhere.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Addresses of the relay that others can reach, as far as that is known: the administrator has said so, or they are public.
    pub(super) fn own_relay_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let is_set = matches!(self.config.turn.external_ip, ExternalIp::Fixed(_));
        let addresses = self
            .relay()
            .into_iter()
            .flat_map(|relay| relay.relay_addresses().iter());
        addresses
            .map(|address| address.public)
            .filter(move |ip| is_set || is_public(*ip))
    }

    async fn leads(&self, host: &str) -> Leads {
        let is_here = host.eq_ignore_ascii_case("localhost")
            || host.starts_with('[')
            || host.parse::<IpAddr>().is_ok();
        let Some(relay) = self.relay().filter(|_| !is_here) else {
            return Leads::Here;
        };
        let host = host.to_ascii_lowercase();
        if let Some((leads, when)) = self.names.known().leads.get(&host)
            && when.elapsed() < BELIEVED
        {
            return *leads;
        }
        let relays = relay.relay_addresses().iter().map(|address| address.public);
        let looked_up = self.names.look_up(host.clone(), relays.collect());
        match tokio::time::timeout(LOOKUP, looked_up).await {
            Ok(Some(leads)) => {
                self.note_name(host, leads);
                leads
            }
            // What is not known leads here.
            _ => Leads::Here,
        }
    }

    fn note_name(&self, host: String, leads: Leads) {
        let mut known = self.names.known();
        if known.leads.len() >= MAX_NAMES && !known.leads.contains_key(&host) {
            let oldest = known.leads.iter().min_by_key(|(_, (_, when))| *when);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.map(|name| known.leads.remove(&name));
        }
        let now = Instant::now();
        let before = known.leads.insert(host.clone(), (leads, now));
        let is_news =
            leads != Leads::Here && before.is_none_or(|(before, _)| before == Leads::Here);
        if !is_news || known.warned.is_some_and(|last| now - last < WARN_EVERY) {
            return;
        }
        known.warned = Some(now);
        match self.instead(leads) {
            Some(relay) => tracing::warn!(
                %host, %relay,
                "people come by a name that leads elsewhere, to a proxy or a tunnel, which carries chat but no calls: \
                 callers are told the relay's own address instead, where the ports of turn.listen and turn.relay_ports \
                 have to be open; a name of its own in turn.host brings TURN over TLS as well"
            ),
            None => tracing::warn!(
                %host,
                "people come by a name that leads elsewhere, and no public address of this machine is known: a NAT \
                 before it has to pass the ports of turn.listen and turn.relay_ports, and its address belongs into \
                 turn.external_ip; a proxy or a tunnel carries chat but no calls, and with it people call each other only \
                 where they reach each other without the relay"
            ),
        }
    }
}

impl Names {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Elsewhere: to others than this machine and these addresses, and to none of them. `None`: that cannot be told.
    async fn look_up(&self, host: String, relays: Vec<IpAddr>) -> Option<Leads> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.ok()?;
        let look = move || {
            // As long as the resolver takes, however long anybody waits for it.
            let _permit = permit;
            let found = (host.as_str(), 0).to_socket_addrs().ok()?;
            let found: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
            let interfaces = address::interfaces().unwrap_or_default();
            let is_here =
                |ip: &IpAddr| ip.is_loopback() || interfaces.contains(ip) || relays.contains(ip);
            match found.is_empty() || found.iter().any(is_here) {
                true => Some(Leads::Here),
                false => Some(Leads::Elsewhere {
                    ipv4: found.iter().any(IpAddr::is_ipv4),
                    ipv6: found.iter().any(IpAddr::is_ipv6),
                }),
            }
        };
        tokio::task::spawn_blocking(look).await.ok()?
    }
}
