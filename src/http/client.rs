//! What a request tells of who asks: address, language, and the URL by which he reached us. Proxies are believed
//! only when the administrator names them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

use super::Edge;
use super::accept::Way;
use crate::config;
use crate::i18n::Lang;

/// What proxies add.
const FORWARDED: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

pub fn language(headers: &HeaderMap) -> Lang {
    text(headers, header::ACCEPT_LANGUAGE.as_str()).map_or(Lang::default(), Lang::from_accept)
}

/// Where the request comes from: the last hop that is not a trusted proxy.
pub fn address(edge: &Edge, parts: &Parts) -> IpAddr {
    let mut address = peer(parts);
    for hop in hops(parts).rev() {
        if !is_trusted(edge, address) {
            break;
        }
        let Some(before) = hop_address(hop) else {
            break;
        };
        address = before;
    }
    address
}

/// Whether the last on the way says whom it passes something on for.
pub fn names_client(parts: &Parts) -> bool {
    hops(parts).next_back().and_then(hop_address).is_some()
}

fn hops(parts: &Parts) -> impl DoubleEndedIterator<Item = &str> {
    let values = parts.headers.get_all("x-forwarded-for").iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(','))
}

/// As proxies write it: some with the port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop
        .strip_prefix('[')
        .and_then(|hop| hop.strip_suffix(']'))
        .unwrap_or(hop);
    let with_port = || hop.parse::<SocketAddr>().map(|hop| hop.ip());
    let address = bare.parse::<IpAddr>().or_else(|_| with_port());
    Some(address.ok()?.to_canonical())
}

/// Whether the one who asks sits at this machine; a proxy here asks for others.
pub fn is_local(parts: &Parts) -> bool {
    let way = parts.extensions.get::<Way>();
    peer(parts).is_loopback() && !is_passed_on(parts) && way.is_some_and(|way| !way.is_balanced)
}

/// Whether the client's TLS ends here: what stands between passes it on as it is.
pub fn has_passed_tls(parts: &Parts) -> bool {
    let way = parts.extensions.get::<Way>();
    way.is_some_and(|way| way.has_tls) && !is_passed_on(parts)
}

/// Whether something on the way says that it passes on what others ask.
pub fn is_passed_on(parts: &Parts) -> bool {
    FORWARDED
        .iter()
        .any(|name| parts.headers.contains_key(*name))
}

pub fn is_trusted(edge: &Edge, address: IpAddr) -> bool {
    let trusted = &edge.app.config.http.trusted_proxies;
    trusted.iter().any(|net| net.contains(&address))
}

/// By which address a connection counts in what networks may have: those behind a proxy are known by their requests, and
/// those behind a balancer by what it says.
pub fn counted(edge: &Edge, address: IpAddr) -> Option<IpAddr> {
    let known = is_trusted(edge, address) || is_balancer(edge, address);
    (!known).then_some(address)
}

/// Whether connections from there begin with a PROXY header.
pub fn is_balancer(edge: &Edge, address: IpAddr) -> bool {
    let balancers = &edge.app.config.http.proxy_protocol;
    balancers.iter().any(|net| net.contains(&address))
}

/// Every connection comes with one; without, it would be a stranger.
pub fn peer(parts: &Parts) -> IpAddr {
    let way = parts.extensions.get::<Way>();
    way.map_or(Ipv6Addr::UNSPECIFIED.into(), |way| {
        way.peer.ip().to_canonical()
    })
}

/// Whether nobody on the way to us, or to the proxy that is believed, could read along.
pub fn is_secure(edge: &Edge, parts: &Parts) -> bool {
    parts
        .extensions
        .get::<Way>()
        .is_some_and(|way| way.is_secure)
        || forwarded(edge, parts, "x-forwarded-proto") == Some("https")
}

/// `scheme://host[:port]` of this server as its clients see it.
pub fn base_url(edge: &Edge, parts: &Parts) -> String {
    if let Some(url) = &edge.app.config.public_url {
        return url.clone();
    }
    let scheme = match is_secure(edge, parts) {
        true => "https",
        false => "http",
    };
    format!("{scheme}://{}", host(edge, parts))
}

/// `host[:port]` that the client asked for, if it is one.
pub fn host(edge: &Edge, parts: &Parts) -> String {
    let of_header = |text: Option<&str>| text?.parse::<Authority>().ok();
    let asked = of_header(forwarded(edge, parts, "x-forwarded-host"))
        .or_else(|| parts.uri.authority().cloned())
        .or_else(|| of_header(text(&parts.headers, "host")));
    match asked {
        Some(authority) if !authority.as_str().contains('@') => authority.to_string(),
        _ => "localhost".to_owned(),
    }
}

/// Where the client is, as a trusted proxy says in the header that is for it.
pub fn region(edge: &Edge, parts: &Parts) -> Option<String> {
    let header = edge.app.config.turn.region_header.as_ref()?;
    config::region(forwarded(edge, parts, header.as_str())?)
}

/// What the outermost proxy says of its client's request; those behind it add to the list.
fn forwarded<'a>(edge: &Edge, parts: &'a Parts, name: &str) -> Option<&'a str> {
    let value = text(&parts.headers, name).filter(|_| is_trusted(edge, peer(parts)))?;
    Some(value.split(',').next()?.trim())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
