//! By which host clients reach the relay. It is that of the web, unless that leads elsewhere: a proxy on another machine, or a
//! tunnel, carries requests and sockets, but neither TURN nor anything over UDP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use moznods_turn::net::address;
use moznods_turn::policy::is_public;

use super::App;
use crate::config::ExternalIp;

/// For a name to be looked up.
const LOOKUP: Duration = Duration::from_secs(3);
/// How long it is believed where a name leads.
const BELIEVED: Duration = Duration::from_secs(300);
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
}

/// Where names lead, as far as it is known.
#[derive(Default)]
pub struct Names(Mutex<Known>);

#[derive(Default)]
struct Known {
    elsewhere: HashMap<String, (bool, Instant)>,
    warned: Option<Instant>,
}

impl App {
    /// For a client that reaches the web at `web`. `has_passed_tls`: its own TLS ends here, so that what it sends to other ports of
    /// that host may as well.
    pub async fn relay_host(&self, web: &str, has_passed_tls: bool) -> RelayHost {
        if let Some(host) = &self.config.turn.host {
            return RelayHost::named(host);
        }
        match self.leads_elsewhere(web).await {
            true => match self.own_relay_address() {
                Some(IpAddr::V4(ip)) => RelayHost {
                    host: ip.to_string(),
                    of_tls: has_passed_tls.then(|| web.to_owned()),
                },
                Some(IpAddr::V6(ip)) => RelayHost {
                    host: format!("[{ip}]"),
                    of_tls: has_passed_tls.then(|| web.to_owned()),
                },
                // It may be the address of a NAT that nobody has told of.
                None => RelayHost::named(web),
            },
            false => RelayHost::named(web),
        }
    }

    /// Names by which people came and that lead elsewhere.
    pub fn names_elsewhere(&self) -> Vec<String> {
        let known = self.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = known
            .elsewhere
            .iter()
            .filter(|(_, (elsewhere, _))| *elsewhere);
        let mut names: Vec<String> = elsewhere.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// An address of the relay that others can reach, as far as that is known: the administrator has said so, or it is public.
    pub fn own_relay_address(&self) -> Option<IpAddr> {
        let is_set = matches!(self.config.turn.external_ip, ExternalIp::Fixed(_));
        let addresses = self.relay()?.relay_addresses().iter();
        let mut addresses = addresses.map(|address| address.public);
        addresses.find(|ip| is_set || is_public(*ip))
    }

    async fn leads_elsewhere(&self, host: &str) -> bool {
        let is_here = host.eq_ignore_ascii_case("localhost")
            || host.starts_with('[')
            || host.parse::<IpAddr>().is_ok();
        let Some(relay) = self.relay().filter(|_| !is_here) else {
            return false;
        };
        let host = host.to_ascii_lowercase();
        {
            let known = self.names.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((elsewhere, when)) = known.elsewhere.get(&host)
                && when.elapsed() < BELIEVED
            {
                return *elsewhere;
            }
        }
        let relays = relay.relay_addresses().iter().map(|address| address.public);
        let elsewhere = look_up(&host, relays.collect()).await;
        self.note_name(host, elsewhere);
        elsewhere
    }

    fn note_name(&self, host: String, elsewhere: bool) {
        let mut known = self.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.elsewhere.len() >= MAX_NAMES && !known.elsewhere.contains_key(&host) {
            let oldest = known.elsewhere.iter().min_by_key(|(_, (_, when))| *when);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.map(|name| known.elsewhere.remove(&name));
        }
        let now = Instant::now();
        let before = known.elsewhere.insert(host.clone(), (elsewhere, now));
        let is_news = elsewhere && before.is_none_or(|(elsewhere, _)| !elsewhere);
        if !is_news || known.warned.is_some_and(|last| now - last < WARN_EVERY) {
            return;
        }
        known.warned = Some(now);
        match self.own_relay_address() {
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

/// Whether the name leads to others than this machine and these addresses, and to none of them. What is not known does not.
async fn look_up(host: &str, relays: Vec<IpAddr>) -> bool {
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, 0))).await;
    let Ok(Ok(found)) = found else { return false };
    let interfaces = address::interfaces().unwrap_or_default();
    let mut found = found.map(|address| address.ip().to_canonical()).peekable();
    let is_here = |ip: IpAddr| ip.is_loopback() || interfaces.contains(&ip) || relays.contains(&ip);
    found.peek().is_some() && !found.any(is_here)
}
