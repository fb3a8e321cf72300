//! `behind_proxy`: one word in place of the settings that a web proxy in front wants.

use super::check::network;
use super::{ConfigError, Settings};

/// A proxy on this machine.
const LOCAL: &str = "127.0.0.0/8,::1/128";

/// What `behind_proxy` makes of other settings that nobody has set.
pub(super) fn defaults(behind: &str) -> Vec<(&'static str, &str)> {
    match behind.trim() {
        "" | "false" => Vec::new(),
        "true" => vec![
            ("http.listen", "127.0.0.1:8080"),
            ("http.trusted_proxies", LOCAL),
        ],
        networks => vec![("http.trusted_proxies", networks)],
    }
}

pub(super) fn check(settings: &Settings, has_https: bool) -> Result<(), ConfigError> {
    let names_networks = settings.get(
        "behind_proxy",
        |text| match text {
            "" | "false" => Some(false),
            // Those who come by HTTPS would be led past the proxy.
            _ if has_https => None,
            "true" => Some(false),
            networks => {
                let all = networks.split(',').map(str::trim);
                all.map(network).all(|net| net.is_some()).then_some(true)
            }
        },
        match has_https {
            true => {
                "nothing, since this server has a certificate of its own; http.trusted_proxies or http.proxy_protocol \
                 name what stands before it"
            }
            false => "true, or networks as CIDR, such as 10.0.0.0/8,fd00::/8",
        },
    )?;
    let named_apart = names_networks && !settings.is_derived("http.trusted_proxies");
    settings.get(
        "behind_proxy",
        |_| (!named_apart).then_some(()),
        "true or nothing, since http.trusted_proxies names the proxies",
    )
}
