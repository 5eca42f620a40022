//! Behaviour, against real servers.

#[cfg(test)]
mod store;
