//! What every store must do (`conformance`), what only the embedded one does (`sqlite`), and what becomes of the audit
//! log outside it (`log`).

mod conformance;
mod fixtures;
mod histories;
mod log;
mod measures;
mod sqlite;
