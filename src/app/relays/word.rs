//! What relays of different nodes tell each other.

use std::net::SocketAddr;

use moznods_signaling::NodeId;
use moznods_turn::server::{AllocationInfo, AllocationName, Traffic};
use serde::{Deserialize, Serialize};

/// Said to all other nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Every second, and when something of it changes.
    Report(Report),
    /// This node relays no longer.
    Ended,
    Ask {
        question: u64,
        /// `None`: every node that relays.
        of: Option<NodeId>,
        what: Question,
    },
    Answer {
        to: NodeId,
        question: u64,
        answer: Answer,
    },
}

/// What a relay says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// For people.
    pub name: String,
    pub regions: Vec<String>,
    /// By which clients reach it; empty: it does not know.
    pub ways: Ways,
    pub allocations: u64,
    pub bytes_per_second: u64,
    /// In thousandths of what it carries.
    pub load: u16,
    pub is_draining: bool,
}

/// URIs of one relay (RFC 7064, RFC 7065).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    pub stun: Vec<String>,
    pub turn: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Live allocations, of one owner where one is named.
    List(Option<u64>),
    /// End the allocation of this name.
    KillOne(#[serde(with = "text")] AllocationName),
    /// End all allocations of this owner.
    KillAllOf(u64),
    /// Write to the database what was relayed up to now.
    RecordUsage,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Comes in parts; the last one says how many they are.
    Listed {
        allocations: Vec<SeenAllocation>,
        parts: Option<usize>,
    },
    Ended(usize),
    Recorded,
    /// It could not be done.
    Failed,
}

impl Answer {
    /// Whether nothing of this answer is to come.
    pub fn is_whole(&self) -> bool {
        !matches!(self, Answer::Listed { parts: None, .. })
    }
}

/// A live allocation, as a relay sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAllocation {
    #[serde(with = "text")]
    pub name: AllocationName,
    /// As the relay numbers them.
    pub owner: u64,
    pub username: String,
    pub transport: String,
    pub client: SocketAddr,
    pub server: SocketAddr,
    /// As peers see them.
    pub relays: Vec<SocketAddr>,
    /// Between those and the peers.
    pub protocol: String,
    /// Seconds.
    pub age: u64,
    pub remaining: u64,
    /// Packets and bytes of payload.
    pub to_peer: (u64, u64),
    pub to_client: (u64, u64),
}

impl From<AllocationInfo> for SeenAllocation {
    fn from(info: AllocationInfo) -> Self {
        let both = |Traffic { packets, bytes }| (packets, bytes);
        SeenAllocation {
            name: info.name,
            owner: info.owner.0,
            username: info.username.into(),
            transport: info.tuple.transport.as_str().to_owned(),
            client: info.tuple.client,
            server: info.tuple.server,
            relays: info.relays,
            protocol: info.protocol.as_str().to_owned(),
            age: info.age.as_secs(),
            remaining: info.remaining.as_secs(),
            to_peer: both(info.to_peer),
            to_client: both(info.to_client),
        }
    }
}

/// What is written as it is shown to people.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}
