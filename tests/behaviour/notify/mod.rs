//! Telling people and programs what happens, against receivers that answer, fail, hang and recover.

mod hooks;
mod mailbox;
mod mails;
mod outbox;
pub(crate) mod receiver;
mod rig;
mod telling;
