//! Leases that are due together, made through Mayfly, and sessions of theirs.

use jiff::Timestamp;
use mayfly::{
    api::proto::{Credential, IssueLeaseRequest},
    clock::{Clock as _, SystemClock},
    sandbox::Administrator,
};
use tokio::task::JoinSet;
use tonic::Request;

use super::CALLERS;
use crate::frame::{Kind, Line, Outcome, World};

/// What was made.
pub(super) struct Made(Vec<Credential>);

/// Sessions that are open.
pub(super) struct Sessions(Vec<Line>);

/// Has leases issued whose terms end at a moment, rounded up to whole seconds.
pub(super) async fn make(world: &World, kind: Kind, leases: usize, due: Timestamp) -> Outcome<Made> {
    let lines = world.mayfly_lines(kind, CALLERS).await?;
    let share = leases / lines.len().max(1);
    let mut tasks = JoinSet::new();
    for line in lines {
        tasks.spawn(issue(line, share, due));
    }
    let mut all = Vec::with_capacity(leases);
    while let Some(made) = tasks.join_next().await {
        all.extend(made??);
    }
    Ok(Made(all))
}

async fn issue(line: Line, count: usize, due: Timestamp) -> Outcome<Vec<Credential>> {
    let Line::Mayfly(mut line) = line else { return Err("not a line to Mayfly".into()) };
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        let seconds = due.duration_since(SystemClock.now()).as_secs();
        let mut request = Request::new(IssueLeaseRequest {
            role: line.role.to_owned(),
            ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
            purpose: "benchmark".to_owned(),
            idempotency_key: String::new(),
        });
        request.metadata_mut().insert("authorization", line.bearer.clone());
        let reply = line.client.issue_lease(request).await?.into_inner();
        made.push(reply.credential.ok_or("a reply without a credential")?);
    }
    Ok(made)
}

impl Made {
    /// Opens a session of each of so many, evenly spread.
    pub(super) async fn sessions(&self, world: &World, count: usize) -> Outcome<Sessions> {
        let mut lines = Vec::with_capacity(count);
        let step = (self.0.len() / count.max(1)).max(1);
        for credential in self.0.iter().step_by(step).take(count) {
            let password = mayfly::domain::Password::new(credential.password.clone());
            let account = Administrator { user: credential.username.clone(), password };
            lines.push(Line::to_server(world.server(), &account).await?);
        }
        Ok(Sessions(lines))
    }
}

impl Sessions {
    /// How many still answer.
    pub(super) async fn alive(self) -> usize {
        let mut alive = 0;
        for mut line in self.0 {
            alive += usize::from(line.send("SELECT 1").await.is_ok());
        }
        alive
    }
}
