//! A connection on loan: runs statements, and goes back to its pool only when it is known to be sound.

use std::{future::Future, sync::Arc, time::Duration};

use jiff::Timestamp;
use mysql_async::{
    Conn, Row,
    prelude::{FromRow, Queryable},
};
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{
    connect::Server,
    errors::{self, Failure},
    pool::Pool,
    switch::Switch,
};
use crate::{
    clock::Clock,
    target::{TargetError, TargetErrorKind},
};

/// A connection on loan. Dropping it closes the connection; [`Link::release`] gives it back.
pub(super) struct Link<'p> {
    pool: &'p Pool,
    connection: Conn,
    server: Server,
    /// A role's own statements ran: they may have left the session in any state.
    touched: bool,
    /// It is not to be used by anybody else.
    once: bool,
    _place: SemaphorePermit<'p>,
}

/// Statements that failed as a batch: how many took effect before, and why the next one did not.
#[derive(Debug)]
pub(super) struct BatchFailure {
    pub(super) done: usize,
    /// What those before answered.
    pub(super) answers: Vec<Vec<Row>>,
    pub(super) failure: Failure,
}

impl<'p> Link<'p> {
    pub(super) fn new(pool: &'p Pool, place: SemaphorePermit<'p>, connection: Conn, server: Server) -> Self {
        Self { pool, connection, server, touched: false, once: false, _place: place }
    }

    /// Closes it when it is given back.
    pub(super) fn for_once(self) -> Self {
        Self { once: true, ..self }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The dead-man's switch as this connection last saw it.
    pub(super) fn seen_switch(&self) -> Option<(Timestamp, Arc<Switch>)> {
        self.server.switch.clone()
    }

    pub(super) fn saw_switch(&mut self, at: Timestamp, switch: Arc<Switch>) {
        self.server.switch = Some((at, switch));
    }

    /// What was seen of it may be so no more.
    pub(super) fn forget_switch(&mut self) {
        self.server.switch = None;
    }

    pub(super) fn clock(&self) -> &'p dyn Clock {
        self.pool.clock()
    }

    pub(super) fn connection(&mut self) -> &mut Conn {
        &mut self.connection
    }

    /// Runs one statement of ours.
    pub(super) async fn run(&mut self, statement: &str) -> Result<(), Failure> {
        self.connection.query_drop(statement).await.map_err(Failure::from)
    }

    /// Runs a statement of a role.
    pub(super) async fn run_foreign(&mut self, statement: &str) -> Result<(), Failure> {
        self.touched = true;
        self.run(statement).await
    }

    /// Runs statements of ours in one round trip; the server stops at the first that fails.
    pub(super) async fn batch(&mut self, statements: &[String]) -> Result<Vec<Vec<Row>>, BatchFailure> {
        let stopped = |answers: Vec<Vec<Row>>, error| {
            let done = answers.len();
            BatchFailure { done, answers, failure: Failure::from(error) }
        };
        let mut sets = Vec::with_capacity(statements.len());
        let mut results = match self.connection.query_iter(statements.join(";\n")).await {
            Ok(results) => results,
            Err(error) => return Err(stopped(sets, error)),
        };
        for _ in statements {
            // An error of a later statement is kept until that statement's turn.
            match results.collect::<Row>().await {
                Ok(rows) => sets.push(rows),
                Err(error) => return Err(stopped(sets, error)),
            }
        }
        Ok(sets)
    }

    /// Asks one question.
    ///
    /// # Errors
    /// When it cannot be answered, or an answer is not of the type expected.
    pub(super) async fn ask<T: FromRow + Send + 'static>(
        &mut self,
        what: &'static str,
        question: &str,
    ) -> Result<Vec<T>, TargetError> {
        let rows: Vec<Row> = self
            .connection
            .query(question)
            .await
            .map_err(|error| errors::explain(Failure::from(error).asking(what), &self.server))?;
        rows.into_iter().map(|row| read(what, row)).collect()
    }

    pub(super) async fn ping(&mut self) -> Result<(), TargetError> {
        self.connection.ping().await.map_err(|error| errors::asking("whether it is there", error))
    }

    /// Gives the connection back to the pool unless it may be in the middle of something.
    pub(super) fn release<T>(self, outcome: Result<T, TargetError>) -> Result<T, TargetError> {
        let unsure = outcome.as_ref().is_err_and(TargetError::outcome_is_unknown);
        if unsure {
            self.pool.distrust();
        }
        if !unsure && !self.touched && !self.once && !self.connection.is_disconnected() {
            self.pool.take_back(self.connection, self.server);
        }
        outcome
    }

    /// Makes the session as good as new after a role's own statements.
    pub(super) async fn refresh(&mut self) {
        if self.touched {
            self.touched = self.pool.connector().refresh(&mut self.connection).await.is_err();
        }
    }
}

fn read<T: FromRow>(what: &str, row: Row) -> Result<T, TargetError> {
    T::from_row_opt(row).map_err(|_| {
        TargetError::new(TargetErrorKind::Refused, format!("the server's answer about {what} cannot be read"))
    })
}

/// Bounds the time of an operation on a connection. What is cut off may still happen.
pub(super) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, TargetError>>,
) -> Result<T, TargetError> {
    timeout(limit, operation).await.unwrap_or_else(|_| {
        Err(TargetError::new(TargetErrorKind::TimedOut, "the server did not finish in time"))
    })
}
