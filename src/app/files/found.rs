//! Files that another program has stored, taken by the same rules as those that are sent.

use std::path::{Path, PathBuf};

use moznods_storage::BlobHash;
use tokio::io::AsyncReadExt;

use super::{Claim, Incoming, Judged, MAX_AVATAR};
use crate::app::{App, Error, Problem, Refusal, Result};

/// Why a file is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It is not there, or no plain file.
    Missing,
    /// The path leads out of the directory.
    Outside,
    Empty,
    TooLarge,
    /// Of a type that is not stored, or not what it says that it is.
    Type,
    NotAPicture,
}

/// What is known of a file whose bytes have their place.
#[derive(Debug, Clone)]
pub struct FoundFile {
    pub hash: BlobHash,
    pub name: String,
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    pub dimensions: Option<(i64, i64)>,
    pub has_thumbnail: bool,
}

/// A directory in which files are looked for.
pub struct FoundFiles<'a> {
    app: &'a App,
    directory: PathBuf,
    /// Otherwise bytes are only looked at.
    keep: bool,
}

impl<'a> FoundFiles<'a> {
    /// For who has the data directory for himself: nobody removes what nothing refers to yet.
    pub fn new(app: &'a App, directory: &Path, keep: bool) -> std::io::Result<Self> {
        Ok(FoundFiles {
            app,
            directory: directory.canonicalize()?,
            keep,
        })
    }

    pub async fn prepare(&self) -> Result<()> {
        Ok(self.app.files.blobs.prepare().await?)
    }

    pub async fn file(
        &self,
        path: &str,
        name: &str,
        content_type: &str,
    ) -> Result<std::result::Result<FoundFile, NotTaken>> {
        let claim = Claim {
            name: name.to_owned(),
            content_type: (!content_type.is_empty()).then(|| content_type.to_owned()),
        };
        let max = self.app.config.files.max_size;
        let judged = async {
            let incoming = self.read(path, max).await?;
            Ok(self.app.judge(incoming.end().await?, &claim).await?)
        };
        let judged: Judged = match told(judged.await)? {
            Ok(judged) => judged,
            Err(why) => return Ok(Err(why)),
        };
        let found = FoundFile {
            hash: judged.received.hash,
            name: judged.name.clone(),
            content_type: judged.content_type.clone(),
            size: judged.received.size,
            dimensions: judged.dimensions,
            has_thumbnail: judged.thumbnail.is_some(),
        };
        if self.keep {
            // Up to an hour nobody removes them.
            self.app.expect(found.hash).await?;
            self.app.keep(judged).await?;
        }
        Ok(Ok(found))
    }

    pub async fn avatar(&self, path: &str) -> Result<std::result::Result<BlobHash, NotTaken>> {
        let small = async {
            let incoming = self.read(path, MAX_AVATAR).await?;
            Ok(self.app.small_avatar(incoming).await?)
        };
        let (hash, bytes) = match told(small.await)? {
            Ok(small) => small,
            Err(why) => return Ok(Err(why)),
        };
        if self.keep {
            self.app.expect(hash).await?;
            self.app.keep_avatar(hash, &bytes).await?;
        }
        Ok(Ok(hash))
    }

    async fn read(&self, path: &str, max: u64) -> std::result::Result<Incoming, Trouble> {
        let path = self.resolved(path)?;
        let mut file = tokio::fs::File::open(path)
            .await
            .map_err(|_| NotTaken::Missing)?;
        let partial = self.app.files.blobs.begin().await.map_err(Error::from)?;
        let mut incoming = Incoming::new(partial, max);
        let mut piece = vec![0; 64 * 1024];
        loop {
            match file.read(&mut piece).await {
                Ok(0) => return Ok(incoming),
                Ok(length) => {
                    let piece = piece.get(..length).unwrap_or_default();
                    incoming.write(piece).await?;
                }
                Err(_) => return Err(NotTaken::Missing.into()),
            }
        }
    }

    /// Where it lies in truth, whatever `..` and links say.
    fn resolved(&self, path: &str) -> std::result::Result<PathBuf, NotTaken> {
        let resolved = self.directory.join(path).canonicalize();
        let resolved = resolved.map_err(|_| NotTaken::Missing)?;
        if !resolved.starts_with(&self.directory) {
            return Err(NotTaken::Outside);
        }
        match resolved.is_file() {
            true => Ok(resolved),
            false => Err(NotTaken::Missing),
        }
    }
}

enum Trouble {
    NotTaken(NotTaken),
    Other(Error),
}

impl From<NotTaken> for Trouble {
    fn from(why: NotTaken) -> Self {
        Trouble::NotTaken(why)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::NotTaken(match error {
            Error::Refused(Refusal::FileTooLarge(_)) => NotTaken::TooLarge,
            Error::Refused(Refusal::FileType | Refusal::FileContradiction) => NotTaken::Type,
            Error::Invalid(ref fields) => match fields.first().map(|field| field.problem) {
                Some(Problem::EmptyFile) => NotTaken::Empty,
                Some(Problem::NotAPicture | Problem::PictureTooLarge(_)) => NotTaken::NotAPicture,
                _ => return Trouble::Other(error),
            },
            error => return Trouble::Other(error),
        })
    }
}

/// What is wrong with a file ends nothing, whatever else is wrong does.
fn told<T>(outcome: std::result::Result<T, Trouble>) -> Result<std::result::Result<T, NotTaken>> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(Trouble::NotTaken(why)) => Ok(Err(why)),
        Err(Trouble::Other(error)) => Err(error),
    }
}
