//! `mayfly user`: local accounts of people.

mod account;
mod own;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::{CliError, Context, Exit, duration, view};
use crate::api::proto;

pub use account::{AddArgs, GroupsArgs, NameArgs, ResetArgs};
pub use own::{EnrolArgs, PasswordArgs, TotpCommand};

/// Subcommands of `mayfly user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account; the code for setting its password is shown once (administrators)
    Add(AddArgs),
    /// List accounts (administrators)
    Ls,
    /// Show an account: your own, or anybody's (administrators)
    Show(ShowArgs),
    /// Disable an account and end its sessions, now (administrators)
    Disable(NameArgs),
    /// Enable an account again, or end its lock-out (administrators)
    Enable(NameArgs),
    /// Change the groups of an account; they count at once (administrators)
    Groups(GroupsArgs),
    /// Take the password away and make a code for setting another (administrators)
    Reset(ResetArgs),
    /// Remove an account and end its sessions (administrators)
    Rm(NameArgs),
    /// Set your password with the code you were given
    Enrol(EnrolArgs),
    /// Change your password; your other sessions end
    Password(PasswordArgs),
    /// Your second factor
    #[command(subcommand)]
    Totp(TotpCommand),
}

/// Arguments of `mayfly user show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Whose [default: yours]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Runs `mayfly user …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: UserCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        UserCommand::Add(args) => account::add(args, context).await,
        UserCommand::Ls => account::list(context).await,
        UserCommand::Show(args) => account::show(args.name, context).await,
        UserCommand::Disable(args) => account::disable(args, context).await,
        UserCommand::Enable(args) => account::enable(args, context).await,
        UserCommand::Groups(args) => account::groups(args, context).await,
        UserCommand::Reset(args) => account::reset(args, context).await,
        UserCommand::Rm(args) => account::remove(args, context).await,
        UserCommand::Enrol(args) => own::enrol(args, context).await,
        UserCommand::Password(args) => own::password(args, context).await,
        UserCommand::Totp(TotpCommand::Enrol(args)) => own::enrol_totp(args, context).await,
    }
}

/// An account.
#[derive(Debug, Serialize)]
struct UserView {
    name: String,
    display_name: String,
    mail: String,
    groups: Vec<String>,
    state: &'static str,
    has_password: bool,
    has_second_factor: bool,
    recovery_codes: u32,
    failures: u32,
    enrolment_expire_time: Option<Timestamp>,
    lock_expire_time: Option<Timestamp>,
    disable_time: Option<Timestamp>,
    create_time: Option<Timestamp>,
    sign_in_time: Option<Timestamp>,
}

/// In one word, the state of an account.
fn state(user: &proto::User, now: Timestamp) -> &'static str {
    let later = |at| view::moment(at).is_some_and(|at| at > now);
    if user.disable_time.is_some() {
        "disabled"
    } else if later(user.lock_expire_time) {
        "locked"
    } else if user.has_password {
        "active"
    } else if later(user.enrolment_expire_time) {
        "invited"
    } else {
        "stale"
    }
}

impl UserView {
    fn of(user: &proto::User, now: Timestamp) -> Self {
        Self {
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            mail: user.mail.clone(),
            groups: user.groups.clone(),
            state: state(user, now),
            has_password: user.has_password,
            has_second_factor: user.has_second_factor,
            recovery_codes: user.recovery_codes,
            failures: user.failures,
            enrolment_expire_time: view::moment(user.enrolment_expire_time),
            lock_expire_time: view::moment(user.lock_expire_time),
            disable_time: view::moment(user.disable_time),
            create_time: view::moment(user.create_time),
            sign_in_time: view::moment(user.sign_in_time),
        }
    }
}

/// A moment in words; empty when there is none.
fn when(at: Option<prost_types::Timestamp>, now: Timestamp) -> String {
    view::moment(at).map(|at| duration::relative(at, now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_says_in_one_word_how_it_stands() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let user = proto::User { has_password: true, ..Default::default() };
        assert_eq!(state(&user, now), "active");
        let locked = proto::User { lock_expire_time: at(1_000_001), ..user.clone() };
        assert_eq!(state(&locked, now), "locked");
        let over = proto::User { lock_expire_time: at(1_000_000), ..user.clone() };
        assert_eq!(state(&over, now), "active");
        let disabled = proto::User { disable_time: at(1), ..locked };
        assert_eq!(state(&disabled, now), "disabled");
        let invited = proto::User { enrolment_expire_time: at(1_000_001), ..Default::default() };
        assert_eq!((state(&invited, now), state(&proto::User::default(), now)), ("invited", "stale"));
    }
}
