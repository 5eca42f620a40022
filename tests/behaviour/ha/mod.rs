//! Several replicas, real processes, on one PostgreSQL store: killed, stopped, cut off, restarted and doubled, one way at a time
//! (the modules named for it) and at random under load ([`soak`]; `make ha` runs the long one).

mod balancer;
mod books;
mod faults;
mod fleet;
mod handing;
mod issuing;
mod names;
mod partitions;
mod replica;
mod requests;
mod soak;
mod takeover;
mod watch;
mod worker;
