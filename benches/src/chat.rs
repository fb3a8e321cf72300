//! Our server as clients of its API see it: users who sign up, rooms, requests one after the other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::servers::{BenchError, Process, SERVER_CORE, clean};
use crate::websocket::read_head;

/// Our server, on one core unless both are given.
#[derive(Debug)]
pub struct Chat {
    pub process: Process,
    pub address: SocketAddr,
    /// Of the data.
    pub directory: PathBuf,
}

impl Chat {
    pub fn start(binary: &Path, more: &[&str]) -> Result<Self, BenchError> {
        Self::start_on(binary, &[SERVER_CORE], more)
    }

    pub fn start_on(binary: &Path, cores: &[usize], more: &[&str]) -> Result<Self, BenchError> {
        let binary =
            std::fs::canonicalize(binary).map_err(|_| BenchError::NoServer(binary.to_owned()))?;
        let directory = TempDir::new()?;
        let data = directory.path().join("data");
        let mut serve = clean(&binary, directory.path());
        serve.args([
            "serve",
            "--http-listen=127.0.0.1:0",
            "--accounts-registration=open",
            "--limits-enabled=false",
            "--log-level=warn",
        ]);
        serve.args(more);
        let mut process = Process::start(&mut serve, cores, Some(directory))?;
        let line = process.line()?;
        let address = line
            .rsplit('/')
            .next()
            .map(|address| address.trim().parse());
        let Some(Ok(address)) = address else {
            return Err(BenchError::NotStarted {
                name: "moznods",
                why: format!("its error is above: {line}"),
            });
        };
        Ok(Chat {
            process,
            address,
            directory: data,
        })
    }

    pub fn connection(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            host: self.address,
        })
    }

    /// So many who have signed up.
    pub fn users(&self, count: usize) -> Result<Vec<User>, BenchError> {
        let mut connection = self.connection()?;
        let sign_up = |number| {
            let body = json!({
                "username": format!("user{number}"),
                "email": format!("user{number}@example.org"),
                "password": "measured on loopback",
            });
            let answer = connection.done("POST", "/api/auth/register/", "", Some(&body))?;
            Ok(User {
                id: answer["user"]["id"].as_i64().unwrap_or_default(),
                token: answer["token"].as_str().unwrap_or_default().to_owned(),
            })
        };
        (0..count).map(sign_up).collect()
    }

    /// A room of the first of them, in which all others are.
    pub fn room(&self, users: &[User]) -> Result<i64, BenchError> {
        let mut connection = self.connection()?;
        let Some((owner, others)) = users.split_first() else {
            return Ok(0);
        };
        let body = json!({"name": "room"});
        let room = connection.done("POST", "/api/rooms/", &owner.token, Some(&body))?;
        let room = room["id"].as_i64().unwrap_or_default();
        for other in others {
            let path = format!("/api/rooms/{room}/add-participant/");
            let body = json!({"id": other.id});
            connection.done("POST", &path, &owner.token, Some(&body))?;
        }
        Ok(room)
    }
}

#[derive(Debug, Clone)]
pub struct User {
    pub id: i64,
    pub token: String,
}

/// One connection, on which a request follows the answer to the one before.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: SocketAddr,
}

impl Connection {
    /// The answer of a request that must be done; null where there is none.
    pub fn done(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<Value, BenchError> {
        let (status, body) = self.request(method, path, token, body)?;
        if !(200..300).contains(&status) {
            return Err(BenchError::Refused {
                path: path.to_owned(),
                status,
                body: String::from_utf8_lossy(&body).into_owned(),
            });
        }
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Status and body.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> io::Result<(u16, Vec<u8>)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let authorization = match token {
            "" => String::new(),
            token => format!("Authorization: Token {token}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        let (head, mut answer) = read_head(&mut self.stream)?;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let status = head.split(' ').nth(1).and_then(number).unwrap_or(0);
        let mut lines = head.lines();
        let length = lines.find_map(|line| number(line.strip_prefix("content-length:")?));
        let had = answer.len();
        answer.resize(length.unwrap_or(0).max(had), 0);
        self.stream.read_exact(&mut answer[had..])?;
        Ok((status as u16, answer))
    }
}
