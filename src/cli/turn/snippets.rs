//! What other programs are to be told, as they are told it.

use clap::ValueEnum;

use super::host;
use crate::config::{Config, Secret};

/// Minutes for which programs shall make credentials; those that count otherwise get as much.
const MINUTES: u64 = 24 * 60;

/// One that makes credentials of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// Matrix
    Synapse,
    /// Nextcloud Talk
    Nextcloud,
    /// Jitsi Meet, by its Prosody
    Jitsi,
    /// Prosody 0.12 and newer
    Prosody,
    /// Mattermost Calls
    Mattermost,
}

impl Program {
    /// Where it belongs, as a comment, and what is to stand there.
    pub fn snippet(self, config: &Config, secret: &Secret) -> String {
        let host = host(config);
        let port = config.turn.listen.port();
        let tls = config.turn.tls.as_ref().map(|tls| tls.listen.port());
        let secret = secret.expose();
        let mut uris = ["udp", "tcp"]
            .map(|transport| format!("turn:{host}:{port}?transport={transport}"))
            .to_vec();
        uris.extend(tls.map(|port| format!("turns:{host}:{port}?transport=tcp")));
        match self {
            Program::Synapse => {
                let uris: Vec<String> = uris.iter().map(|uri| format!("  - \"{uri}\"\n")).collect();
                format!(
                    "# homeserver.yaml\nturn_uris:\n{}turn_shared_secret: \"{secret}\"\n\
                     turn_user_lifetime: {}h\nturn_allow_guests: false\n",
                    uris.concat(),
                    MINUTES / 60,
                )
            }
            Program::Nextcloud => {
                let of_tls = tls.map_or_else(String::new, |port| {
                    format!("php occ talk:turn:add turns {host}:{port} tcp --secret={secret}\n")
                });
                format!(
                    "# in Nextcloud's directory, as the user of its web server\n\
                     php occ talk:stun:add {host}:{port}\n\
                     php occ talk:turn:add turn {host}:{port} udp,tcp --secret={secret}\n{of_tls}"
                )
            }
            Program::Jitsi => {
                let seconds = MINUTES * 60;
                let line = |kind: &str, port: u16, transport: &str| {
                    format!(
                        "  {{ type = \"{kind}\", host = \"{host}\", port = {port}, transport = \"{transport}\", \
                         secret = true, ttl = {seconds}, algorithm = \"turn\" }};\n"
                    )
                };
                let of_tls = tls.map_or_else(String::new, |port| line("turns", port, "tcp"));
                format!(
                    "-- /etc/prosody/conf.avail/YOUR-MEET-HOST.cfg.lua, above the first VirtualHost\n\
                     external_service_secret = \"{secret}\"\nexternal_services = {{\n\
                     \x20 {{ type = \"stun\", host = \"{host}\", port = {port} }};\n{}{}{of_tls}}}\n",
                    line("turn", port, "udp"),
                    line("turn", port, "tcp"),
                )
            }
            Program::Prosody => {
                let of_tls = tls.map_or_else(String::new, |port| {
                    format!("turn_external_tls_port = {port}\n")
                });
                format!(
                    "-- prosody.cfg.lua; \"turn_external\" belongs into modules_enabled\n\
                     turn_external_host = \"{host}\"\nturn_external_port = {port}\n\
                     turn_external_secret = \"{secret}\"\nturn_external_ttl = {}\n\
                     turn_external_tcp = true\n{of_tls}",
                    MINUTES * 60
                )
            }
            Program::Mattermost => {
                let servers = serde_json::json!([
                    {"urls": [format!("stun:{host}:{port}")]},
                    {"urls": uris},
                ]);
                format!(
                    "# System Console > Plugins > Calls\nICE Servers Configurations: {servers}\n\
                     TURN Static Auth Secret: {secret}\nTURN Credentials Expiration (minutes): {MINUTES}\n"
                )
            }
        }
    }
}
