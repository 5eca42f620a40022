//! Moving old audit records to an archive.
//!
//! A run writes one or more segments, each of which continues the one before it. In this order: the records are verified and written
//! to a file of another name; the file is on disk; it gets its name, which is on disk; the store learns from where on the chain is in
//! it, and the chain has a record of that, in one transaction; only then the records leave the store. After a crash they are in the store, in a
//! file, or in both.

use jiff::Timestamp;

use super::{
    AuditRetention, GATHER, RetentionError, Round,
    segment::{Segment, Written},
};
use crate::{
    audit::{ARCHIVED, Actor, ChainHead, Draft, REPLICA, Record, THROUGH},
    metrics::Stopwatch,
    store::{ArchivedAudit, Changes, Committed, Kept, StoreError, StoreErrorKind, chain_of, document},
};

/// Records read, written or removed at once.
const STEP: u64 = 500;

/// Records in one segment.
const LONGEST: u64 = 250_000;

/// What a run may archive, settled when it begins: what happens meanwhile, its own records among it, waits for the next.
struct Old {
    /// What happened before this moment.
    before: Timestamp,
    /// No record behind this one.
    last: u64,
}

impl Round {
    /// Archives what is old enough, if there is enough of it; says when to look again.
    pub(super) async fn archive(&self) -> Result<Option<Timestamp>, RetentionError> {
        let Some(settings) = &self.parts.settings.audit else { return Ok(None) };
        let store = &*self.parts.store;
        let chain = chain_of(store);
        let mut kept = document::<ArchivedAudit>(store, &ArchivedAudit::id_of(&chain)).await?;
        if let Some(kept) = &kept {
            // What a crash left there.
            self.remove_archived(kept.document.seq).await?;
        }
        let after = |kept: &Option<Kept<ArchivedAudit>>| kept.as_ref().map_or(0, |kept| kept.document.seq);
        let first = store.read_after(after(&kept), 1).await?.into_iter().next();
        let now = self.parts.clock.now();
        let Some(first) = first else { return Ok(Some(Self::seen_to(now, settings.keep))) };
        if Self::seen_to(first.at, settings.keep) > now {
            return Ok(Some(Self::seen_to(first.at, settings.keep)));
        }
        let old = Old { before: self.bound(settings.keep), last: self.last_that_may_go().await? };
        while !self.stop.is_cancelled() {
            let Some(archived) = self.archive_segment(settings, &chain, kept.as_ref(), &old).await? else {
                break;
            };
            self.remove_archived(archived.document.seq).await?;
            kept = Some(archived);
        }
        Ok(Some(now.saturating_add(GATHER).unwrap_or(Timestamp::MAX)))
    }

    /// Archives the next records; `None`: there are none that may go.
    async fn archive_segment(
        &self,
        settings: &AuditRetention,
        chain: &str,
        kept: Option<&Kept<ArchivedAudit>>,
        old: &Old,
    ) -> Result<Option<Kept<ArchivedAudit>>, RetentionError> {
        let after = kept.map_or(ChainHead::GENESIS, |kept| kept.document.head());
        let directory = settings.directory.clone();
        let begun = Segment::begin(directory, chain.to_owned(), after).await?;
        let written = match begun {
            Segment::There(written) => self.check_there(after, written).await?,
            Segment::New(mut new) => loop {
                let watch = Stopwatch::start();
                let records = self.old_records(new.head(), old).await?;
                let enough = records.is_empty() || new.records() >= LONGEST;
                if enough && new.records() == 0 {
                    new.discard().await;
                    return Ok(None);
                }
                if enough {
                    break new.finish().await?;
                }
                new = new.write(records).await?;
                self.pause(watch.elapsed()).await;
                if self.stop.is_cancelled() {
                    new.discard().await;
                    return Ok(None);
                }
            },
        };
        let archived = ArchivedAudit {
            chain: chain.to_owned(),
            seq: written.last.seq,
            hash: written.last.hash,
            at: self.parts.clock.now(),
            file: written.name,
        };
        self.tell(archived, after, kept.map_or(0, |kept| kept.revision)).await.map(Some)
    }

    /// The next records of the chain that may be archived.
    async fn old_records(&self, after: ChainHead, old: &Old) -> Result<Vec<Record>, RetentionError> {
        let step = usize::try_from(STEP).unwrap_or(usize::MAX);
        let mut records = self.parts.store.read_after(after.seq, step).await?;
        let may_go =
            records.iter().take_while(|record| record.at < old.before && record.seq <= old.last).count();
        records.truncate(may_go);
        Ok(records)
    }

    /// The last record that may be archived by now.
    async fn last_that_may_go(&self) -> Result<u64, RetentionError> {
        // What is not in the copy yet would not get there, and the chain goes on from its last record.
        let last = self.parts.store.last_seq().await?.saturating_sub(1);
        // Nor does what the copy ends with go: by that it is known as a copy of this log.
        let copied = self.parts.copied.as_ref().map(|copied| copied.last_seq().saturating_sub(1));
        Ok(copied.map_or(last, |copied| last.min(copied)))
    }

    /// Of a segment that was written before a crash: whether it holds what the store does.
    async fn check_there(&self, after: ChainHead, there: Written) -> Result<Written, RetentionError> {
        let of_store = self.parts.store.read_after(there.last.seq.saturating_sub(1), 1).await?;
        let same = of_store.first().is_some_and(|record| {
            (record.seq, record.hash) == (there.last.seq, there.last.hash) && record.seq > after.seq
        });
        if same { Ok(there) } else { Err(RetentionError::Foreign { path: there.path }) }
    }

    /// Has it on record, in the chain itself, that its beginning is archived.
    async fn tell(
        &self,
        archived: ArchivedAudit,
        after: ChainHead,
        revision: u64,
    ) -> Result<Kept<ArchivedAudit>, RetentionError> {
        let store = &*self.parts.store;
        let records = archived.seq.saturating_sub(after.seq);
        let resource = format!("audit/{}", archived.chain);
        let draft = Draft::new(self.parts.clock.now(), Actor::System, ARCHIVED, resource)
            .with(THROUGH, archived.head().to_string())
            .with("after", after.to_string())
            .with("records", records.to_string())
            .with("file", archived.file.as_str());
        let draft = match store.replica() {
            Some(replica) => draft.with(REPLICA, replica),
            None => draft,
        };
        let changes = match revision {
            0 => Changes::new().insert(&archived)?,
            revision => Changes::new().replace(&archived, revision)?,
        };
        if changes.record(draft).commit(store).await? == Committed::Conflict {
            let message = "somebody else archives this chain";
            return Err(StoreError::new(StoreErrorKind::Held, message).into());
        }
        tracing::info!(file = archived.file, records, "audit records were archived");
        Ok(Kept { revision: revision.saturating_add(1), document: archived })
    }

    /// Removes records that are archived, a few at a time.
    async fn remove_archived(&self, through: u64) -> Result<(), RetentionError> {
        while !self.stop.is_cancelled() {
            let watch = Stopwatch::start();
            let first = self.parts.store.read_after(0, 1).await?.first().map(|record| record.seq);
            let Some(first) = first.filter(|first| *first <= through) else { return Ok(()) };
            let step = first.saturating_add(STEP - 1).min(through);
            self.parts.store.remove_archived(step).await?;
            self.pause(watch.elapsed()).await;
        }
        Ok(())
    }
}
