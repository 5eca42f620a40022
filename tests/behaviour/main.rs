//! Behaviour, against real servers.
