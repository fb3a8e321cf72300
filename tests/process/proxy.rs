//! What stands before several nodes: each connection goes to the next of them that takes it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// For a node to take a connection.
const CONNECT: Duration = Duration::from_secs(2);

pub struct Proxy {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
    is_over: AtomicBool,
    /// Both ends of those that were made, with the node of each.
    open: Mutex<Vec<(SocketAddr, TcpStream, TcpStream)>>,
}

impl Proxy {
    /// Before nodes of these URLs.
    pub fn start<'a>(urls: impl IntoIterator<Item = &'a str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            nodes: Mutex::new(urls.into_iter().map(address).collect()),
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let proxy = Proxy {
            url,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.pass(client.unwrap()));
            }
        });
        proxy
    }

    /// A node is somewhere else from now on.
    pub fn moved(&self, node: usize, url: &str) {
        self.shared.nodes.lock().unwrap()[node] = address(url);
    }

    /// Breaks all connections with a node, which may live.
    pub fn cut(&self, node: usize) {
        let node = self.shared.nodes.lock().unwrap()[node];
        for (at, client, server) in &*self.shared.open.lock().unwrap() {
            if *at == node {
                // It may have ended meanwhile.
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // So that the listening thread looks.
        let _ = TcpStream::connect(address(&self.url));
    }
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

impl Shared {
    fn pass(&self, client: TcpStream) {
        let nodes = self.nodes.lock().unwrap().clone();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let connected = (first..first + nodes.len()).find_map(|turn| {
            let node = nodes[turn % nodes.len()];
            let server = TcpStream::connect_timeout(&node, CONNECT).ok()?;
            Some((node, server))
        });
        // Nobody is there: the client sees its connection end.
        let Some((node, server)) = connected else {
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let again = |stream: &TcpStream| stream.try_clone().unwrap();
        let ends = (again(&client), again(&server));
        {
            let mut open = self.open.lock().unwrap();
            open.retain(|(_, client, _)| client.peer_addr().is_ok());
            open.push((node, again(&client), again(&server)));
        }
        let upwards = thread::spawn(move || copy(ends.0, ends.1));
        copy(server, client);
        let _ = upwards.join();
    }
}

/// Until one of them ends, which ends the other in this direction.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
