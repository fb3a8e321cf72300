//! Whether the relay relays: two clients of it, over each transport.

use std::sync::Arc;

use moznods_bench::probe::{self, Transport};

use super::certificates::{OwnCertificate, Recorder, recording};
use super::ports::Relay;
use super::report::Report;
use crate::cli::Outcome;

pub async fn look(
    relay: &Relay,
    certificate: Option<&OwnCertificate>,
    report: &mut Report,
) -> Outcome {
    trip("UDP", relay.listen, Transport::Udp, relay, report).await?;
    trip("TCP", relay.listen, Transport::Tcp, relay, report).await?;
    let Some(address) = relay.tls_listen else {
        return Ok(());
    };
    let recorder = Arc::<Recorder>::default();
    let config = recording(&recorder).map_err(std::io::Error::other)?;
    trip("TLS", address, Transport::Tls(config), relay, report).await?;
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
    transport: Transport,
    relay: &Relay,
    report: &mut Report,
) -> Outcome {
    let credential = relay.credential.clone();
    let trip =
        tokio::task::spawn_blocking(move || probe::round_trip(server, &transport, &credential));
    let outcome = trip.await.map_err(std::io::Error::other)?;
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
