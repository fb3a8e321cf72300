//! What a request tells of who asks: address, language, and the URL by which he reached us. Proxies are believed
//! only when the administrator names them.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::Edge;
use crate::i18n::Lang;

pub fn language(headers: &HeaderMap) -> Lang {
    text(headers, header::ACCEPT_LANGUAGE.as_str()).map_or(Lang::default(), Lang::from_accept)
}

/// Where the request comes from: the last hop that is not a trusted proxy.
pub fn address(edge: &Edge, parts: &Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    let trusted = &edge.app.config.http.trusted_proxies;
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net: &IpNet| net.contains(address));
    let mut address = peer.ip().to_canonical();
    let hops: Vec<&str> = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in hops.iter().rev() {
        if !is_trusted(&address) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(before) => address = before.to_canonical(),
            Err(_) => break,
        }
    }
    Some(address)
}

/// `scheme://host[:port]` of this server as its clients see it.
pub fn base_url(edge: &Edge, parts: &Parts) -> String {
    if let Some(url) = &edge.app.config.public_url {
        return url.clone();
    }
    let trusted = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .is_some_and(|ConnectInfo(peer)| {
            let peer = peer.ip().to_canonical();
            let proxies = &edge.app.config.http.trusted_proxies;
            proxies.iter().any(|net| net.contains(&peer))
        });
    let forwarded = text(&parts.headers, "x-forwarded-proto").filter(|_| trusted);
    let scheme = match forwarded {
        Some("https") => "https",
        _ => "http",
    };
    format!("{scheme}://{}", host(parts))
}

/// `host[:port]` that the client asked for, if it is one.
pub fn host(parts: &Parts) -> String {
    let asked = parts
        .uri
        .authority()
        .cloned()
        .or_else(|| text(&parts.headers, "host")?.parse::<Authority>().ok());
    match asked {
        Some(authority) if !authority.as_str().contains('@') => authority.to_string(),
        _ => "localhost".to_owned(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
