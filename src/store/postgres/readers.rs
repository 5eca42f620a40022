//! A few sessions that only ask, never behind the writer's queue. Each question is one statement and so one snapshot, so that
//! a session can be asked by several at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Mutex;
use tokio_postgres::{Row, types::ToSql};

use super::{
    failure::{Failure, closed},
    session::Session,
    settings::PostgresSettings,
};
use crate::store::StoreError;

/// Where a session is kept.
#[derive(Default)]
struct Place {
    kept: Mutex<Kept>,
    /// Counts attempts to connect that failed.
    failures: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    session: Option<Arc<Session>>,
    failure: Option<Failure>,
}

/// The sessions: opened when first needed, then kept.
pub(super) struct Readers {
    settings: Arc<PostgresSettings>,
    places: Vec<Place>,
    turn: AtomicUsize,
    closed: AtomicBool,
}

impl Readers {
    /// As many as the options say.
    pub(super) fn new(settings: Arc<PostgresSettings>) -> Self {
        let places = (0..settings.options.readers.max(1)).map(|_| Place::default()).collect();
        Self { settings, places, turn: AtomicUsize::new(0), closed: AtomicBool::new(false) }
    }

    /// Asks one of them. A session that turns out to have ended is replaced, once.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let (session, was_kept) = self.session().await?;
        match session.query(sql, values).await {
            Ok(rows) => Ok(rows),
            Err(failure) if failure.is_lost && !failure.hung && was_kept => {
                let (session, _) = self.session().await?;
                session.query(sql, values).await.map_err(|failure| failure.to_error())
            }
            Err(failure) => Err(failure.to_error()),
        }
    }

    /// Reads what a question brings.
    pub(super) async fn read<T>(
        &self,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
        read: impl Fn(&Row) -> Result<T, Failure>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.query(sql, values).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|failure| failure.to_error())
    }

    async fn session(&self) -> Result<(Arc<Session>, bool), StoreError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.places.len().max(1);
        let Some(place) = self.places.get(turn) else { return Err(closed()) };
        let failures = place.failures.load(Ordering::SeqCst);
        let mut kept = place.kept.lock().await;
        if let Some(session) = kept.session.as_ref().filter(|session| session.is_open()) {
            return Ok((Arc::clone(session), true));
        }
        // Whoever waited for an attempt that failed shares its outcome, rather than wait for the next.
        if let Some(failure) =
            kept.failure.as_ref().filter(|_| place.failures.load(Ordering::SeqCst) != failures)
        {
            return Err(failure.to_error());
        }
        match Session::open(&self.settings, "reader").await {
            Ok(session) => {
                let session = Arc::new(session);
                *kept = Kept { session: Some(Arc::clone(&session)), failure: None };
                Ok((session, false))
            }
            Err(failure) => {
                let error = failure.to_error();
                *kept = Kept { session: None, failure: Some(failure) };
                place.failures.fetch_add(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    /// Takes no more questions. Those under way are answered.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for place in &self.places {
            place.kept.lock().await.session = None;
        }
    }
}
