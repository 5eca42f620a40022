//! The command line.

use clap::{Args, Parser, Subcommand};

use super::{
    OutputFormat, audit, breakglass, completions, config_check, connect, connection::ConnectionArgs, creds,
    demo, dev, doctor, exit, grant, health, invite, lease, lock, login, notice, policy, reconcile, request,
    review, review_access, roles, run, serve, session, store, targets, token, user, whoami,
};

const ABOUT: &str = "Database credentials that live for minutes.

Ask for a role and get a throwaway account with a random password and an expiry; when the lease ends, the account is gone and \
so are its sessions.";

const EXAMPLES: &str = "Examples:
  mayfly roles ls                              what may I ask for?
  mayfly creds orders-read --ttl 15m           a credential on standard output
  mayfly run orders-read -- ./report.sh        one for a command, gone when the command ends
  mayfly connect orders-read                   psql, mysql or mariadb, logged in
  mayfly lease ls                              what is out there
  mayfly dev                                   try it all on throwaway databases

Data and secrets go to standard output, words to standard error.";

/// Database credentials that live for minutes.
#[derive(Debug, Parser)]
#[command(
    name = "mayfly",
    version,
    about = "Database credentials that live for minutes",
    long_about = ABOUT,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::help()),
    propagate_version = false,
    max_term_width = 110
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// How replies are written; json: one document a reply, one a line for streams
    #[arg(
        long,
        short,
        global = true,
        env = "MAYFLY_OUTPUT",
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub output: OutputFormat,
    /// The server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get a credential under a role
    Creds(creds::CredsArgs),
    /// Run a command with a credential in its environment, and release it when the command ends
    Run(run::RunArgs),
    /// Open psql, mysql or mariadb with a credential, and release it when the client ends
    Connect(connect::ConnectArgs),
    /// Ask for access that others must agree to, and see what comes of it
    #[command(subcommand)]
    Request(request::RequestCommand),
    /// Decide on what others ask for
    #[command(subcommand)]
    Review(review::ReviewCommand),
    /// Look through who holds or could obtain what, and certify it or take it back (administrators)
    ReviewAccess(review_access::ReviewAccessArgs),
    /// Get access at once, without reviews, where policy allows it; somebody else signs it off
    Breakglass(breakglass::BreakGlassArgs),
    /// See and end what approvals opened
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// See, renew and end leases
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    /// See what may be asked for
    #[command(subcommand)]
    Roles(roles::RolesCommand),
    /// See the databases, agree to a new server, rotate the passwords Mayfly administers them with (administrators)
    #[command(subcommand, visible_alias = "target")]
    Targets(targets::TargetsCommand),
    /// Compare databases with what the server knows of them, and see to what differs (administrators)
    Reconcile(reconcile::ReconcileArgs),
    /// Examine a database: version, privileges, clock; says what to run where something is missing
    Doctor(doctor::DoctorArgs),
    /// Make, see and revoke API tokens (administrators)
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Lock a principal, a role or a target: nothing is issued on it, and its leases end (administrators)
    #[command(subcommand)]
    Lock(lock::LockCommand),
    /// Take a lock away (administrators)
    #[command(subcommand)]
    Unlock(lock::UnlockCommand),
    /// See what is told of what happens, and whether it arrived; try a channel out (administrators)
    #[command(subcommand)]
    Notice(notice::NoticeCommand),
    /// Follow and verify the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Sign in: at the identity provider, or with a password, and a second factor where there is one
    Login(login::LoginArgs),
    /// Sign out: end the session of `mayfly login`
    Logout(login::LogoutArgs),
    /// See and end sessions of people who are signed in
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Accounts of people: make and manage them (administrators), set your password and your second factor
    #[command(subcommand, visible_alias = "users")]
    User(user::UserCommand),
    /// Contractors: invite them, or sign in with the code you were given
    #[command(subcommand)]
    Invite(invite::InviteCommand),
    /// Say who the server takes you for
    Whoami(whoami::WhoamiArgs),
    /// Ask whether the server serves; needs no token
    Health(health::HealthArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Start throwaway databases and a server, with samples to play with
    Dev(dev::DevArgs),
    /// Play a scripted story against throwaway databases and check every step
    Demo(demo::DemoArgs),
    /// Back up, check and restore what the server keeps; seal its secrets anew
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Check, explain and test policies; needs no server
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Check the configuration
    #[command(subcommand)]
    Config(config_check::ConfigCommand),
    /// Write a completion script for a shell
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Whether it serves: then it gets all processors; a client starts faster on one.
    pub fn serves(&self) -> bool {
        matches!(self, Command::Serve(_) | Command::Dev(_) | Command::Demo(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_every_command_work_before_and_after_it() {
        for line in
            ["mayfly -o json lease ls", "mayfly lease ls --output json", "mayfly lease --output=json ls"]
        {
            assert_eq!(parse(line).unwrap().global.output, OutputFormat::Json, "{line}");
        }
    }

    #[test]
    fn the_token_is_no_option() {
        assert_eq!(parse("mayfly whoami --token x").unwrap_err().kind(), ErrorKind::UnknownArgument);
    }

    #[test]
    fn what_follows_the_dashes_belongs_to_the_child() {
        let Command::Run(run) = parse("mayfly run r --ttl 5m -- psql -c x --output y").unwrap().command
        else {
            panic!("run")
        };
        assert_eq!(run.child, ["psql", "-c", "x", "--output", "y"]);
        assert!(parse("mayfly run r").is_err());
    }

    #[test]
    fn bad_values_are_usage_errors() {
        for line in [
            "mayfly creds r --format xml",
            "mayfly creds r --ttl 30",
            "mayfly creds r --ttl 0s",
            "mayfly creds r --ttl -5m",
            "mayfly creds",
            "mayfly lease revoke",
            "mayfly lease revoke x",
            "mayfly lease revoke x --principal p --reason y",
            "mayfly lease ls --state gone",
            "mayfly token create --principal p --kind robot",
            "mayfly audit verify",
            "mayfly whoami --client-key k",
            "mayfly --timeout never whoami",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_manual_names_every_command() {
        let manual = include_str!("../../docs/cli.md");
        for command in Cli::command().get_subcommands() {
            for name in
                command.get_subcommands().map(|sub| format!("{} {}", command.get_name(), sub.get_name()))
            {
                assert!(manual.contains(&format!("mayfly {name}")), "docs/cli.md lacks {name}");
            }
            assert!(manual.contains(&format!("mayfly {}", command.get_name())), "docs/cli.md lacks it");
        }
    }
}
