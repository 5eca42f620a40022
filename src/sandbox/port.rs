//! Free ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::random::Random;

/// Below the ranges from which systems take the near end of outgoing connections (Linux 32768–60999, others from
/// 49152): a port of those may be taken while its server is down for a moment, and on loopback a client that keeps
/// knocking may even end up connected to itself.
const FIRST: u16 = 15_000;
const COUNT: u32 = 17_000;
const ATTEMPTS: u32 = 200;

/// A port of the loopback address on which nobody listens now. Somebody may before we do: be ready to ask again.
pub(super) fn free(random: &dyn Random) -> Option<u16> {
    (0..ATTEMPTS)
        .filter_map(|_| u16::try_from(random.below(COUNT)).ok()?.checked_add(FIRST))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_port_in_use_is_not_free() {
        let first = free(&SeededRandom::new(7)).unwrap();
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(free(&SeededRandom::new(7)).unwrap(), first);
    }
}
