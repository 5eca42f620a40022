//! `mayfly.v1.NoticeService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert::timestamp,
    page::{self, Listing},
    parse::{Fields, named},
};
use crate::{
    api::proto::{
        self, DropNoticeRequest, DropNoticeResponse, ListNoticesRequest, ListNoticesResponse,
        RetryNoticeRequest, RetryNoticeResponse, TestChannelRequest, TestChannelResponse,
    },
    domain::{ChannelName, NoticeId},
    issuer::NoticeFilter,
    notify::{Notice, NoticeState},
};

/// What is told of what happens.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

#[async_trait]
impl proto::notice_service_server::NoticeService for Service {
    async fn list_notices(
        &self,
        request: Request<ListNoticesRequest>,
    ) -> Result<Response<ListNoticesResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let channel = match call.message.channel.as_str() {
            "" => Some(None),
            name => fields.take("channel", name.parse::<ChannelName>()).map(Some),
        };
        let state = fields.take("state", state_from_proto(call.message.state));
        let size = fields.take("page_size", page::size(call.message.page_size));
        let parts = [call.message.channel.clone(), call.message.state.to_string()];
        let listing = Listing::filtered("notices", &parts);
        let before = listing.cursor(&call.message.page_token, |text| text.parse::<NoticeId>().ok());
        let before = fields.take("page_token", before);
        let (Some(channel), Some(state), Some(size), Some(before)) = (channel, state, size, before) else {
            return Err(fields.refuse());
        };
        let filter = NoticeFilter { channel, state };
        // One more than asked for tells whether there are more.
        let notices = self.0.issuer.notices(call.caller(), &filter, before, size.saturating_add(1)).await;
        let notices = notices.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&notices, bounds, message, |notice| notice.id.to_string());
        Ok(Response::new(ListNoticesResponse { notices: cut.messages, next_page_token: cut.next }))
    }

    async fn retry_notice(
        &self,
        request: Request<RetryNoticeRequest>,
    ) -> Result<Response<RetryNoticeResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("notices", &call.message.name)?;
        let notice = self.0.issuer.retry_notice(call.caller(), id).await;
        let notice = notice.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RetryNoticeResponse { notice: Some(message(&notice)) }))
    }

    async fn drop_notice(
        &self,
        request: Request<DropNoticeRequest>,
    ) -> Result<Response<DropNoticeResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("notices", &call.message.name)?;
        let notice = self.0.issuer.drop_notice(call.caller(), id).await;
        let notice = notice.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(DropNoticeResponse { notice: Some(message(&notice)) }))
    }

    async fn test_channel(
        &self,
        request: Request<TestChannelRequest>,
    ) -> Result<Response<TestChannelResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let channel = fields.take("channel", call.message.channel.parse::<ChannelName>());
        let channel = channel.ok_or_else(|| fields.refuse())?;
        let notice = self.0.issuer.test_channel(call.caller(), &channel).await;
        let notice = notice.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(TestChannelResponse { notice: Some(message(&notice)) }))
    }
}

/// A state filter; `None`: any.
fn state_from_proto(number: i32) -> Result<Option<&'static str>, &'static str> {
    let state = proto::NoticeState::try_from(number).map_err(|_| "is no known notice state")?;
    Ok(match state {
        proto::NoticeState::Unspecified => None,
        proto::NoticeState::Queued => Some("queued"),
        proto::NoticeState::Sent => Some("sent"),
        proto::NoticeState::Dead => Some("dead"),
    })
}

fn message(notice: &Notice) -> proto::Notice {
    let (state, next, end) = match &notice.state {
        NoticeState::Queued { next_at, .. } => (proto::NoticeState::Queued, Some(*next_at), None),
        NoticeState::Sent { at, .. } => (proto::NoticeState::Sent, None, Some(*at)),
        NoticeState::Dead { at, .. } => (proto::NoticeState::Dead, None, Some(*at)),
    };
    proto::Notice {
        name: notice.resource_name(),
        channel: notice.channel.to_string(),
        event: notice.event.kind.to_string(),
        what: notice.event.what.clone(),
        resource: notice.event.resource.clone(),
        state: state.into(),
        attempt_count: i32::try_from(notice.state.attempts()).unwrap_or(i32::MAX),
        last_error: notice.state.error().unwrap_or_default().to_owned(),
        create_time: Some(timestamp(notice.created_at)),
        next_attempt_time: next.map(timestamp),
        end_time: end.map(timestamp),
    }
}
