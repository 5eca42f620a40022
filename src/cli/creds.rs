//! `mayfly creds`: a credential under a role.

use std::time::Duration;

use clap::Args;
use tonic::Request;

use super::{
    CliError, Connection, Context, Credential, CredentialFormat, Exit, Output, approval, duration,
    error::printable, holding, patience, view,
};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly creds orders-read
  mayfly creds orders-read --ttl 15m --purpose 'monthly report'
  eval \"$(mayfly creds orders-read --format env)\"; psql
  psql \"$(mayfly creds orders-read --format url)\"
  mayfly creds orders-write --reason 'fix order 4711' --ticket OPS-4711 --wait
  mayfly creds orders-read -o json | jq -r .credential.password

The credential goes to standard output, its lease and expiry to standard error. `mayfly run` and
`mayfly connect` release the lease when they end; this command leaves it until it expires.";

/// Arguments of `mayfly creds`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CredsArgs {
    /// What to ask for.
    #[command(flatten)]
    pub wish: Wish,
    /// The form to write it in [default: text; json with --output json]
    #[arg(long, value_enum, value_name = "FORM")]
    pub format: Option<CredentialFormat>,
    /// A key of your choice, unique per attempt: repeating the call with it returns the same lease
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub idempotency_key: String,
}

/// What is asked for, in all commands that issue.
#[derive(Debug, Clone, Args)]
pub struct Wish {
    /// The role (`mayfly roles ls` shows yours)
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// How long, such as 90s, 30m, 1h30m [default: the role's]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
    /// What it is for; kept with the lease and in the audit log
    #[arg(
        long,
        visible_alias = "reason",
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub purpose: String,
    /// The ticket it belongs to, where policy wants one
    #[arg(long, value_name = "TICKET", default_value = "", hide_default_value = true)]
    pub ticket: String,
    /// Where others must agree first: ask them, and wait
    #[arg(long)]
    pub wait: bool,
}

impl Wish {
    /// The call that asks for it.
    pub fn request(
        &self,
        connection: &Connection,
        idempotency_key: &str,
    ) -> Request<proto::IssueLeaseRequest> {
        connection.call(proto::IssueLeaseRequest {
            role: self.role.clone(),
            ttl: self.ttl.map(view::to_proto),
            purpose: self.purpose.clone(),
            idempotency_key: idempotency_key.to_owned(),
        })
    }
}

/// Runs `mayfly creds`.
///
/// # Errors
/// What the server refuses.
pub async fn run(args: CredsArgs, context: &mut Context) -> Result<Exit, CliError> {
    let format = form(args.format, context.output.is_json())?;
    let connection = context.connect()?;
    let obtained = approval::unless_interrupted(context, &connection, async |waiting| {
        approval::obtain(&args.wish, &args.idempotency_key, waiting).await
    });
    match obtained.await? {
        Ok((lease, credential)) => write(&lease, &credential, format, &connection, context).await,
        Err(exit) => Ok(exit),
    }
}

/// Writes a credential, with words on its lease.
///
/// # Errors
/// When it cannot be written in this form, or at all: its lease is released then.
pub async fn write(
    lease: &proto::Lease,
    credential: &Credential,
    format: CredentialFormat,
    connection: &Connection,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let rendered = credential.render(format, lease);
    if let Err(error) = rendered.and_then(|rendered| context.output.data(&rendered)) {
        // Nobody holds it: it need not live on.
        holding::release(&lease.name, connection, &mut context.output).await;
        return Err(error);
    }
    if format != CredentialFormat::Json {
        if credential.keeps_its_own() {
            let account = printable(&credential.username);
            context.output.note(&format!(
                "{account} is elevated; it keeps its own password. On MySQL and MariaDB, open a session and say SET ROLE"
            ));
        }
        if lease.kind() == proto::LeaseKind::Checkout {
            let account = printable(&credential.username);
            context.output.note(&format!(
                "{account} is yours alone; give it back when you are done, others may wait for it"
            ));
        }
        for line in words(lease, context.clock.now()) {
            context.output.note(&line);
        }
    }
    Ok(Exit::Ok)
}

/// Issues a lease and checks what came.
///
/// # Errors
/// What the server refuses, or a reply this client cannot read.
pub async fn issue(
    connection: &Connection,
    wish: &Wish,
    idempotency_key: &str,
    output: &Output,
) -> Result<(proto::Lease, Credential), CliError> {
    let spinner = output.spinner(&format!("asking for {}", printable(&wish.role)));
    let reply = patience::until_not_overloaded(connection.timeout(), || async {
        connection.leases().issue_lease(wish.request(connection, idempotency_key)).await
    });
    let reply = reply.await.map_err(|status| connection.explain(&status))?;
    drop(spinner);
    let reply = reply.into_inner();
    issued(reply.lease, reply.credential)
}

/// Checks what came.
///
/// # Errors
/// A reply this client cannot read.
pub fn issued(
    lease: Option<proto::Lease>,
    credential: Option<proto::Credential>,
) -> Result<(proto::Lease, Credential), CliError> {
    let incomplete = || CliError::new(Exit::Internal, "the server's reply is incomplete");
    let credential = Credential::from_proto(credential.ok_or_else(incomplete)?)?;
    Ok((lease.ok_or_else(incomplete)?, credential))
}

/// The form that the options ask for.
///
/// # Errors
/// When they contradict each other.
pub fn form(asked: Option<CredentialFormat>, json: bool) -> Result<CredentialFormat, CliError> {
    match (asked, json) {
        (None, false) => Ok(CredentialFormat::Text),
        (None | Some(CredentialFormat::Json), true) => Ok(CredentialFormat::Json),
        (Some(asked), false) => Ok(asked),
        (Some(_), true) => Err(CliError::usage("--output json and --format ask for different forms")),
    }
}

fn words(lease: &proto::Lease, now: jiff::Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let name = printable(&lease.name);
    match view::moment(lease.expire_time) {
        Some(at) => lines.push(format!("{name} expires {} ({at:.0})", duration::relative(at, now))),
        None => lines.push(name.clone()),
    }
    let id = view::bare(&name);
    lines.push(format!("earlier: mayfly lease release {id}    longer: mayfly lease renew {id}"));
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{Command, fake_server::Fake},
        *,
    };
    use crate::clock::{Clock as _, ManualClock};

    async fn creds(line: &str) -> (Vec<String>, String, String) {
        let fake = Fake::start().await;
        let clock = ManualClock::new(jiff::Timestamp::from_second(1000).unwrap());
        assert_eq!(clock.now().as_second(), 1000);
        let (command, mut context, out, err) = fake.command(line, Arc::new(clock));
        let Command::Creds(args) = command else { panic!("creds") };
        assert_eq!(run(args, &mut context).await.unwrap(), Exit::Ok);
        (fake.calls.so_far(), out.text(), err.text())
    }

    #[tokio::test]
    async fn the_secret_goes_to_standard_output_and_the_words_to_standard_error() {
        let (calls, out, err) = creds("creds orders-read --format url").await;
        assert_eq!(calls, ["issue orders-read Bearer mf_test"]);
        assert_eq!(out, "postgresql://mf_user:secret@127.0.0.1:5432/app?sslmode=disable\n");
        assert!(err.starts_with("leases/06dp4f2h9c8x1k3m7q0r expires in 15m "), "{err}");
        assert!(!err.contains("secret"), "{err}");
    }

    #[tokio::test]
    async fn json_is_one_document_and_nothing_else() {
        let (_, out, err) = creds("creds orders-read -o json").await;
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["credential"]["password"], "secret");
        assert_eq!(err, "");
    }

    #[test]
    fn contradicting_forms_are_a_usage_error() {
        assert_eq!(form(None, true).unwrap(), CredentialFormat::Json);
        assert_eq!(form(Some(CredentialFormat::Env), false).unwrap(), CredentialFormat::Env);
        assert_eq!(form(Some(CredentialFormat::Env), true).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn the_words_say_until_when_and_what_next() {
        let lease = proto::Lease {
            name: "leases/abc".into(),
            expire_time: Some(prost_types::Timestamp { seconds: 1_795_305_600, nanos: 999 }),
            ..Default::default()
        };
        let now = jiff::Timestamp::from_second(1_795_305_600 - 1800).unwrap();
        assert_eq!(
            words(&lease, now),
            [
                "leases/abc expires in 30m (2026-11-22T00:00:00Z)",
                "earlier: mayfly lease release abc    longer: mayfly lease renew abc"
            ]
        );
    }
}
