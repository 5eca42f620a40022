//! Who could get at what: looked through, and taken back.

use super::{
    stage::Stage,
    transcript::{Setback, Told, Transcript},
};
use crate::{
    api::proto::{self, AccessReach, AccessVerdict},
    cli::{CliError, pages},
};

pub(super) async fn act(stage: &mut Stage<'_>, transcript: &mut Transcript<'_>) -> Result<(), CliError> {
    transcript.act("Who could get at what")?;
    let item = transcript.step("mayfly review-access", listed(stage)).await?;
    transcript.step("mayfly review-access revoke", revoked(stage, &item)).await
}

/// Everything there is; and what carol has from breaking the glass.
async fn listed(stage: &Stage<'_>) -> Told<proto::AccessItem> {
    let line = &stage.administrator;
    let items = pages::all(async |page_size, page_token| {
        let message = proto::ListAccessRequest { page_size, page_token, ..Default::default() };
        let reply = line.access().list_access(line.call(message)).await;
        let reply = reply.map_err(|status| line.explain(&status))?.into_inner();
        Ok((reply.items, reply.next_page_token))
    })
    .await?;
    let (all, unused) = (items.len(), items.iter().filter(|item| item.uses == 0).count());
    let at_once = items.iter().filter(|item| item.reach() == AccessReach::AtOnce).count();
    let loud = items.into_iter().find(|item| item.principal == "carol" && !item.grants.is_empty());
    let loud = loud.ok_or_else(|| Setback::unexpected("what carol has", "nothing of hers"))?;
    Ok((loud, format!("{all} accesses, {at_once} of them at once; {unused} were never used")))
}

async fn revoked(stage: &Stage<'_>, item: &proto::AccessItem) -> Told<()> {
    let line = &stage.administrator;
    let decision = proto::AccessDecision {
        principal: item.principal.clone(),
        role: item.role.clone(),
        verdict: AccessVerdict::Revoke.into(),
        comment: "the incident is over".to_owned(),
        etag: item.etag.clone(),
        lock: false,
    };
    let message = proto::DecideAccessRequest { decisions: vec![decision], validate_only: false };
    let reply = line.access().decide_access(line.call(message)).await;
    let reply = reply.map_err(|status| line.explain(&status))?.into_inner();
    let outcome = reply.outcomes.into_iter().next().unwrap_or_default();
    if outcome.grants_revoked == 0 {
        return Err(Setback::unexpected("a grant that ends", "none"));
    }
    let still = outcome.item.unwrap_or_default().break_glass_by;
    Ok(((), format!("what carol has of break-glass ends; she could again, by {still}")))
}
