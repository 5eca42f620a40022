//! What every store must do (`conformance`), what only the embedded one does (`sqlite`), what only the shared one does
//! (`postgres`), what becomes of the audit log outside it (`log`), and moving from one store to another (`transfer`).

mod conformance;
mod fixtures;
mod histories;
mod log;
mod measures;
mod postgres;
mod retention;
mod sqlite;
mod transfer;
