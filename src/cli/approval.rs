//! From a wish to a credential, by way of reviews where it takes them.

use jiff::SignedDuration;
use tonic::Request;

use super::{
    CliError, Connection, Context, Credential, Exit, Output,
    creds::{self, Wish},
    error::printable,
    patience, queue, view, view_request,
};
use crate::{api::proto, clock::Clock};

/// The reason of a refusal: others must agree first.
const APPROVAL_REQUIRED: &str = "APPROVAL_REQUIRED";

/// The reason of a refusal: the grant begins later.
const NOT_BEGUN: &str = "GRANT_NOT_BEGUN";

/// How long to wait before a server that could not be asked is asked again.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// A request that goes on standing when its command is interrupted.
#[derive(Debug, Default)]
pub(super) struct Standing(Option<String>);

impl Standing {
    /// Says how to go on.
    pub(super) fn tell(&self, output: &mut Output) {
        if let Some(request) = &self.0 {
            let id = view::bare(request);
            output.note(&format!(
                "{request} stands: go on with `mayfly request claim {id} --wait`, withdraw it with `mayfly request cancel {id}`"
            ));
        }
    }
}

/// How a command waits: what it tells, and by which clock.
pub(super) struct Waiting<'a> {
    pub(super) connection: &'a Connection,
    pub(super) output: &'a mut Output,
    pub(super) clock: &'a dyn Clock,
    pub(super) standing: &'a mut Standing,
}

/// Obtains a credential: at once where rules allow it or a grant is there, else by asking for it and, if that is wished, waiting
/// for the reviews.
///
/// # Errors
/// What the server refuses; that reviews are awaited; that they said no; a reply this client cannot read.
pub(super) async fn obtain(
    wish: &Wish,
    key: &str,
    waiting: &mut Waiting<'_>,
) -> Result<(proto::Lease, Credential), CliError> {
    // What policy is to be told of a ticket is said in a request.
    if wish.ticket.is_empty() {
        let issued = queue::until_ours(wish.wait, waiting, async |waiting| {
            creds::issue(waiting.connection, wish, key, waiting.output).await
        });
        match issued.await {
            Err(error) if error.reason() == Some(APPROVAL_REQUIRED) && wish.wait => {}
            answer => return answer,
        }
    }
    let request = proto::CreateRequestRequest {
        role: wish.role.clone(),
        ttl: wish.ttl.map(view::to_proto),
        justification: wish.purpose.clone(),
        ticket: wish.ticket.clone(),
        idempotency_key: key.to_owned(),
        ..Default::default()
    };
    let call = waiting.connection.call(request);
    let reply = waiting.connection.requests().create_request(call).await;
    let reply = reply.map_err(|status| waiting.connection.explain(&status))?.into_inner();
    let grant = match reply.grant {
        Some(grant) => grant.name,
        None => granted(&reply.request.unwrap_or_default(), wish.wait, waiting).await?,
    };
    claim(&grant, wish.ttl, key, wish.wait, waiting).await
}

/// The grant of a request, once it is approved.
///
/// # Errors
/// When it is pending and nobody wants to wait, or was not approved.
pub(super) async fn granted(
    request: &proto::AccessRequest,
    wait: bool,
    waiting: &mut Waiting<'_>,
) -> Result<String, CliError> {
    let decided = if wait { decided(request.clone(), waiting).await? } else { request.clone() };
    let name = printable(&decided.name);
    match decided.state() {
        proto::RequestState::Approved => Ok(decided.grant),
        proto::RequestState::Pending => {
            let awaited = view_request::awaited(&decided, waiting.clock.now()).unwrap_or_default();
            let id = view::bare(&name);
            Err(CliError::new(Exit::Pending, format!("{name} {awaited}"))
                .hint(format!("go on with `mayfly request claim {id} --wait`")))
        }
        _ => Err(outcome(&decided)),
    }
}

/// Why a request that is over gave no access.
fn outcome(request: &proto::AccessRequest) -> CliError {
    let name = printable(&request.name);
    let by =
        if request.decided_by.is_empty() { String::new() } else { format!(" by {}", request.decided_by) };
    let why = if request.decision_reason.is_empty() {
        String::new()
    } else {
        format!(": {}", request.decision_reason)
    };
    let (exit, what) = match request.state() {
        proto::RequestState::Denied => (Exit::Declined, "was denied"),
        proto::RequestState::Cancelled => (Exit::Lapsed, "was withdrawn"),
        _ => (Exit::Lapsed, "expired: nobody decided in time"),
    };
    CliError::new(exit, printable(&format!("{name} {what}{by}{why}")))
}

/// Waits until a request is decided, and tells of what changes meanwhile. A server that cannot be reached is asked again.
///
/// # Errors
/// What the server refuses.
pub(super) async fn decided(
    mut request: proto::AccessRequest,
    waiting: &mut Waiting<'_>,
) -> Result<proto::AccessRequest, CliError> {
    let name = request.name.clone();
    waiting.standing.0 = Some(name.clone());
    let (mut told, mut troubled) = (String::new(), false);
    loop {
        let spinner = waiting.output.spinner(&format!("waiting for {}", printable(&name)));
        let message = Request::new(proto::WatchRequestRequest { name: name.clone() });
        let watched = waiting.connection.requests().watch_request(message).await;
        let trouble = match watched {
            Ok(reply) => {
                let mut events = reply.into_inner();
                loop {
                    match events.message().await {
                        Ok(Some(event)) => request = event.request.unwrap_or(request),
                        Ok(None) => break None,
                        Err(status) => break Some(status),
                    }
                    troubled = false;
                    if request.state() != proto::RequestState::Pending {
                        waiting.standing.0 = None;
                        return Ok(request);
                    }
                    tell(&request, &mut told, waiting);
                }
            }
            Err(status) => Some(status),
        };
        drop(spinner);
        if let Some(status) = trouble {
            let error = waiting.connection.explain(&status);
            if !matches!(error.exit(), Exit::Unavailable | Exit::Limit | Exit::Deadline) {
                return Err(error);
            }
            if !troubled && !waiting.output.is_json() {
                waiting.output.note(&format!("{error} (trying again)"));
            }
            troubled = true;
        }
        let again = waiting.clock.now().saturating_add(PAUSE).unwrap_or(jiff::Timestamp::MAX);
        waiting.clock.sleep_until(again).await;
    }
}

fn tell(request: &proto::AccessRequest, told: &mut String, waiting: &mut Waiting<'_>) {
    let awaited = view_request::awaited(request, waiting.clock.now()).unwrap_or_default();
    if !waiting.output.is_json() && *told != awaited {
        waiting.output.note(&format!("{} {awaited}", printable(&request.name)));
    }
    *told = awaited;
}

/// Claims a credential under a grant; where that begins later and it is wished, waits for its beginning.
///
/// # Errors
/// What the server refuses, or a reply this client cannot read.
pub(super) async fn claim(
    grant: &str,
    ttl: Option<std::time::Duration>,
    key: &str,
    wait: bool,
    waiting: &mut Waiting<'_>,
) -> Result<(proto::Lease, Credential), CliError> {
    let connection = waiting.connection;
    loop {
        let claimed = queue::until_ours(wait, waiting, async |waiting| {
            let spinner = waiting.output.spinner(&format!("claiming {}", printable(grant)));
            let message = proto::ClaimGrantRequest {
                name: grant.to_owned(),
                ttl: ttl.map(view::to_proto),
                idempotency_key: key.to_owned(),
            };
            let reply = patience::until_not_overloaded(connection.timeout(), || async {
                connection.grants().claim_grant(connection.call(message.clone())).await
            });
            let reply = reply.await;
            drop(spinner);
            let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
            creds::issued(reply.lease, reply.credential)
        });
        let error = match claimed.await {
            Ok(credential) => return Ok(credential),
            Err(error) => error,
        };
        if !wait || error.reason() != Some(NOT_BEGUN) {
            return Err(error);
        }
        let start = start_of(grant, connection).await?.ok_or(error)?;
        if !waiting.output.is_json() {
            waiting.output.note(&format!("{} begins at {start:.0}", printable(grant)));
        }
        // Our clock may be ahead of the server's.
        let soon = waiting.clock.now().saturating_add(PAUSE).unwrap_or(start);
        waiting.clock.sleep_until(start.max(soon)).await;
    }
}

async fn start_of(grant: &str, connection: &Connection) -> Result<Option<jiff::Timestamp>, CliError> {
    let message = proto::GetGrantRequest { name: grant.to_owned() };
    let reply = connection.grants().get_grant(connection.call(message)).await;
    let grant = reply.map_err(|status| connection.explain(&status))?.into_inner().grant;
    Ok(grant.and_then(|grant| view::moment(grant.start_time)))
}

/// Does what waits for others, unless a signal asks us to end: then it says how to go on.
///
/// # Errors
/// What `wait` fails with.
pub(super) async fn unless_interrupted<T>(
    context: &mut Context,
    connection: &Connection,
    wait: impl AsyncFnOnce(&mut Waiting<'_>) -> Result<T, CliError>,
) -> Result<Result<T, Exit>, CliError> {
    let mut signals = super::child::Signals::of_process()?;
    let mut standing = Standing::default();
    let waited = {
        let Context { output, clock, .. } = &mut *context;
        let mut waiting = Waiting { connection, output, clock: &**clock, standing: &mut standing };
        tokio::select! {
            waited = wait(&mut waiting) => Ok(waited?),
            signal = signals.next_to_end() => Err(Exit::of_signal(signal.as_raw())),
        }
    };
    if waited.is_err() {
        standing.tell(&mut context.output);
    }
    Ok(waited)
}
