//! `mayfly.v1.LockService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert::timestamp,
    page::{self, Listing},
    parse::{self, Fields, resource},
};
use crate::{
    api::proto::{
        self, CreateLockRequest, CreateLockResponse, DeleteLockRequest, DeleteLockResponse, ListLocksRequest,
        ListLocksResponse,
    },
    domain::{Lock, LockSubject, Ttl},
    issuer::NewLock,
};

/// Locks.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

fn message(lock: &Lock) -> proto::Lock {
    proto::Lock {
        name: lock.resource_name(),
        subject: lock.subject.to_string(),
        locked_by: lock.by.to_string(),
        reason: lock.reason.clone(),
        create_time: Some(timestamp(lock.since)),
        expire_time: lock.until.map(timestamp),
        carried_out: lock.carried_out,
    }
}

fn new_lock(asked: &CreateLockRequest) -> Result<NewLock, Status> {
    let mut fields = Fields::default();
    let subject = fields.take("subject", asked.subject.parse::<LockSubject>());
    let life = fields.take("ttl", parse::ttl(asked.ttl.as_ref()));
    let (Some(subject), Some(life)) = (subject, life) else { return Err(fields.refuse()) };
    let (reason, force) = (asked.reason.clone(), asked.force);
    Ok(NewLock { subject, reason, life: life.map(Ttl::duration), force })
}

#[async_trait]
impl proto::lock_service_server::LockService for Service {
    async fn create_lock(
        &self,
        request: Request<CreateLockRequest>,
    ) -> Result<Response<CreateLockResponse>, Status> {
        let call = Call::of(request)?;
        let new = new_lock(&call.message)?;
        let locked = self.0.issuer.lock(call.caller(), new).await;
        let (lock, ended) = locked.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(CreateLockResponse {
            lock: Some(message(&lock)),
            leases_ended: ended.leases,
            requests_cancelled: ended.requests,
            grants_revoked: ended.grants,
        }))
    }

    async fn list_locks(
        &self,
        request: Request<ListLocksRequest>,
    ) -> Result<Response<ListLocksResponse>, Status> {
        let call = Call::of(request)?;
        let listing = Listing::of("locks");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let before = listing.cursor(&call.message.page_token, |text| text.parse().ok());
        let before = fields.take("page_token", before);
        let (Some(size), Some(before)) = (size, before) else { return Err(fields.refuse()) };
        // One more than asked for tells whether there are more.
        let locks = self.0.issuer.locks(call.caller(), before, size.saturating_add(1)).await;
        let locks = locks.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&locks, bounds, message, |lock| lock.subject.to_string());
        Ok(Response::new(ListLocksResponse { locks: cut.messages, next_page_token: cut.next }))
    }

    async fn delete_lock(
        &self,
        request: Request<DeleteLockRequest>,
    ) -> Result<Response<DeleteLockResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let subject = fields.take("name", resource::<LockSubject>("locks", &call.message.name));
        let subject = subject.ok_or_else(|| fields.refuse())?;
        let lock = self.0.issuer.unlock(call.caller(), &subject, call.message.reason.clone()).await;
        let lock = lock.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(DeleteLockResponse { lock: Some(message(&lock)) }))
    }
}
