//! The provider of OpenID Connect by which people may sign in.

use hyper::Uri;

use super::{ConfigError, Secret, Settings};

#[derive(Debug, Clone)]
pub struct Oidc {
    /// As the provider writes it, with or without a slash at its end.
    pub issuer: String,
    pub client_id: String,
    /// `None`: a public client, which PKCE alone protects.
    pub client_secret: Option<Secret>,
    /// For the button.
    pub name: String,
    /// Whether, where registration asks for a code, strangers whom the provider knows get an account without.
    pub registers: bool,
}

/// Over TLS, or on this machine.
pub fn is_provider_url(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let has_user = url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    match url.scheme_str() {
        Some("https") => !host.is_empty() && !has_user,
        Some("http") => is_here && !has_user,
        _ => false,
    }
}

/// `None`: no issuer is set.
pub(super) fn parse(settings: &Settings) -> Result<Option<Oidc>, ConfigError> {
    let issuer = settings.get(
        "accounts.oidc_issuer",
        |text| {
            let is_url = |url: Uri| is_provider_url(&url) && url.query().is_none();
            let right = text.is_empty()
                || !text.contains(['#', '?']) && text.parse::<Uri>().is_ok_and(is_url);
            right.then(|| text.to_owned())
        },
        "https://HOST[/PATH], as the provider calls itself (http only on this machine), or nothing",
    )?;
    let is_set = !issuer.is_empty();
    let client_id = settings.get(
        "accounts.oidc_client_id",
        |text| (text.is_empty() != is_set && text.len() <= 256).then(|| text.to_owned()),
        if is_set {
            "what the provider calls this server, since accounts.oidc_issuer is set"
        } else {
            "nothing, unless accounts.oidc_issuer is set"
        },
    )?;
    let client_secret = settings.get(
        "accounts.oidc_client_secret",
        |text| {
            let secret = (!text.is_empty()).then(|| Secret::new(text.to_owned()));
            (text.len() <= 1024).then_some(secret)
        },
        "at most 1024 bytes, or nothing",
    )?;
    let name = settings.get(
        "accounts.oidc_name",
        |text| {
            let right = text.chars().count() <= 60 && !text.contains(char::is_control);
            right.then(|| text.to_owned())
        },
        "at most 60 characters",
    )?;
    let registers = settings.switch("accounts.oidc_registers")?;
    let host = || issuer.parse::<Uri>().ok()?.host().map(str::to_owned);
    let name = match name.is_empty() {
        true => host().unwrap_or_default(),
        false => name,
    };
    Ok(is_set.then_some(Oidc {
        issuer,
        client_id,
        client_secret,
        name,
        registers,
    }))
}
