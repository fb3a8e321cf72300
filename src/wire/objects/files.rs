//! Files and attachments.

use moznods_storage::{Attachment, File, FileId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::app::now;
use crate::wire::urls;

#[derive(Serialize, ToSchema)]
#[schema(as = File)]
pub struct FileJson<'a> {
    #[schema(value_type = i64)]
    id: FileId,
    /// Where its bytes are, for a day or two without a token.
    file: String,
    name: &'a str,
    size: i64,
    content_type: &'a str,
    /// Of a picture as it is shown, in pixels.
    #[schema(required = true)]
    width: Option<i64>,
    #[schema(required = true)]
    height: Option<i64>,
    #[schema(required = true)]
    thumbnail_url: Option<String>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl<'a> From<&'a File> for FileJson<'a> {
    fn from(file: &'a File) -> Self {
        let now = now();
        let (width, height) = file.dimensions.unzip();
        FileJson {
            id: file.id,
            file: urls::download(file.id, now),
            name: &file.name,
            size: file.size,
            content_type: &file.content_type,
            width,
            height,
            thumbnail_url: file.has_thumbnail.then(|| urls::thumbnail(file.id, now)),
            created_at: file.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Attachment)]
pub struct AttachmentJson<'a> {
    id: i64,
    file: FileJson<'a>,
}

impl<'a> From<&'a Attachment> for AttachmentJson<'a> {
    fn from(attachment: &'a Attachment) -> Self {
        AttachmentJson {
            id: attachment.id,
            file: FileJson::from(&attachment.file),
        }
    }
}
