//! What happens, drawn at random.

use mayfly::random::{Random as _, SeededRandom};

/// Who asks and reviews: all may do both.
pub(super) const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// How many of them ask.
const ASKERS: u32 = 2;

/// What gets locked.
pub(super) const SUBJECTS: [&str; 5] =
    ["principal/alice", "principal/bob", "principal/carol", "role/shop-read", "target/shop"];

/// Something that happens. What it happens to is picked among what there is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// For so long, after so long, for so many at once.
    Ask {
        who: &'static str,
        ttl: u32,
        after: Option<u32>,
        parallel: u32,
    },
    Review {
        which: usize,
        who: &'static str,
        voice: Voice,
    },
    Cancel(usize),
    /// So often at once.
    Claim {
        which: usize,
        times: u32,
    },
    /// Under a role that takes no reviews.
    Issue {
        who: &'static str,
        ttl: u32,
    },
    Renew {
        which: usize,
        ttl: u32,
    },
    Release(usize),
    Extend {
        which: usize,
        ttl: u32,
    },
    Revoke(usize),
    Lock {
        subject: &'static str,
        life: Option<u32>,
    },
    /// Something that is locked; if nothing is, something that is not.
    Unlock(usize),
    Pass(u32),
}

/// What a reviewer says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Voice {
    Yes,
    /// Yes, for so long.
    Shorter(u32),
    No,
}

/// Where a crash cuts what happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// After so many changes in the store.
    pub(super) changes: u32,
    /// And so many microseconds.
    pub(super) micros: u32,
}

/// One step of a history.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Whole(Act),
    Cut(Act, Cut),
    Restart,
}

/// Draws a step.
pub(super) fn draw(random: &SeededRandom) -> Step {
    match random.below(12) {
        0 => Step::Restart,
        1 | 2 => {
            let micros = if random.below(2) == 0 { random.below(300) } else { random.below(10_000) };
            Step::Cut(act(random), Cut { changes: random.below(4), micros })
        }
        _ => Step::Whole(act(random)),
    }
}

fn act(random: &SeededRandom) -> Act {
    let which = usize::try_from(random.below(1_000)).unwrap();
    let ttl = 60 + random.below(540);
    let one_of = |bound| PEOPLE[usize::try_from(random.below(bound)).unwrap()];
    let who = one_of(ASKERS);
    match random.below(50) {
        0..6 => {
            let after = (random.below(4) == 0).then(|| 1 + random.below(600));
            Act::Ask { who, ttl, after, parallel: 1 + random.below(2) }
        }
        6..22 => {
            let voice = match random.below(16) {
                0 => Voice::No,
                1..4 => Voice::Shorter(30 + random.below(600)),
                _ => Voice::Yes,
            };
            Act::Review { which, who: one_of(4), voice }
        }
        22 => Act::Cancel(which),
        23..31 => Act::Claim { which, times: 1 + random.below(3) },
        31 | 32 => Act::Issue { who, ttl },
        33..36 => Act::Renew { which, ttl },
        36 => Act::Release(which),
        37..40 => Act::Extend { which, ttl },
        40 => Act::Revoke(which),
        41 => {
            let life = (random.below(3) > 0).then(|| 20 + random.below(200));
            Act::Lock { subject: subject(random), life }
        }
        42..46 => Act::Unlock(which),
        46 if random.below(3) == 0 => Act::Pass(3_600 + random.below(86_400)),
        _ => Act::Pass(1 + random.below(60)),
    }
}

fn subject(random: &SeededRandom) -> &'static str {
    SUBJECTS[usize::try_from(random.below(5)).unwrap()]
}
