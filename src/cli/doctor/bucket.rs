//! The store of files, where it is a bucket.

use std::sync::Arc;

use moznods_storage::{BlobError, SharedBlobs};

use super::report::Report;
use crate::app;
use crate::cli::Outcome;
use crate::config::Config;
use crate::outbound::Outbound;

pub async fn look(config: &Config, report: &mut Report) -> Outcome {
    let Some(bucket) = &config.files.bucket else {
        return Ok(());
    };
    let check = "bucket";
    let found = match app::bucket(config, &Arc::<Outbound>::default()) {
        Ok(Some(bucket)) => bucket.probe().await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let mut values = vec![
        ("bucket", bucket.name.as_str()),
        ("endpoint", bucket.endpoint.as_str()),
        ("region", bucket.region.as_str()),
        ("key", bucket.access_key_id.as_str()),
    ];
    let error = match found {
        Ok(()) => return report.right(check, "bucket_right", &values),
        Err(error) => error,
    };
    let told = error.to_string();
    values.push(("error", &told));
    let finding = match &error {
        BlobError::Refused { code } => match code.as_str() {
            "InvalidAccessKeyId" => "bucket_key",
            "SignatureDoesNotMatch" => "bucket_secret",
            "NoSuchBucket" => "bucket_none",
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => "bucket_denied",
            "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "PermanentRedirect"
            | "TemporaryRedirect" => "bucket_region",
            "RequestTimeTooSkewed" => "bucket_clock",
            _ => "bucket_refused",
        },
        _ => "bucket_silent",
    };
    report.wrong(check, finding, &values)
}
