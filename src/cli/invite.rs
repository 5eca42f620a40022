//! `mayfly invite`: contractors, by one-time invitations.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    CliError, Connection, Context, Exit, duration,
    error::printable,
    login, pages, prompt, session_file,
    table::{self, Cell, Column, Paint},
    view,
};
use crate::api::proto;

const CREATE_EXAMPLES: &str = "Examples:
  mayfly invite create kim@agency.example --role orders-read --window 2d --purpose 'migration of the orders'
  mayfly invite create kim --role orders-read --cidr 198.51.100.0/24 --start 2026-12-01T08:00:00Z --window 8h --purpose audit

You are the sponsor. The code alone goes to standard output, once: give it to the contractor, who signs in with it by
`mayfly invite claim`. What the contractor gets is still up to the roles and policies; other roles than these are out of reach.";

/// Subcommands of `mayfly invite`.
#[derive(Debug, Subcommand)]
pub enum InviteCommand {
    /// Invite a contractor; the code is shown once
    Create(CreateArgs),
    /// List invitations, newest first: yours, or everybody's (administrators)
    Ls(LsArgs),
    /// Make an invitation, and the session it was claimed for, worthless, now
    Revoke(RevokeArgs),
    /// Sign in with the code you were given; works once
    Claim(ClaimArgs),
}

/// Arguments of `mayfly invite create`.
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub struct CreateArgs {
    /// What the contractor is called: a name or a mail address, without blanks
    #[arg(value_name = "CONTRACTOR")]
    pub contractor: String,
    /// A role it is for; may be repeated
    #[arg(long = "role", value_name = "ROLE", required = true)]
    pub roles: Vec<String>,
    /// What for
    #[arg(long, value_name = "TEXT")]
    pub purpose: String,
    /// How long it works, such as 8h or 2d [default: 1d]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub window: Option<Duration>,
    /// From when on, such as 2026-12-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub start: Option<Timestamp>,
    /// Where it may be claimed and used from; may be repeated [default: anywhere]
    #[arg(long = "cidr", value_name = "CIDR")]
    pub cidrs: Vec<String>,
    /// A group of the contractor's, one of your own; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Where mail reaches the contractor
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    pub mail: String,
}

/// Arguments of `mayfly invite ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Everybody's (administrators)
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `mayfly invite revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The invitation's name
    #[arg(value_name = "INVITATION")]
    pub name: String,
}

/// Arguments of `mayfly invite claim`.
#[derive(Debug, Args)]
pub struct ClaimArgs {
    /// The code, which is worth nothing once it is claimed [default: ask, or a line of standard input]
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// Write the session's token to standard output, and keep it nowhere
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Serialize)]
struct InvitationView {
    name: String,
    contractor: String,
    principal: String,
    mail: String,
    roles: Vec<String>,
    groups: Vec<String>,
    purpose: String,
    sponsor: String,
    cidrs: Vec<String>,
    state: &'static str,
    failures: u32,
    start_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    create_time: Option<Timestamp>,
    claim_time: Option<Timestamp>,
    revoke_time: Option<Timestamp>,
}

impl InvitationView {
    fn of(invitation: &proto::Invitation, now: Timestamp) -> Self {
        Self {
            name: invitation.name.clone(),
            contractor: invitation.contractor.clone(),
            principal: invitation.principal.clone(),
            mail: invitation.mail.clone(),
            roles: invitation.roles.clone(),
            groups: invitation.groups.clone(),
            purpose: invitation.purpose.clone(),
            sponsor: invitation.sponsor.clone(),
            cidrs: invitation.cidrs.clone(),
            state: state(invitation, now),
            failures: invitation.failures,
            start_time: view::moment(invitation.start_time),
            expire_time: view::moment(invitation.expire_time),
            create_time: view::moment(invitation.create_time),
            claim_time: view::moment(invitation.claim_time),
            revoke_time: view::moment(invitation.revoke_time),
        }
    }
}

/// In one word, the state of an invitation.
fn state(invitation: &proto::Invitation, now: Timestamp) -> &'static str {
    let over = view::moment(invitation.expire_time).is_some_and(|at| at <= now);
    let early = view::moment(invitation.start_time).is_some_and(|at| at > now);
    match (invitation.revoke_time.is_some(), over, invitation.claim_time.is_some()) {
        (true, ..) => "revoked",
        (false, true, true) => "over",
        (false, true, false) => "expired",
        (false, false, true) => "claimed",
        (false, false, false) if early => "early",
        (false, false, false) => "open",
    }
}

/// Runs `mayfly invite …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: InviteCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        InviteCommand::Create(args) => create(args, context).await,
        InviteCommand::Ls(args) => list(args, context).await,
        InviteCommand::Revoke(args) => revoke(args, context).await,
        InviteCommand::Claim(args) => claim(args, context).await,
    }
}

async fn create(args: CreateArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply<'a> {
        invitation: InvitationView,
        code: &'a str,
    }
    let connection = context.connect()?;
    let start =
        |at: Timestamp| prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() };
    let request = connection.call(proto::CreateInvitationRequest {
        contractor: args.contractor,
        mail: args.mail,
        roles: args.roles,
        groups: args.groups,
        purpose: args.purpose,
        cidrs: args.cidrs,
        start_time: args.start.map(start),
        window: args.window.map(view::to_proto),
    });
    let reply = connection.invitations().create_invitation(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let (invitation, code) = (reply.invitation.unwrap_or_default(), Zeroizing::new(reply.code));
    let now = context.clock.now();
    if context.output.is_json() {
        context.output.json(&Reply { invitation: InvitationView::of(&invitation, now), code: &code })?;
        return Ok(Exit::Ok);
    }
    context.output.data(&code)?;
    let until =
        view::moment(invitation.expire_time).map(|at| duration::relative(at, now)).unwrap_or_default();
    let (name, contractor) = (printable(&invitation.name), printable(&invitation.contractor));
    context.output.note(&format!("{name}: {contractor} signs in with: mayfly invite claim"));
    context.output.note(&format!("it ends {until}; the code works once and is not shown again"));
    Ok(Exit::Ok)
}

async fn list(args: LsArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        invitations: Vec<InvitationView>,
    }
    let connection = context.connect()?;
    let invitations = pages::all(async |page_size, page_token| {
        let request =
            connection.call(proto::ListInvitationsRequest { page_size, page_token, everybody: args.all });
        let reply = connection.invitations().list_invitations(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.invitations, reply.next_page_token))
    })
    .await?;
    let now = context.clock.now();
    if context.output.is_json() {
        let invitations = invitations.iter().map(|invitation| InvitationView::of(invitation, now)).collect();
        context.output.json(&Reply { invitations })?;
    } else {
        let rows: Vec<_> = invitations.iter().map(|invitation| row(invitation, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

const COLUMNS: [Column; 7] = [
    Column::whole("INVITATION"),
    Column::cut("CONTRACTOR", 12),
    Column::cut("ROLES", 12),
    Column::whole("STATE"),
    Column::whole("ENDS"),
    Column::cut("SPONSOR", 10),
    Column::cut("PURPOSE", 12),
];

fn row(invitation: &proto::Invitation, now: Timestamp) -> Vec<Cell> {
    let state = state(invitation, now);
    let paint = match state {
        "open" | "early" => Paint::Yellow,
        "claimed" => Paint::Green,
        _ => Paint::Dim,
    };
    let roles: Vec<&str> = invitation.roles.iter().map(|role| view::bare(role)).collect();
    let ends = view::moment(invitation.expire_time).map(|at| duration::relative(at, now)).unwrap_or_default();
    vec![
        view::bare(&invitation.name).into(),
        (&invitation.contractor).into(),
        roles.join(", ").into(),
        Cell::painted(state, paint),
        ends.into(),
        (&invitation.sponsor).into(),
        (&invitation.purpose).into(),
    ]
}

async fn revoke(args: RevokeArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        invitation: InvitationView,
    }
    let connection = context.connect()?;
    let name = view::qualified("invitations", &args.name);
    let request = connection.call(proto::RevokeInvitationRequest { name });
    let reply = connection.invitations().revoke_invitation(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let invitation = reply.invitation.unwrap_or_default();
    if context.output.is_json() {
        let now = context.clock.now();
        context.output.json(&Reply { invitation: InvitationView::of(&invitation, now) })?;
    } else {
        let (name, principal) = (printable(&invitation.name), printable(&invitation.principal));
        context.output.note(&format!("{name} is revoked, and the session of {principal} with it"));
        context.output.note("what was asked for, granted and issued in it ends now");
    }
    Ok(Exit::Ok)
}

async fn claim(args: ClaimArgs, context: &mut Context) -> Result<Exit, CliError> {
    let address = context.global.connection.address.clone();
    // Before the code is used up.
    let path = if args.print { None } else { Some(session_file::own_path(&address)?) };
    let connection = Connection::open_to_sign_in(&context.global.connection)?;
    let code = match args.code {
        Some(code) => Zeroizing::new(code),
        None => Zeroizing::new(prompt::secret("Code you were given")?.expose().to_owned()),
    };
    let request = connection.call(proto::ClaimInvitationRequest { code: code.to_string() });
    let reply = connection.invitations().claim_invitation(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    login::keep(&reply.session.unwrap_or_default(), &Zeroizing::new(reply.secret), path.as_deref(), context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_says_in_one_word_how_it_stands() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let open =
            proto::Invitation { start_time: at(999_999), expire_time: at(1_000_001), ..Default::default() };
        let with = |change: fn(&mut proto::Invitation)| {
            let mut invitation = open.clone();
            change(&mut invitation);
            state(&invitation, now)
        };
        let moment = prost_types::Timestamp { seconds: 1_000_000, nanos: 0 };
        assert_eq!(moment.seconds, now.as_second());
        assert_eq!(with(|_| ()), "open");
        assert_eq!(with(|one| one.start_time = one.expire_time), "early");
        assert_eq!(with(|one| one.claim_time = one.start_time), "claimed");
        assert_eq!(with(|one| one.expire_time = one.start_time), "expired");
        assert_eq!(with(|one| (one.claim_time, one.expire_time) = (one.start_time, one.start_time)), "over");
        assert_eq!(
            with(|one| (one.claim_time, one.revoke_time) = (one.start_time, one.start_time)),
            "revoked"
        );
    }
}
