//! The program as its users run it: `mayfly serve` as a process of its own, every other command beside it, real clients
//! and real servers. What only the API can be asked is in `api`; what only the rooms behind it know is elsewhere.

mod access;
mod asking;
mod auditing;
mod backups;
mod credentials;
mod disk;
mod handing;
mod home;
mod identities;
mod inviting;
mod leases;
mod locking;
mod looking;
mod notices;
mod numbers;
mod people;
mod policies;
mod process;
mod refusals;
mod reloading;
mod replaced;
mod rotating;
mod running;
mod secrecy;
mod signing_in;
mod starting;
mod stopping;
mod tls;
mod tokens;
