//! `moznods user`: accounts.

use std::io::{BufRead, IsTerminal};

use clap::{Args, Subcommand};
use moznods_storage::{AccountChange, Missing, User, UserKind};

use super::{Failure, Outcome, open_app, say};
use crate::app::{Actor, App, NewAccount};
use crate::config::Config;
use crate::wire::ResetLinkJson;

#[derive(Subcommand)]
pub enum Command {
    /// Make an account
    Add(Add),
    /// List the accounts
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shut a user out: sign-ins, sockets and relay allocations end at once
    Block {
        /// Username or mail address
        name: String,
    },
    /// Let a blocked user in again
    Unblock {
        /// Username or mail address
        name: String,
    },
    /// Make a user an administrator
    Admin {
        /// Username or mail address
        name: String,
        /// Make him a user like others again
        #[arg(long)]
        off: bool,
    },
    /// End all sign-ins of a user, and what is relayed for him
    Logout {
        /// Username or mail address
        name: String,
    },
    /// Set a new password and end all sign-ins of the user
    Passwd {
        /// Username or mail address
        name: String,
        /// Read the password from the first line of the standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Make a link with which a user sets a new password; good once, for a day
    ResetLink {
        /// Username or mail address
        name: String,
    },
    /// Switch the second factor of a user off, who has lost it
    TotpOff {
        /// Username or mail address
        name: String,
    },
    /// Delete an account for good; what the user wrote stays
    Delete {
        /// Username or mail address
        name: String,
    },
}

#[derive(Args)]
pub struct Add {
    /// Name to sign in with; unique
    #[arg(long)]
    username: String,
    /// Mail address; unique
    #[arg(long)]
    email: String,
    /// The name that others read; the username otherwise
    #[arg(long, default_value = "", hide_default_value = true)]
    display_name: String,
    /// Make the account an administrator's
    #[arg(long)]
    admin: bool,
    /// Read the password from the first line of the standard input
    #[arg(long)]
    password_stdin: bool,
}

impl Add {
    fn account(&self, password: &str) -> NewAccount {
        NewAccount {
            username: self.username.clone(),
            email: self.email.clone(),
            display_name: self.display_name.clone(),
            password: password.to_owned(),
            ..NewAccount::default()
        }
    }
}

pub async fn run(config: Config, command: Command) -> Outcome {
    let missing = match command {
        Command::Add(_) => Missing::Create,
        _ => Missing::Refuse,
    };
    let password = match &command {
        Command::Add(Add { password_stdin, .. }) | Command::Passwd { password_stdin, .. } => {
            read_password(*password_stdin).map_err(Failure::Password)?
        }
        _ => String::new(),
    };
    // Before anything is made for it.
    if let Command::Add(add) = &command {
        add.account(&password).checked()?;
    }
    let app = open_app(config, missing).await?;
    match command {
        Command::Add(add) => {
            let user = app
                .add_user(Actor::CommandLine, add.account(&password), add.admin)
                .await?;
            say(format_args!("Added {} (id {}).", user.username, user.id))?;
        }
        Command::List { json } => list(&app.users().await?, json)?,
        Command::Block { name } => {
            let user = app.user_named(&name).await?;
            set_blocked(&app, &user, true).await?;
            say(format_args!("Blocked {}.", user.username))?;
        }
        Command::Unblock { name } => {
            let user = app.user_named(&name).await?;
            set_blocked(&app, &user, false).await?;
            say(format_args!("Unblocked {}.", user.username))?;
        }
        Command::Admin { name, off } => {
            let user = app.user_named(&name).await?;
            let change = AccountChange {
                is_admin: Some(!off),
                ..AccountChange::default()
            };
            app.change_account(Actor::CommandLine, &user, change)
                .await?;
            let now = if off {
                "no administrator any more"
            } else {
                "an administrator"
            };
            say(format_args!("{} is {now}.", user.username))?;
        }
        Command::Logout { name } => {
            let user = app.user_named(&name).await?;
            app.end_all_sign_ins(Actor::CommandLine, user.id).await?;
            say(format_args!("Signed {} out everywhere.", user.username))?;
        }
        Command::Passwd { name, .. } => {
            let user = app.user_named(&name).await?;
            app.set_password(Actor::CommandLine, &user, password)
                .await?;
            say(format_args!("Set the password of {}.", user.username))?;
        }
        Command::ResetLink { name } => {
            let user = app.user_named(&name).await?;
            let (token, expires_at) = app.make_reset_link(Actor::CommandLine, user.id).await?;
            let server = app.config.url_at(app.config.http.listen);
            say(ResetLinkJson::new(&server, &token, expires_at).url)?;
        }
        Command::TotpOff { name } => {
            let user = app.user_named(&name).await?;
            app.switch_totp_off(Actor::CommandLine, &user).await?;
            say(format_args!(
                "Switched the second factor of {} off.",
                user.username
            ))?;
        }
        Command::Delete { name } => {
            let user = app.user_named(&name).await?;
            app.delete_user(Actor::CommandLine, &user).await?;
            say(format_args!("Deleted {}.", user.username))?;
        }
    }
    Ok(())
}

async fn set_blocked(app: &App, user: &User, blocked: bool) -> Outcome {
    let change = AccountChange {
        blocked: Some(blocked),
        ..AccountChange::default()
    };
    Ok(app.change_account(Actor::CommandLine, user, change).await?)
}

fn list(users: &[User], json: bool) -> Outcome {
    if json {
        let written: Vec<_> = users
            .iter()
            .map(|user| {
                serde_json::json!({
                    "id": user.id,
                    "username": user.username,
                    "email": user.email,
                    "display_name": user.shown_name(),
                    "is_admin": user.is_admin,
                    "is_bot": user.kind == UserKind::Bot,
                    "blocked": user.blocked,
                })
            })
            .collect();
        return say(serde_json::Value::from(written));
    }
    for user in users {
        let state = match (user.blocked, user.is_admin, user.kind) {
            (true, ..) => "blocked",
            (false, true, _) => "admin",
            (false, false, UserKind::Bot) => "bot",
            (false, false, _) => "",
        };
        say(format_args!(
            "{:>6}  {:<24}  {:<32}  {state}",
            user.id, user.username, user.email
        ))?;
    }
    Ok(())
}

/// From a prompt, twice the same; from the standard input when asked so or when it is no terminal.
fn read_password(from_stdin: bool) -> std::io::Result<String> {
    if from_stdin || !std::io::stdin().is_terminal() {
        return read_line();
    }
    let password = rpassword::prompt_password("Password: ")?;
    if rpassword::prompt_password("Again: ")? != password {
        return Err(std::io::Error::other("the two are not the same"));
    }
    Ok(password)
}

/// The first line of the standard input.
pub fn read_line() -> std::io::Result<String> {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(std::io::Error::other(
            "the standard input holds none; expected it in the first line, or a terminal to ask for it",
        ));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
