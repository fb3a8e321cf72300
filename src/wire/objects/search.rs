//! What a search has found.

use moznods_storage::{Found, Hit, MessageId, Piece};
use serde::Serialize;
use utoipa::ToSchema;

use super::messages::MessageJson;

#[derive(Serialize, ToSchema)]
#[schema(as = Found)]
pub struct FoundJson<'a> {
    /// Newest first.
    results: Vec<HitJson<'a>>,
    /// The `before` with which the search goes on; `null`: that was all.
    #[schema(value_type = Option<i64>, required = true)]
    next_before: Option<MessageId>,
}

/// A message, and the part of its text in which something was found.
#[derive(Serialize, ToSchema)]
#[schema(as = Hit)]
struct HitJson<'a> {
    #[serde(flatten)]
    message: MessageJson<'a>,
    excerpt: Vec<PieceJson<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Piece)]
struct PieceJson<'a> {
    text: &'a str,
    is_match: bool,
}

impl<'a> From<&'a Found> for FoundJson<'a> {
    fn from(found: &'a Found) -> Self {
        FoundJson {
            results: found.hits.iter().map(HitJson::from).collect(),
            next_before: found.before,
        }
    }
}

impl<'a> From<&'a Hit> for HitJson<'a> {
    fn from(hit: &'a Hit) -> Self {
        let piece = |piece: &'a Piece| PieceJson {
            text: &piece.text,
            is_match: piece.is_match,
        };
        HitJson {
            message: MessageJson::from(&hit.message),
            excerpt: hit.excerpt.iter().map(piece).collect(),
        }
    }
}
