//! Sign-in by a provider of OpenID Connect: the way there, back, and to a token. What the provider says is left to
//! `provider`. An account is found by issuer and subject alone, never by name or mail.

mod provider;
mod tickets;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moznods_storage::{
    AdminGrant, Identity, NewUser, StorageError, TokenHash, User, UserId, UserKey,
};
use openidconnect::{Nonce, PkceCodeVerifier};
use serde::{Deserialize, Serialize};

use super::checks::{is_email, is_of_deleted};
use super::{Login, hash};
use crate::app::{App, Refusal, Result, limits, names, nodes, now, random_text};
use crate::config::{Oidc as Settings, Registration};
use crate::outbound::Outbound;
use provider::{Departure, Profile, Provider, ProviderError};
use tickets::{Place, Tickets};

/// For somebody to sign in at the provider.
const AWAY: Duration = Duration::from_secs(600);
/// For the client to fetch the token.
const BACK: Duration = Duration::from_secs(60);
/// The same, where its user has to find the code of a second factor.
const CODE: Duration = Duration::from_secs(300);
/// Where the provider sends people back to.
const RETURN: &str = "/api/auth/oidc/callback/";
/// Names with a number that are tried before one with random letters.
const NUMBERED: u32 = 20;

/// One provider, and what those on the way there and back have with them.
pub struct Oidc {
    provider: Provider,
    tickets: Tickets,
}

/// As what comes back from the provider.
#[derive(Serialize, Deserialize)]
struct Away {
    redirect: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    /// Whose account is to be linked, in which epoch.
    link: Option<(UserId, i64)>,
}

/// What is changed for a token.
#[derive(Serialize, Deserialize)]
struct Back {
    user: UserId,
    epoch: i64,
}

fn away(browser: &str) -> Place<'_> {
    Place {
        purpose: "away",
        browser,
    }
}

fn back(browser: &str) -> Place<'_> {
    Place {
        purpose: "back",
        browser,
    }
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
    /// `secret`: that of all nodes.
    pub fn new(settings: Settings, outbound: Arc<Outbound>, secret: &str) -> Result<Self> {
        Ok(Oidc {
            provider: Provider::new(settings, outbound),
            tickets: Tickets::new(secret)?,
        })
    }

    /// Another node has taken the ticket.
    pub fn taken_there(&self, ticket: TokenHash) {
        self.tickets.take(ticket);
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
        let browser = random_text::<32>()?;
        let departure = Departure::new();
        let gone = Away {
            redirect: redirect.clone(),
            nonce: departure.nonce.clone(),
            verifier: PkceCodeVerifier::new(departure.verifier.secret().clone()),
            link,
        };
        let state = oidc.tickets.make(away(&browser), AWAY, &gone)?;
        let url = oidc.provider.depart(&redirect, state, departure).await;
        let url = url.map_err(refusal)?;
        Ok(OidcStart { url, browser })
    }

    /// Somebody comes back from the provider.
    pub async fn end_oidc(&self, returned: OidcReturn) -> Result<OidcEnd> {
        let oidc = self.oidc()?;
        let place = away(&returned.browser);
        let gone: Away = oidc
            .tickets
            .read(place, &returned.state)
            .ok_or(Refusal::OidcState)?;
        self.take_ticket(oidc, &returned.state)?;
        if returned.error == "access_denied" {
            return Err(Refusal::OidcDenied.into());
        }
        if !returned.error.is_empty() || returned.code.is_empty() {
            tracing::warn!(error = returned.error, "the provider of sign-ins refuses");
            return Err(Refusal::OidcFailed.into());
        }
        let arrival = oidc
            .provider
            .arrive(returned.code, &gone.redirect, &gone.nonce, gone.verifier)
            .await
            .map_err(refusal)?;
        let identity = oidc.identity(arrival.subject.clone());
        let owner = self.store.identity_owner(identity.clone()).await?;
        if let Some((user, epoch)) = gone.link {
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
        let wait = match self.store.second_factor(user.id).await? {
            Some(_) => CODE,
            None => BACK,
        };
        let who = Back {
            user: user.id,
            epoch: user.epoch,
        };
        let code = oidc.tickets.make(back(&returned.browser), wait, &who)?;
        Ok(OidcEnd::SignedIn { code })
    }

    /// Other nodes are told, so that it is good at none of them again.
    fn take_ticket(&self, oidc: &Oidc, ticket: &str) -> Result<()> {
        let ticket = hash(ticket);
        if !oidc.tickets.take(ticket) {
            return Err(Refusal::OidcState.into());
        }
        self.tell_nodes(&nodes::Word::TicketTaken(ticket.0));
        Ok(())
    }

    /// Whom the code belongs to, for limits.
    pub fn oidc_code_owner(&self, finish: &OidcFinish) -> Option<UserId> {
        let tickets = &self.oidc.as_ref()?.tickets;
        let who: Back = tickets.read(back(&finish.browser), &finish.code)?;
        Some(who.user)
    }

    pub async fn finish_oidc(&self, finish: OidcFinish) -> Result<Login> {
        let oidc = self.oidc()?;
        let known: Option<Back> = oidc.tickets.read(back(&finish.browser), &finish.code);
        let known = known.ok_or(Refusal::OidcState)?;
        let user = self.store.user(UserKey::Id(known.user)).await?;
        let user = user
            .filter(|user| user.epoch == known.epoch || user.blocked)
            .ok_or(Refusal::OidcState)?;
        if user.blocked {
            return Err(Refusal::AccountBlocked.into());
        }
        self.check_second_factor(&user, &finish.totp_code).await?;
        self.take_ticket(oidc, &finish.code)?;
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
