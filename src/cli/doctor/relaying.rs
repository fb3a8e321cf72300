//! Whether the relay relays: two clients of it, over each transport.

use std::sync::Arc;

use moznods_bench::probe::{self, Transport};

use super::beginning;
use super::certificates::{OwnCertificate, Recorder, recording};
use super::ports::Relay;
use super::report::Report;
use crate::cli::Outcome;
use crate::config::Config;

pub async fn look(
    config: &Config,
    relay: &Relay,
    certificate: Option<&OwnCertificate>,
    report: &mut Report,
) -> Outcome {
    let trip = async |name, server, transport, report: &mut Report| {
        let begin = beginning(&config.turn.proxy_protocol, server);
        trip(name, server, (transport, begin), relay, report).await
    };
    trip("UDP", relay.listen, Transport::Udp, report).await?;
    trip("TCP", relay.listen, Transport::Tcp, report).await?;
    let Some(address) = relay.tls_listen else {
        return Ok(());
    };
    let recorder = Arc::<Recorder>::default();
    let tls = recording(&recorder).map_err(std::io::Error::other)?;
    trip("TLS", address, Transport::Tls(tls), report).await?;
    let shown = recorder.take();
    match (certificate, shown.first()) {
        (Some(own), Some(shown)) if own.chain.first() != Some(shown) => {
            let values = [("section", own.section)];
            report.wrong("certificate", "certificate_old", &values)
        }
        _ => Ok(()),
    }
}

async fn trip(
    name: &str,
    server: std::net::SocketAddr,
    (transport, begin): (Transport, &'static [u8]),
    relay: &Relay,
    report: &mut Report,
) -> Outcome {
    let credential = relay.credential.clone();
    let trip = move || probe::round_trip(server, &transport, &credential, begin);
    let outcome = tokio::task::spawn_blocking(trip)
        .await
        .map_err(std::io::Error::other)?;
    let server = server.to_string();
    match outcome {
        Ok(()) => report.right(
            "relay",
            "trip_right",
            &[("transport", name), ("server", &server)],
        ),
        Err(error) => {
            let error = error.to_string();
            let values = [
                ("transport", name),
                ("server", &*server),
                ("error", &*error),
            ];
            report.wrong("relay", "trip_wrong", &values)
        }
    }
}
