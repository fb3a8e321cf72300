//! What the log says of a proxy in front that does not say what it should, or is not believed.

use crate::support::{Server, Socket, free_port};

/// A browser's socket, with these headers by the proxy; the status where it is refused.
async fn browse(server: &Server, origin: &str, headers: &[(&'static str, &str)]) -> Option<u16> {
    let headers = [&[("Origin", origin)], headers].concat();
    let socket = Socket::try_open(server, "/ws/", &headers).await;
    socket.err().flatten()
}

/// How often the log has said this.
fn said(server: &Server, what: &str) -> usize {
    let log = server.log();
    let warnings = log.lines().filter(|line| line.contains("WARN"));
    warnings.filter(|line| line.contains(what)).count()
}

const NOT_BELIEVED: &str = "a proxy on this machine that is not believed";
const NO_HTTPS: &str = "does not say that people come by HTTPS";
const NO_CLIENT: &str = "does not say for whom it asks";
const NO_HOST: &str = "a page of another name than the proxy says";

const FOR: (&str, &str) = ("X-Forwarded-For", "203.0.113.9");
const HOST: (&str, &str) = ("X-Forwarded-Host", "chat.example.org");
const HTTPS: (&str, &str) = ("X-Forwarded-Proto", "https");
const PAGE: &str = "https://chat.example.org";

#[tokio::test]
async fn a_proxy_that_is_not_believed_is_said_once() {
    let server = Server::start(&[]);
    let own = server.url.clone();
    assert_eq!(browse(&server, &own, &[]).await, None);
    assert_eq!(said(&server, NOT_BELIEVED), 0, "nobody is in front");
    for _ in 0..2 {
        browse(&server, &own, &[FOR, HTTPS]).await;
    }
    assert_eq!(said(&server, NOT_BELIEVED), 1);
}

#[tokio::test]
async fn what_a_proxy_leaves_out_is_said_once() {
    let server = Server::start(&["--behind-proxy"]);
    assert_eq!(browse(&server, PAGE, &[FOR, HTTPS, HOST]).await, None);
    for hint in [NOT_BELIEVED, NO_CLIENT, NO_HTTPS, NO_HOST] {
        assert_eq!(said(&server, hint), 0, "{hint}");
    }
    for _ in 0..2 {
        assert_eq!(browse(&server, PAGE, &[FOR, HOST]).await, None);
        assert_eq!(browse(&server, PAGE, &[FOR, HTTPS]).await, Some(403));
        let unknown = ("X-Forwarded-For", "unknown");
        assert_eq!(browse(&server, PAGE, &[HOST, HTTPS]).await, None);
        assert_eq!(browse(&server, PAGE, &[unknown, HOST, HTTPS]).await, None);
    }
    for hint in [NO_CLIENT, NO_HTTPS, NO_HOST] {
        assert_eq!(said(&server, hint), 1, "{hint}");
    }

    let port = free_port();
    let mut told = Server::start(&[
        "--behind-proxy",
        &format!("--http-listen=127.0.0.1:{port}"),
        "--public-url=https://127.0.0.1:1",
    ]);
    told.url = format!("http://127.0.0.1:{port}");
    assert_eq!(browse(&told, "https://127.0.0.1:1", &[FOR]).await, None);
    for hint in [NOT_BELIEVED, NO_HTTPS, NO_HOST] {
        assert_eq!(said(&told, hint), 0, "{hint}");
    }
}
