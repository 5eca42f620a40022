//! `mayfly.v1.AuditService`.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{
    super::{
        call::{Call, Session, Shared},
        convert,
        feed::{Feed, Over},
        page::{self, Listing},
        parse::Fields,
        status,
    },
    audit_filter,
};
use crate::{
    api::proto::{
        self, AuditRecord, ListAuditRecordsRequest, ListAuditRecordsResponse, SearchAuditRecordsRequest,
        SearchAuditRecordsResponse, TailAuditRecordsRequest, TailAuditRecordsResponse,
    },
    audit::{Found, FoundRecord, Order, Position, Record},
};

/// Records read at once when tailing.
const BATCH: usize = 100;

/// Records told before new ones, at most.
const LARGEST_LAST: u64 = 500;

/// The audit log.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

fn render(records: &[Record]) -> Result<Vec<AuditRecord>, Status> {
    let rendered = records.iter().map(convert::record).collect::<Result<_, _>>();
    rendered.map_err(|error| status::internal(&error))
}

#[async_trait]
impl proto::audit_service_server::AuditService for Service {
    type TailAuditRecordsStream = ReceiverStream<Result<TailAuditRecordsResponse, Status>>;

    async fn list_audit_records(
        &self,
        request: Request<ListAuditRecordsRequest>,
    ) -> Result<Response<ListAuditRecordsResponse>, Status> {
        let call = Call::of(request)?;
        let listing = Listing::of("audit");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let after = listing.cursor(&call.message.page_token, |text| text.parse::<u64>().ok());
        let after = fields.take("page_token", after);
        let (Some(size), Some(after)) = (size, after) else { return Err(fields.refuse()) };
        // One more than asked for tells whether there are more.
        let limit = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
        let records = self.0.issuer.audit_after(call.caller(), after.unwrap_or(0), limit).await;
        let records = render(&records.map_err(|refusal| call.refused(&refusal))?)?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&records, bounds, AuditRecord::clone, |record| record.seq.to_string());
        Ok(Response::new(ListAuditRecordsResponse { records: cut.messages, next_page_token: cut.next }))
    }

    async fn search_audit_records(
        &self,
        request: Request<SearchAuditRecordsRequest>,
    ) -> Result<Response<SearchAuditRecordsResponse>, Status> {
        let call = Call::of(request)?;
        let message = &call.message;
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(message.page_size));
        let filter = audit_filter::parse(&mut fields, message.filter.as_ref());
        let (Some(size), Some(filter)) = (size, filter) else { return Err(fields.refuse()) };
        let listing = audit_filter::listing(&filter, message.newest_first);
        let from = listing.cursor(&message.page_token, |text| text.parse::<Position>().ok());
        let from = fields.take("page_token", from).ok_or_else(|| fields.refuse())?;
        let order = if message.newest_first { Order::NewestFirst } else { Order::OldestFirst };
        let limit = usize::try_from(size).unwrap_or(usize::MAX);
        let found = self.0.issuer.search_audit(call.caller(), &filter, order, (from.as_ref(), limit)).await;
        let Found { items, next } = found.map_err(|refusal| call.refused(&refusal))?;
        let render = |item: FoundRecord| {
            let record = convert::record(&item.record).map_err(|error| status::internal(&error))?;
            Ok((AuditRecord { chain: item.chain, ..record }, item.next))
        };
        let items = items.into_iter().map(render).collect::<Result<Vec<_>, Status>>()?;
        let bounds = (size, next.is_some(), self.0.reply_budget);
        let cut = listing.cut(&items, bounds, |(record, _)| record.clone(), |(_, next)| next.to_string());
        let on = match (items.len() == cut.messages.len(), next) {
            // Behind the last record there may be some that were looked at in vain.
            (true, Some(next)) => listing.token(next),
            _ => cut.next,
        };
        Ok(Response::new(SearchAuditRecordsResponse { records: cut.messages, next_page_token: on }))
    }

    async fn tail_audit_records(
        &self,
        request: Request<TailAuditRecordsRequest>,
    ) -> Result<Response<Self::TailAuditRecordsStream>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let last = u64::try_from(call.message.last_count).map_err(|_| "is negative");
        let last = fields.take("last_count", last).ok_or_else(|| fields.refuse())?;
        let head = self.0.issuer.audit_head(call.caller()).await;
        let head = head.map_err(|refusal| call.refused(&refusal))?;
        let (shared, session) = (Arc::clone(&self.0), Arc::clone(&call.session));
        let told = head.saturating_sub(last.min(LARGEST_LAST));
        let stop_after = call.message.stop_at_end.then_some(head);
        let records = Feed::open(&self.0, &call.session, call.deadline, |feed| async move {
            let mut tail = Tail { shared, session, feed, told, stop_after };
            let over = tail.run().await;
            tail.feed.end(over).await;
        })?;
        Ok(Response::new(records))
    }
}

struct Tail {
    shared: Arc<Shared>,
    session: Arc<Session>,
    feed: Feed<TailAuditRecordsResponse>,
    /// The last record told.
    told: u64,
    /// Hang up after this one instead of following.
    stop_after: Option<u64>,
}

impl Tail {
    async fn run(&mut self) -> Result<(), Over> {
        let (shared, session) = (Arc::clone(&self.shared), Arc::clone(&self.session));
        loop {
            if self.stop_after.is_some_and(|last| self.told >= last) {
                return Ok(());
            }
            let read = shared.issuer.audit_after(session.caller(), self.told, BATCH);
            let records = self.feed.until(read).await?;
            let records = records.map_err(|refusal| status::refused(session.caller(), &refusal))?;
            if records.is_empty() {
                self.feed.until(shared.issuer.audit_appended(self.told)).await?;
            }
            let wanted = |record: &AuditRecord| self.stop_after.is_none_or(|last| record.seq <= last);
            for record in render(&records)?.into_iter().filter(wanted) {
                self.told = record.seq;
                self.feed.tell(TailAuditRecordsResponse { record: Some(record) }).await?;
            }
        }
    }
}
