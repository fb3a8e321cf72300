//! The bucket of an S3-compatible store that has the bytes of files.

use hyper::Uri;

use super::check::is_origin;
use super::{ConfigError, Secret, Settings};

#[derive(Debug, Clone)]
pub struct Bucket {
    /// `scheme://host[:port]`, with the bucket's name in the host unless `path_style`.
    pub endpoint: String,
    pub name: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    /// Whether the bucket's name is the first part of the path.
    pub path_style: bool,
    /// Before all names; empty, or with a slash at its end.
    pub prefix: String,
}

/// `None`: no bucket is set.
pub(super) fn parse(settings: &Settings) -> Result<Option<Bucket>, ConfigError> {
    let is_plain = |text: &str, beside: &[u8]| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || beside.contains(&byte))
    };
    let name = settings.get(
        "files.s3_bucket",
        |text| {
            let right = (3..=63).contains(&text.len()) && is_plain(text, b".-_");
            (text.is_empty() || right).then(|| text.to_owned())
        },
        "the name of a bucket, 3 to 63 letters, digits, dots and hyphens, or nothing",
    )?;
    let is_set = !name.is_empty();
    let only = |right: &str| match is_set {
        true => format!("{right}, since files.s3_bucket is set"),
        false => format!("nothing, or {right} and files.s3_bucket beside it"),
    };
    let region = settings.get(
        "files.s3_region",
        |text| {
            let right = (1..=64).contains(&text.len()) && is_plain(text, b"-_");
            right.then(|| text.to_owned())
        },
        "the region's name, such as us-east-1 or ru-central1",
    )?;
    let path_style = settings.switch("files.s3_path_style")?;
    let endpoint = settings.get(
        "files.s3_endpoint",
        |text| {
            let text = text.trim_end_matches('/');
            let http = text.starts_with("http://") || text.starts_with("https://");
            let right = text.is_empty() || is_set && http && is_origin(text);
            right.then(|| text.to_owned())
        },
        &only("http://HOST[:PORT] or https://HOST[:PORT], without the bucket's name"),
    )?;
    let is_key = |text: &str| {
        text.is_empty() != is_set
            && text.len() <= 256
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let access_key_id = settings.get(
        "files.s3_access_key_id",
        |text| is_key(text).then(|| text.to_owned()),
        &only("the id of an access key"),
    )?;
    let secret_access_key = settings.get(
        "files.s3_secret_access_key",
        |text| is_key(text).then(|| Secret::new(text.to_owned())),
        &only("the secret of that key"),
    )?;
    let prefix = settings.get(
        "files.s3_prefix",
        |text| {
            let text = text.trim_matches('/');
            let is_part = |part: &str| !matches!(part, "" | "." | "..");
            let right = text.len() <= 256
                && is_plain(text, b"._-/")
                && (text.is_empty() || is_set && text.split('/').all(is_part));
            let slash = if text.is_empty() { "" } else { "/" };
            right.then(|| format!("{text}{slash}"))
        },
        &only("letters, digits, dots, hyphens and slashes"),
    )?;
    if !is_set {
        return Ok(None);
    }
    let endpoint = match endpoint.is_empty() {
        true => format!("https://s3.{region}.amazonaws.com"),
        false => endpoint,
    };
    Ok(Some(Bucket {
        endpoint: match path_style {
            true => endpoint,
            false => within(&endpoint, &name)?,
        },
        name,
        region,
        access_key_id,
        secret_access_key,
        path_style,
        prefix,
    }))
}

/// The endpoint of the bucket alone.
fn within(endpoint: &str, bucket: &str) -> Result<String, ConfigError> {
    let own = endpoint.replacen("://", &format!("://{bucket}."), 1);
    let host = own.parse::<Uri>().ok();
    let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
    // A name before an address is none.
    let is_name = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    match is_name {
        true => Ok(own),
        false => Err(ConfigError(format!(
            "files.s3_path_style = \"false\": expected true where files.s3_endpoint is an address, as in {endpoint}"
        ))),
    }
}
