//! Behaviour, against real servers.

mod sandbox;
