//! What the fields of an account may be.

use moznods_storage::UserId;

use super::NewAccount;
use crate::app::{Error, FieldError, Problem, Result, limits, names};

pub(super) fn check_account(account: &NewAccount) -> Result<()> {
    let mut problems = Vec::new();
    let mut complain = |field, problem| problems.push(FieldError { field, problem });

    if let Some(problem) = check_username(&account.username) {
        complain("username", problem);
    }
    match account.email.as_str() {
        "" => complain("email", Problem::Required),
        email if email.chars().count() > limits::EMAIL => {
            complain("email", Problem::TooLong(limits::EMAIL));
        }
        email if !is_email(email) => complain("email", Problem::NotAnEmail),
        _ => {}
    }
    check_password("password", &account.password, &mut problems);
    check_display_name(&account.display_name, &mut problems);
    done(problems)
}

pub(in crate::app) fn check_username(name: &str) -> Option<Problem> {
    match name {
        "" => Some(Problem::Required),
        name if name.chars().count() > limits::USERNAME => Some(Problem::TooLong(limits::USERNAME)),
        // No `@`: a name must never be taken for somebody else's mail address.
        name if !name.chars().all(names::name_character) => Some(Problem::UsernameCharacters),
        name if is_of_deleted(name) => Some(Problem::UsernameTaken),
        _ => None,
    }
}

/// Storage names deleted users so.
pub(super) fn is_of_deleted(name: &str) -> bool {
    name.to_lowercase()
        .strip_prefix("deleted-")
        .is_some_and(|id| id.parse::<UserId>().is_ok())
}

pub(in crate::app) fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    }) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

pub(super) fn check_password(field: &'static str, password: &str, problems: &mut Vec<FieldError>) {
    let problem = if password.is_empty() {
        Problem::Required
    } else if password.chars().count() < limits::PASSWORD_MIN {
        Problem::TooShort(limits::PASSWORD_MIN)
    } else if password.len() > limits::PASSWORD_MAX {
        Problem::TooLong(limits::PASSWORD_MAX)
    } else {
        return;
    };
    problems.push(FieldError { field, problem });
}

pub(super) fn check_display_name(name: &str, problems: &mut Vec<FieldError>) {
    if let Some(problem) = names::check(name, limits::DISPLAY_NAME) {
        problems.push(FieldError {
            field: "display_name",
            problem,
        });
    }
}

pub(super) fn done(problems: Vec<FieldError>) -> Result<()> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(problems))
    }
}
