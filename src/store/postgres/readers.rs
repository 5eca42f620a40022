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

/// The sessions: opened when first needed, then kept.
pub(super) struct Readers {
    settings: Arc<PostgresSettings>,
    sessions: Vec<Mutex<Option<Arc<Session>>>>,
    turn: AtomicUsize,
    closed: AtomicBool,
}

impl Readers {
    /// As many as the options say.
    pub(super) fn new(settings: Arc<PostgresSettings>) -> Self {
        let sessions = (0..settings.options.readers.max(1)).map(|_| Mutex::default()).collect();
        Self { settings, sessions, turn: AtomicUsize::new(0), closed: AtomicBool::new(false) }
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
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.sessions.len().max(1);
        let Some(place) = self.sessions.get(turn) else { return Err(closed()) };
        let mut kept = place.lock().await;
        if let Some(session) = kept.as_ref().filter(|session| session.is_open()) {
            return Ok((Arc::clone(session), true));
        }
        let opened = Session::open(&self.settings, "reader").await.map_err(|failure| failure.to_error())?;
        let session = Arc::new(opened);
        *kept = Some(Arc::clone(&session));
        Ok((session, false))
    }

    /// Takes no more questions. Those under way are answered.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for place in &self.sessions {
            place.lock().await.take();
        }
    }
}
