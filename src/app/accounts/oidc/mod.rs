//! Sign-in by a provider of OpenID Connect: the way there, back, and to a token. What the provider says is left to
//! `provider`. An account is found by issuer and subject alone, never by name or mail.

mod provider;
mod waiting;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_storage::{
    AdminGrant, Identity, NewUser, StorageError, TokenHash, User, UserId, UserKey,
};
use openidconnect::{Nonce, PkceCodeVerifier};

use super::checks::{is_email, is_of_deleted};
use super::{Login, hash};
use crate::app::{App, Refusal, Result, limits, names, now, random_text};
use crate::config::{Oidc as Settings, Registration};
use crate::outbound::Outbound;
use provider::{Departure, Profile, Provider, ProviderError};
use waiting::Waiting;

/// For somebody to sign in at the provider.
const AWAY: Duration = Duration::from_secs(600);
/// For the client to fetch the token.
const BACK: Duration = Duration::from_secs(60);
/// For its user to find the code of a second factor.
const CODE: Duration = Duration::from_secs(300);
/// Where the provider sends people back to.
const RETURN: &str = "/api/auth/oidc/callback/";
/// Names with a number that are tried before one with random letters.
const NUMBERED: u32 = 20;

/// One provider, and who is on the way there and back.
pub struct Oidc {
    provider: Provider,
    away: Waiting<Away>,
    back: Waiting<Back>,
}

struct Away {
    /// Hash of what the browser keeps.
    browser: TokenHash,
    redirect: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    /// Whose account is to be linked, in which epoch.
    link: Option<(UserId, i64)>,
}

struct Back {
    browser: TokenHash,
    user: UserId,
    epoch: i64,
    /// Whether a code of the second factor has been asked for.
    asked: bool,
}

/// Where a browser is to go, and what it has to keep until it comes back.
pub struct OidcStart {
    pub url: String,
    pub browser: String,
}

/// With what somebody comes back from the provider.
#[derive(Default)]
pub struct OidcReturn {
    pub state: String,
    pub code: String,
    /// What the provider calls the trouble.
    pub error: String,
    pub browser: String,
}

impl fmt::Debug for OidcReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OidcReturn")
    }
}

pub enum OidcEnd {
    /// The code is good once, for a minute, and in this browser.
    SignedIn {
        code: String,
    },
    Linked,
}

/// Fetches the token.
pub struct OidcFinish {
    pub code: String,
    pub browser: String,
    /// Of the second factor; may be empty.
    pub totp_code: String,
    /// What the device is to be called.
    pub device: String,
}

impl Oidc {
    pub fn new(settings: Settings, outbound: Arc<Outbound>) -> Self {
        Oidc {
            provider: Provider::new(settings, outbound),
            away: Waiting::new(AWAY),
            back: Waiting::new(BACK),
        }
    }

    fn identity(&self, subject: String) -> Identity {
        Identity {
            issuer: self.provider.settings().issuer.clone(),
            subject,
        }
    }
}

impl App {
    fn oidc(&self) -> Result<&Oidc> {
        Ok(self.oidc.as_ref().ok_or(Refusal::NotFound)?)
    }

    /// `server`: its URL, as the browser knows it.
    pub async fn begin_oidc(&self, server: &str) -> Result<OidcStart> {
        self.depart(server, None).await
    }

    /// On the way to link the account of a sign-in's user, who proves himself by his password.
    pub async fn begin_oidc_link(
        &self,
        server: &str,
        sign_in: TokenHash,
        password: String,
    ) -> Result<OidcStart> {
        self.oidc()?;
        let user = self.prove(sign_in, "password", password).await?;
        self.depart(server, Some((user.id, user.epoch))).await
    }

    async fn depart(&self, server: &str, link: Option<(UserId, i64)>) -> Result<OidcStart> {
        let oidc = self.oidc()?;
        let redirect = format!("{server}{RETURN}");
        let (state, browser) = (random_text::<32>()?, random_text::<32>()?);
        let key = hash(&state);
        let departure = oidc.provider.depart(&redirect, state).await;
        let Departure {
            url,
            nonce,
            verifier,
        } = departure.map_err(refusal)?;
        let away = Away {
            browser: hash(&browser),
            redirect,
            nonce,
            verifier,
            link,
        };
        oidc.away.put(key, away);
        Ok(OidcStart { url, browser })
    }

    /// Somebody comes back from the provider.
    pub async fn end_oidc(&self, back: OidcReturn) -> Result<OidcEnd> {
        let oidc = self.oidc()?;
        let browser = hash(&back.browser);
        let away = oidc
            .away
            .take(hash(&back.state), |away| away.browser == browser)
            .ok_or(Refusal::OidcState)?;
        if back.error == "access_denied" {
            return Err(Refusal::OidcDenied.into());
        }
        if !back.error.is_empty() || back.code.is_empty() {
            tracing::warn!(error = back.error, "the provider of sign-ins refuses");
            return Err(Refusal::OidcFailed.into());
        }
        let arrival = oidc
            .provider
            .arrive(back.code, &away.redirect, &away.nonce, away.verifier)
            .await
            .map_err(refusal)?;
        let identity = oidc.identity(arrival.subject.clone());
        let owner = self.store.identity_owner(identity.clone()).await?;
        if let Some((user, epoch)) = away.link {
            self.link(identity, owner, user, epoch).await?;
            return Ok(OidcEnd::Linked);
        }
        let user = match owner {
            Some(user) => user,
            None if !self.strangers_register() => return Err(Refusal::RegistrationClosed.into()),
            None => {
                let profile = oidc.provider.profile(arrival).await;
                self.make_account(identity, profile).await?
            }
        };
        if user.blocked {
            self.metrics.sign_in_failures.inc();
            return Err(Refusal::AccountBlocked.into());
        }
        let code = random_text::<32>()?;
        let back = Back {
            browser,
            user: user.id,
            epoch: user.epoch,
            asked: false,
        };
        oidc.back.put(hash(&code), back);
        Ok(OidcEnd::SignedIn { code })
    }

    /// Whom the code belongs to, for limits.
    pub fn oidc_code_owner(&self, finish: &OidcFinish) -> Option<UserId> {
        let browser = hash(&finish.browser);
        let back = &self.oidc.as_ref()?.back;
        let look =
            |back: &mut Back, _: &mut Instant| (back.browser == browser).then_some(back.user);
        back.look(hash(&finish.code), look).flatten()
    }

    pub async fn finish_oidc(&self, finish: OidcFinish) -> Result<Login> {
        let oidc = self.oidc()?;
        let (key, browser) = (hash(&finish.code), hash(&finish.browser));
        let known = oidc.back.look(key, |back, _| {
            (back.browser == browser).then_some((back.user, back.epoch))
        });
        let (id, epoch) = known.flatten().ok_or(Refusal::OidcState)?;
        let user = self.store.user(UserKey::Id(id)).await?;
        let user = user
            .filter(|user| user.epoch == epoch || user.blocked)
            .ok_or(Refusal::OidcState)?;
        if user.blocked {
            return Err(Refusal::AccountBlocked.into());
        }
        let checked = self.check_second_factor(&user, &finish.totp_code).await;
        if checked.is_err() {
            // It takes a while to find the code.
            oidc.back.look(key, |back, end| {
                if !std::mem::replace(&mut back.asked, true) {
                    *end = Instant::now() + CODE;
                }
            });
        }
        checked?;
        oidc.back
            .take(key, |back| back.browser == browser)
            .ok_or(Refusal::OidcState)?;
        self.sign_in(user, finish.device).await
    }

    /// The user signs in by his password alone from now on.
    pub async fn unlink_oidc(&self, user: UserId) -> Result<()> {
        let issuer = self.oidc()?.provider.settings().issuer.clone();
        match self.store.unlink_identity(user, issuer).await {
            Err(StorageError::NotFound) => {
                let credentials = self.store.credentials(user).await?;
                Err(
                    match credentials.has_identity && !credentials.has_password {
                        true => Refusal::OnlyWayIn.into(),
                        false => Refusal::NotFound.into(),
                    },
                )
            }
            other => Ok(other?),
        }
    }

    async fn link(
        &self,
        identity: Identity,
        owner: Option<User>,
        user: UserId,
        epoch: i64,
    ) -> Result<()> {
        // Twice is once.
        if owner.is_some_and(|owner| owner.id == user) {
            return Ok(());
        }
        match self.store.link_identity(identity, user, epoch, now()).await {
            Err(StorageError::IdentityTaken) => Err(Refusal::OidcTaken.into()),
            // Signed out everywhere meanwhile.
            Err(StorageError::NotFound) => Err(Refusal::OidcState.into()),
            other => Ok(other?),
        }
    }

    fn strangers_register(&self) -> bool {
        let by_provider = || {
            self.config
                .accounts
                .oidc
                .as_ref()
                .is_some_and(|oidc| oidc.registers)
        };
        match self.config.accounts.registration {
            Registration::Open => true,
            Registration::Code => by_provider(),
            Registration::Closed => false,
        }
    }

    /// For somebody who comes by the provider for the first time.
    async fn make_account(&self, identity: Identity, profile: Profile) -> Result<User> {
        let wanted = wanted_username(&profile);
        let email = profile.email.unwrap_or_default();
        let name = profile.name.unwrap_or_default();
        let name = name.trim();
        let fits = names::check(name, limits::DISPLAY_NAME).is_none();
        let mut new = NewUser {
            username: wanted.clone(),
            email: match is_email(&email) && email.chars().count() <= limits::EMAIL {
                true => email,
                false => String::new(),
            },
            display_name: if fits { name.to_owned() } else { String::new() },
            password_hash: String::new(),
            admin: AdminGrant::No,
            now: now(),
        };
        let mut tries = 1;
        loop {
            let made = self
                .store
                .create_user_with_identity(new.clone(), identity.clone());
            match made.await {
                Ok(user) => {
                    self.refresh_access().await?;
                    return Ok(user);
                }
                Err(StorageError::UsernameTaken) if tries <= NUMBERED => {
                    tries += 1;
                    new.username = match tries <= NUMBERED {
                        true => format!("{wanted}{tries}"),
                        false => format!("{wanted}-{}", random_text::<6>()?),
                    };
                }
                // It stays whose it is.
                Err(StorageError::EmailTaken) => new.email = String::new(),
                // He has come twice at once.
                Err(StorageError::IdentityTaken) => {
                    let owner = self.store.identity_owner(identity).await?;
                    return Ok(owner.ok_or(Refusal::OidcFailed)?);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A valid one that comes near what the provider calls him; there may be somebody of that name.
fn wanted_username(profile: &Profile) -> String {
    /// Leaves room for what tells it from others.
    const LONGEST: usize = limits::USERNAME - 10;
    let given = [&profile.username, &profile.email, &profile.name];
    for text in given.into_iter().flatten() {
        let before_at = text.split('@').next().unwrap_or_default();
        let name: String = before_at
            .trim()
            .chars()
            .map(|c| if c.is_whitespace() { '.' } else { c })
            .filter(|c| names::name_character(*c))
            .take(LONGEST)
            .collect();
        if name.chars().any(char::is_alphanumeric) && !is_of_deleted(&name) {
            return name;
        }
    }
    "user".to_owned()
}

fn refusal(error: ProviderError) -> Refusal {
    match error {
        ProviderError::Unavailable(why) => {
            tracing::warn!(why, "the provider of sign-ins cannot be used");
            Refusal::OidcUnavailable
        }
        ProviderError::Failed(why) => {
            tracing::warn!(why, "what the provider of sign-ins answered proves nothing");
            Refusal::OidcFailed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_made_of_what_there_is() {
        let of = |username: &str, email: &str, name: &str| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            wanted_username(&Profile {
                username: given(username),
                email: given(email),
                name: given(name),
            })
        };
        assert_eq!(of("ann", "x@example.org", "Ann B"), "ann");
        assert_eq!(of("ann@corp.example", "", ""), "ann");
        assert_eq!(of("", "bob.b@example.org", "Bob"), "bob.b");
        assert_eq!(of("<>", "", "Анна Б"), "Анна.Б");
        assert_eq!(of("deleted-7", "", "--"), "user");
        assert_eq!(of("", "", ""), "user");
        let long = "x".repeat(1000);
        assert!(of(&long, "", "").len() < limits::USERNAME);
    }
}
