//! Addresses and names: whether a NAT lies between this machine and the world, what STUN servers see, whether the address that
//! callers are told leads back here, and where the server's name leads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use axum::http::Request;
use moznods_turn::net::address;
use moznods_turn::policy::is_public;
use serde_json::Value;

use super::ports::Relay;
use super::report::Report;
use super::{Running, certificates};
use crate::cli::Outcome;
use crate::config::{Config, ExternalIp, host_of};
use crate::outbound::{Bounds, Outbound, Reach};

const CHECK: &str = "address";
const WAIT: Duration = Duration::from_secs(4);
/// For a name to be looked up.
const LOOKUP: Duration = Duration::from_secs(10);
const BOUNDS: Bounds = Bounds {
    within: Duration::from_secs(10),
    body: 64 * 1024,
};

/// Of the relay.
pub async fn look(config: &Config, relay: &Relay, report: &mut Report) -> Outcome {
    let interfaces = address::interfaces()?;
    for &(public, local) in &relay.addresses {
        let is_here = interfaces.contains(&public) || public.is_loopback();
        let port = relay.listen.port();
        let servers = match is_here {
            true => Vec::new(),
            false => config.ice.extra_stun.clone(),
        };
        let asking =
            tokio::task::spawn_blocking(move || (seen(&servers, local), silent(public, port)));
        let (seen, silent) = asking.await.map_err(std::io::Error::other)?;
        let shown = (public.to_string(), local.to_string(), port.to_string());
        let mut values = vec![
            ("public", &*shown.0),
            ("local", &*shown.1),
            ("port", &*shown.2),
        ];
        if let Some(transport) = silent {
            values.push(("transport", transport));
        }
        if is_here {
            match silent {
                Some(_) => report.wrong(CHECK, "address_closed", &values)?,
                None if is_public(public) => report.right(CHECK, "address_own", &values)?,
                None => report.better(CHECK, "address_private", &values)?,
            }
            continue;
        }
        let seen = seen.map(|(server, seen)| (server, seen.to_string(), seen == public));
        match &seen {
            Some((server, seen, is_it)) => {
                values.extend([("server", &**server), ("seen", &**seen)]);
                if !is_it {
                    report.wrong(CHECK, "address_other", &values)?;
                    continue;
                }
                report.right(CHECK, "address_seen", &values)?;
                if silent.is_some() {
                    report.better(CHECK, "address_silent", &values)?;
                }
            }
            None if silent.is_some() => report.wrong(CHECK, "address_silent", &values)?,
            None => report.right(CHECK, "address_back", &values)?,
        }
    }
    Ok(())
}

/// What the first of these STUN servers that answers sees, and its name.
fn seen(servers: &[String], local: IpAddr) -> Option<(String, IpAddr)> {
    servers.iter().find_map(|server| {
        let seen = address::mapped_address(server, local).ok()?;
        Some((server.clone(), seen))
    })
}

/// The transport over which nothing answers there.
fn silent(public: IpAddr, port: u16) -> Option<&'static str> {
    let any: IpAddr = match public {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let address = SocketAddr::new(public, port);
    if address::mapped_address(&address.to_string(), any).is_err() {
        return Some("UDP");
    }
    TcpStream::connect_timeout(&address, WAIT)
        .is_err()
        .then_some("TCP")
}

/// Of the name in `public_url`, and of what answers there.
pub async fn of_name(
    config: &Config,
    running: Option<&Running>,
    relay: Option<&Relay>,
    report: &mut Report,
) -> Outcome {
    let check = "name";
    let interfaces = address::interfaces()?;
    let own = own_addresses(config, relay, &interfaces);
    if let (Some(host), Some(_)) = (&config.turn.host, relay) {
        of_relay_host(host, &own, report).await?;
    }
    let Some(url) = &config.public_url else {
        let names = running.map_or(&[][..], |running| &running.told.names_elsewhere);
        for name in names {
            carried(config, name, relay, report)?;
        }
        return report.unknown(check, "name_none", &[]);
    };
    let host = host_of(url);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = match look_up(bare).await {
        Ok(found) => found,
        Err(error) => {
            let values = [("host", host), ("error", &*error.to_string())];
            return report.wrong(check, "name_unknown", &values);
        }
    };
    let elsewhere: Vec<IpAddr> = found
        .iter()
        .copied()
        .filter(|ip| !own.contains(ip) && !ip.is_loopback())
        .collect();
    let shown = (list(&found), list(&elsewhere), list(&own));
    let values = [
        ("host", host),
        ("found", &*shown.0),
        ("elsewhere", &*shown.1),
        ("own", &*shown.2),
    ];
    let is_local = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if elsewhere.len() == found.len() {
        // A proxy or a tunnel brings what comes there to this server; whatever else is there does not.
        return match running {
            Some(running) if answers(url, running).await == Ok(None) => {
                carried(config, host, relay, report)?;
                report.right("url", "url_right", &[("url", url)])
            }
            _ => report.wrong(check, "name_elsewhere", &values),
        };
    }
    if !elsewhere.is_empty() {
        report.wrong(check, "name_partly", &values)?;
    } else if !is_local && found.iter().all(IpAddr::is_loopback) {
        report.unknown(check, "name_hosts", &values)?;
    } else {
        report.right(check, "name_right", &values)?;
    }
    if !is_local && url.starts_with("http://") {
        report.better("url", "url_plain", &[("url", url)])?;
    }
    let Some(running) = running else {
        return Ok(());
    };
    // Some NATs do not bring back what comes from inside.
    let is_near = found
        .iter()
        .all(|ip| interfaces.contains(ip) || ip.is_loopback());
    page(url, running, is_near, report).await?;
    match (url.starts_with("https://"), found.first()) {
        (true, Some(&ip)) => {
            let port = url
                .parse::<axum::http::Uri>()
                .ok()
                .and_then(|url| url.port_u16());
            let address = SocketAddr::new(ip, port.unwrap_or(443));
            certificates::of_host(host, address, report).await
        }
        _ => Ok(()),
    }
}

async fn look_up(host: &str) -> std::io::Result<Vec<IpAddr>> {
    let lookup = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, 0))).await;
    let found = lookup.unwrap_or_else(|late| Err(late.into()))?;
    Ok(found.map(|address| address.ip().to_canonical()).collect())
}

/// Of a name by which people come through a proxy or a tunnel.
fn carried(config: &Config, host: &str, relay: Option<&Relay>, report: &mut Report) -> Outcome {
    let check = "name";
    let Some(relay) = relay else {
        return report.right(check, "name_chat", &[("host", host)]);
    };
    let is_set = matches!(config.turn.external_ip, ExternalIp::Fixed(_));
    let mut addresses = relay.addresses.iter().map(|address| address.0);
    let known = addresses.find(|ip| is_set || is_public(*ip));
    match (&config.turn.host, known) {
        (Some(own), _) => report.right(check, "name_carried", &[("host", host), ("own", own)]),
        (None, Some(own)) => {
            let port = relay.listen.port().to_string();
            let own = own.to_string();
            let values = [("host", host), ("own", &*own), ("port", &*port)];
            report.better(check, "name_tunnel", &values)
        }
        (None, None) => report.wrong(check, "name_tunnel_alone", &[("host", host)]),
    }
}

/// Of the name that callers are told for the relay.
async fn of_relay_host(host: &str, own: &[IpAddr], report: &mut Report) -> Outcome {
    let check = "relay_host";
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = match look_up(bare).await {
        Ok(found) => found,
        Err(error) => {
            let values = [("host", host), ("error", &*error.to_string())];
            return report.wrong(check, "relay_host_unknown", &values);
        }
    };
    let shown = (list(&found), list(own));
    let values = [("host", host), ("found", &*shown.0), ("own", &*shown.1)];
    match found.iter().any(|ip| own.contains(ip) || ip.is_loopback()) {
        true => report.right(check, "relay_host_right", &values),
        false => report.wrong(check, "relay_host_elsewhere", &values),
    }
}

/// By what the servers tell clients to reach a relay that is alone.
pub async fn of_relay_alone(config: &Config, relay: &Relay, report: &mut Report) -> Outcome {
    let interfaces = address::interfaces()?;
    let own = own_addresses(config, Some(relay), &interfaces);
    match config.relay_name() {
        Some(host) => of_relay_host(host, &own, report).await,
        None => {
            let is_set = matches!(config.turn.external_ip, ExternalIp::Fixed(_));
            let mut addresses = relay.addresses.iter().map(|address| address.0);
            match addresses.find(|ip| is_set || is_public(*ip)) {
                Some(own) => {
                    let own = own.to_string();
                    report.right("relay_host", "relay_host_address", &[("own", &own)])
                }
                None => report.wrong("relay_host", "relay_host_none", &[]),
            }
        }
    }
}

/// Those of the interfaces, and what others see of them.
fn own_addresses(config: &Config, relay: Option<&Relay>, interfaces: &[IpAddr]) -> Vec<IpAddr> {
    let mut own: Vec<IpAddr> = interfaces
        .iter()
        .copied()
        .filter(|ip| !ip.is_loopback())
        .collect();
    own.extend(
        relay
            .iter()
            .flat_map(|relay| &relay.addresses)
            .map(|address| address.0),
    );
    if let ExternalIp::Fixed(fixed) = &config.turn.external_ip {
        own.extend(fixed.iter().map(|address| address.public));
    }
    own.sort();
    own.dedup();
    own
}

fn list(addresses: &[IpAddr]) -> String {
    let mut texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.dedup();
    texts.join(", ")
}

/// Who answers there: `None` for this server, for another program the status of its answer. An error says why nobody does.
async fn answers(url: &str, running: &Running) -> Result<Option<u16>, String> {
    let request = Request::get(format!("{url}/api/config/")).body("");
    let request = request.map_err(|error| error.to_string())?;
    let outbound = Outbound::default();
    let answer = outbound.fetch(request, Reach::Anywhere, BOUNDS).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let told: Option<Value> = serde_json::from_slice(answer.body()).ok();
    let is_ours = told.is_some_and(|told| {
        told["version"].is_string()
            && told["push_public_key"].as_str() == running.told.push_public_key.as_deref()
    });
    Ok((!is_ours).then_some(answer.status().as_u16()))
}

/// Whether this server answers there.
async fn page(url: &str, running: &Running, is_near: bool, report: &mut Report) -> Outcome {
    let check = "url";
    match answers(url, running).await {
        Ok(None) => report.right(check, "url_right", &[("url", url)]),
        Ok(Some(status)) => {
            let status = status.to_string();
            report.wrong(check, "url_other", &[("url", url), ("status", &status)])
        }
        Err(error) => {
            let values = [("url", url), ("error", &*error)];
            match is_near {
                true => report.wrong(check, "url_silent", &values),
                false => report.better(check, "url_silent", &values),
            }
        }
    }
}
