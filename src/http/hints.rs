//! What requests show of a proxy in front that is not set up as it should be. As most things work all the same, it is said in
//! the log, once.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::header;
use axum::http::request::Parts;

use super::{Edge, client};

/// What has been said.
#[derive(Default)]
pub(super) struct Hints {
    unnamed: AtomicBool,
    client: AtomicBool,
    scheme: AtomicBool,
    host: AtomicBool,
}

impl Hints {
    /// Looks at a page that asks for a socket, which each browser does; `is_ours`: whether it gets one.
    pub fn look(&self, edge: &Edge, parts: &Parts, is_ours: bool) {
        let proxy = client::peer(parts);
        if !client::is_trusted(edge, proxy) {
            // Others than this machine may write what they like.
            if proxy.is_loopback() && client::is_passed_on(parts) && is_first(&self.unnamed) {
                tracing::warn!(
                    "requests come through a proxy on this machine that is not believed, so that all people seem to come \
                     from here and share what one may do: start with --behind-proxy, or name it in http.trusted_proxies"
                );
            }
            return;
        }
        let origin = parts.headers.get(header::ORIGIN);
        let Some(origin) = origin.and_then(|origin| origin.to_str().ok()) else {
            return;
        };
        if !client::names_client(parts) && is_first(&self.client) {
            tracing::warn!(
                %proxy,
                "the proxy does not say for whom it asks, so that all people seem to come from there and share what one may \
                 do, and none is banned by address: have it send X-Forwarded-For"
            );
        }
        let by_https = origin.starts_with("https://");
        if !is_ours {
            if is_first(&self.host) {
                let host = client::host(edge, parts);
                tracing::warn!(
                    %proxy, %origin, %host,
                    "a page of another name than the proxy says was refused a socket: if it is this server's, have the proxy \
                     send the Host as it came, or X-Forwarded-Host, or set public_url"
                );
            }
        } else if by_https
            && client::base_url(edge, parts).starts_with("http://")
            && is_first(&self.scheme)
        {
            tracing::warn!(
                %proxy,
                "the proxy does not say that people come by HTTPS, so that links to files and pictures begin with http://: have \
                 it send X-Forwarded-Proto, or set public_url"
            );
        }
    }
}

fn is_first(said: &AtomicBool) -> bool {
    !said.swap(true, Ordering::Relaxed)
}
