//! What every store must do (`conformance`), and what only the embedded one does (`sqlite`).

mod conformance;
mod fixtures;
mod histories;
mod sqlite;
