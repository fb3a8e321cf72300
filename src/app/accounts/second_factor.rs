//! The second factor: codes that change with time (RFC 6238), and recovery codes for who has lost them.

use moznods_storage::{
    AuditTarget, SecondFactor, StorageError, TokenHash, TotpSecret, User, UserId,
};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use totp_rs::{Builder, Totp};

use super::hash;
use crate::app::audit::{Action, Actor};
use crate::app::{App, Error, Problem, Refusal, Result, now};

/// Bytes of a secret: as many as of SHA-1, by which all clients compute codes.
const SECRET: usize = 20;
const RECOVERY_CODES: usize = 10;
/// Base32 digits, of five bits, in groups of four.
const RECOVERY_DIGITS: usize = 16;
/// Longer texts are no code, however they are spaced.
const MAX_CODE: usize = 64;

/// What an authenticator is set up with. Shown this once.
pub struct TotpSetup {
    /// In base32.
    pub secret: String,
    /// `otpauth://`, for a QR code.
    pub uri: String,
}

impl App {
    /// Makes a secret for the user of a sign-in, who proves himself by his password; codes are asked for once he has
    /// confirmed it. `issuer` is what authenticators call this server.
    pub async fn begin_totp(
        &self,
        sign_in: TokenHash,
        password: String,
        issuer: &str,
    ) -> Result<TotpSetup> {
        let user = self.prove(sign_in, "password", password).await?;
        let mut secret = vec![0; SECRET];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| Refusal::Overloaded)?;
        // A colon would divide the two.
        let issuer = (!issuer.contains(':')).then(|| issuer.to_owned());
        let totp = Builder::new()
            .with_secret(secret.clone())
            .with_account_name(user.username.as_str())
            .with_issuer(issuer)
            .build()
            .map_err(|_| Refusal::Overloaded)?;
        let setup = TotpSetup {
            secret: totp.secret().to_base32(),
            uri: totp.to_url().map_err(|_| Refusal::Overloaded)?,
        };
        let begun = self
            .store
            .begin_second_factor(user.id, user.epoch, TotpSecret(secret));
        match begun.await {
            // Signed out everywhere, since the password was checked.
            Err(StorageError::NotFound) => Err(Refusal::AuthenticationRequired.into()),
            other => Ok(other.map(|()| setup)?),
        }
    }

    /// From now on codes are asked for. The recovery codes, shown this once.
    pub async fn confirm_totp(&self, user: UserId, code: &str) -> Result<Vec<String>> {
        let factor = self.store.second_factor(user).await?;
        let secret = match factor {
            Some(factor) if factor.confirmed => return Err(Refusal::SecondFactorOn.into()),
            Some(factor) => factor.secret,
            None => return Err(Refusal::SecondFactorOff.into()),
        };
        let wrong = || Error::field("code", Problem::WrongCode);
        let step = step_of(&secret, code).ok_or_else(wrong)?;
        let codes = (0..RECOVERY_CODES)
            .map(|_| recovery_code())
            .collect::<Result<Vec<_>>>()?;
        let hashes = codes.iter().map(|code| hash(&bare(code))).collect();
        let confirmed = self
            .store
            .confirm_second_factor(user, secret, step, hashes)
            .await;
        match confirmed {
            // Another secret was made meanwhile, or this one confirmed.
            Err(StorageError::NotFound) => Err(wrong()),
            other => Ok(other.map(|()| codes)?),
        }
    }

    /// Off again, for the user of a sign-in who proves himself by his password and a code.
    pub async fn end_totp(&self, sign_in: TokenHash, password: String, code: &str) -> Result<()> {
        let user = self.prove(sign_in, "password", password).await?;
        let factor = self.confirmed_factor(user.id).await?;
        let factor = factor.ok_or(Refusal::SecondFactorOff)?;
        if code.is_empty() {
            return Err(Error::field("code", Problem::Required));
        }
        if !self.take_code(user.id, factor, code).await? {
            return Err(Error::field("code", Problem::WrongCode));
        }
        removed(self.store.remove_second_factor(user.id).await)
    }

    /// By the administrator.
    pub async fn switch_totp_off(&self, by: Actor<'_>, user: &User) -> Result<()> {
        let target = AuditTarget::User(user.id);
        let store = self.noting(by, Action::UserTotpOff, target, json!({}));
        removed(store.remove_second_factor(user.id).await)
    }

    /// What follows a right password, of who has a second factor.
    pub(super) async fn check_second_factor(&self, user: &User, code: &str) -> Result<()> {
        let Some(factor) = self.confirmed_factor(user.id).await? else {
            return Ok(());
        };
        if code.is_empty() {
            return Err(Refusal::SecondFactorRequired.into());
        }
        if self.take_code(user.id, factor, code).await? {
            return Ok(());
        }
        self.metrics.sign_in_failures.inc();
        Err(Refusal::WrongCode.into())
    }

    async fn confirmed_factor(&self, user: UserId) -> Result<Option<SecondFactor>> {
        let factor = self.store.second_factor(user).await?;
        Ok(factor.filter(|factor| factor.confirmed))
    }

    /// Whether it is a code of now or a recovery code, and was not taken before.
    async fn take_code(&self, user: UserId, factor: SecondFactor, code: &str) -> Result<bool> {
        if code.len() > MAX_CODE {
            return Ok(false);
        }
        let bare = bare(code);
        if bare.len() == RECOVERY_DIGITS {
            return Ok(self.store.take_recovery_code(user, hash(&bare)).await?);
        }
        match step_of(&factor.secret, code) {
            Some(step) => Ok(self.store.take_step(user, factor.secret, step).await?),
            None => Ok(false),
        }
    }
}

fn removed(outcome: std::result::Result<(), StorageError>) -> Result<()> {
    match outcome {
        Err(StorageError::NotFound) => Err(Refusal::SecondFactorOff.into()),
        other => Ok(other?),
    }
}

/// The 30 seconds to which a code belongs, if these are now, the ones before or the ones after: clocks go wrong.
fn step_of(secret: &TotpSecret, code: &str) -> Option<i64> {
    let totp: Totp = Builder::new().with_secret(secret.0.clone()).build().ok()?;
    let seconds = u64::try_from(now() / 1_000_000).ok()?;
    i64::try_from(totp.check(&bare(code), seconds)?).ok()
}

/// As it is compared: people write codes in groups.
fn bare(code: &str) -> String {
    code.chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Such as `abcd-efgh-2345-wxyz`: 80 bits, so that its hash needs no salt.
fn recovery_code() -> Result<String> {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; RECOVERY_DIGITS];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Refusal::Overloaded)?;
    let digits = bytes.map(|byte| char::from(DIGITS[usize::from(byte % 32)]));
    let groups = digits
        .chunks(4)
        .map(|group| group.iter().collect::<String>());
    Ok(groups.collect::<Vec<_>>().join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_of_a_step_before_and_after_now_however_they_are_spaced() {
        let secret = TotpSecret(vec![7; SECRET]);
        let totp = Builder::new()
            .with_secret(secret.0.clone())
            .build()
            .unwrap();
        let seconds = u64::try_from(now() / 1_000_000).unwrap();
        let at = |time: u64| totp.generate(time).to_string();
        let step = i64::try_from(seconds / 30).unwrap();
        // Another step may begin meanwhile.
        let near = |found: Option<i64>| found.is_some_and(|found| (found - step).abs() <= 1);
        for time in [seconds - 30, seconds, seconds + 30] {
            let code = at(time);
            assert!(near(step_of(&secret, &code)), "{code}");
            let spaced = format!(" {} {}", &code[..3], &code[3..]);
            assert!(near(step_of(&secret, &spaced)), "{spaced}");
        }
        for time in [seconds - 90, seconds + 90] {
            assert_eq!(step_of(&secret, &at(time)), None);
        }
        for no_code in ["", "12345", "abcdef", "1234567"] {
            assert_eq!(step_of(&secret, no_code), None, "{no_code}");
        }
    }

    #[test]
    fn recovery_codes_are_long_and_differ() {
        let (one, two) = (recovery_code().unwrap(), recovery_code().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.len(), bare(&one).len()), (19, RECOVERY_DIGITS));
        assert_eq!(bare(&one.to_uppercase().replace('-', " ")), bare(&one));
    }
}
