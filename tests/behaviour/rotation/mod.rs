//! Rotating administration passwords: whatever dies at whatever moment, one password works and is known.

mod dying;
mod keys;
mod meddled;
mod rig;
mod rotating;
mod schedule;
