//! The model: what there ought to be. Times are microseconds.

use std::collections::BTreeMap;

use mayfly::domain::{GrantId, LeaseId, RequestId};

use super::act::Voice;

/// Reviews it takes.
pub(super) const QUORUM: usize = 2;

/// The role that takes reviews, and the one that takes a rule.
pub(super) const REVIEWED: &str = "shop-read";
pub(super) const BY_RULE: &str = "shop-rule";

pub(super) const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3_600 * SECOND;

/// The longest TTL of either role.
pub(super) const LONGEST: i64 = 3_600 * SECOND;

/// Seconds as the model counts.
pub(super) fn micros(seconds: u32) -> i64 {
    i64::from(seconds) * SECOND
}

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) who: &'static str,
    /// As narrowed so far.
    pub(super) ttl: i64,
    pub(super) start: Option<i64>,
    pub(super) parallel: usize,
    pub(super) extends: Option<usize>,
    pub(super) voices: Vec<&'static str>,
    pub(super) agreed: usize,
    pub(super) expires: i64,
    pub(super) stage: &'static str,
}

/// A grant.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) id: GrantId,
    pub(super) holder: &'static str,
    pub(super) ttl: i64,
    pub(super) start: Option<i64>,
    pub(super) parallel: usize,
    claim_by: i64,
    pub(super) until: i64,
    pub(super) stage: &'static str,
}

/// A lease.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) id: LeaseId,
    pub(super) holder: &'static str,
    pub(super) grant: Option<usize>,
    pub(super) expires: i64,
    /// Of one by rule: beyond this it is not renewed.
    pub(super) at_most: i64,
    pub(super) live: bool,
}

/// What a lock ends: leases, requests, grants.
pub(super) type Swept = (u32, u32, u32);

/// Everything there ought to be.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) now: i64,
    pub(super) asked: Vec<Asked>,
    pub(super) given: Vec<Given>,
    pub(super) leased: Vec<Leased>,
    /// Until when; `None`: until it is taken away.
    pub(super) locks: BTreeMap<&'static str, Option<i64>>,
}

impl Given {
    pub(super) fn is_live(&self) -> bool {
        matches!(self.stage, "scheduled" | "active")
    }

    fn covers(&self, ttl: i64, start: Option<i64>, parallel: usize, now: i64) -> bool {
        let long = match self.stage {
            "scheduled" => start == self.start && ttl <= self.ttl,
            "active" => start.unwrap_or(now) + ttl <= self.until,
            _ => false,
        };
        long && parallel <= self.parallel
    }
}

impl Leased {
    pub(super) fn role(&self) -> &'static str {
        if self.grant.is_some() { REVIEWED } else { BY_RULE }
    }
}

fn concerns(subject: &str, who: &str, role: &str) -> bool {
    match subject.split_once('/') {
        Some(("principal", name)) => name == who,
        Some(("role", name)) => name == role,
        _ => true,
    }
}

impl Books {
    /// Whether somebody, or what he wants under a role, is locked.
    pub(super) fn locked(&self, who: &str, role: &str) -> bool {
        self.locks.keys().any(|subject| concerns(subject, who, role))
    }

    /// Whether somebody is locked, whatever he wants.
    pub(super) fn is_locked_out(&self, who: &str) -> bool {
        self.locks.keys().any(|subject| subject.strip_prefix("principal/") == Some(who))
    }

    pub(super) fn covered(&self, who: &str, ttl: i64, start: Option<i64>, parallel: usize) -> bool {
        let own = |given: &&Given| given.holder == who;
        self.given.iter().filter(own).any(|given| given.covers(ttl, start, parallel, self.now))
    }

    /// How many leases may be claimed under a grant now.
    pub(super) fn room(&self, grant: usize) -> usize {
        let taken = self.leased.iter().filter(|lease| lease.live && lease.grant == Some(grant)).count();
        let given = &self.given[grant];
        let begun = given.start.is_none_or(|start| start <= self.now);
        let lasts = given.stage == "scheduled" || given.until - self.now >= SECOND;
        if given.is_live() && begun && lasts { given.parallel.saturating_sub(taken) } else { 0 }
    }

    /// The request for more time that awaits reviews.
    pub(super) fn waiting_for_more(&self, grant: usize) -> Option<&Asked> {
        self.asked.iter().find(|asked| asked.extends == Some(grant) && asked.stage == "pending")
    }

    /// When a lease cannot last any longer.
    pub(super) fn at_most(&self, lease: &Leased) -> i64 {
        lease.grant.map_or(lease.at_most, |grant| self.given[grant].until)
    }

    pub(super) fn ask(
        &mut self,
        id: RequestId,
        who: &'static str,
        (ttl, start): (i64, Option<i64>),
        parallel: usize,
    ) {
        let expires = (self.now + DAY).min(start.map_or(i64::MAX, |start| start + ttl));
        self.asked.push(Asked {
            id,
            who,
            ttl,
            start,
            parallel,
            extends: None,
            voices: Vec::new(),
            agreed: 0,
            expires,
            stage: "pending",
        });
    }

    pub(super) fn extend(&mut self, id: RequestId, grant: usize, ttl: i64) {
        let (who, until) = (self.given[grant].holder, self.given[grant].until);
        self.ask(id, who, (ttl, None), self.given[grant].parallel);
        let asked = self.asked.last_mut().unwrap();
        (asked.extends, asked.expires) = (Some(grant), asked.expires.min(until));
    }

    /// A review that counts; `opened`: the grant, if this was the last one needed.
    pub(super) fn review(&mut self, at: usize, who: &'static str, voice: Voice, opened: Option<GrantId>) {
        let now = self.now;
        let asked = &mut self.asked[at];
        asked.voices.push(who);
        match voice {
            Voice::No => {
                asked.stage = "denied";
                return;
            }
            Voice::Shorter(seconds) => asked.ttl = asked.ttl.min(micros(seconds)),
            Voice::Yes => {}
        }
        asked.agreed += 1;
        if asked.agreed < QUORUM {
            return;
        }
        asked.stage = "approved";
        if let Some(grant) = asked.extends {
            self.given[grant].until += asked.ttl;
            return;
        }
        let Asked { who: holder, ttl, start, parallel, .. } = *asked;
        let (id, claim_by) = (opened.unwrap(), now + DAY);
        self.given.push(Given { id, holder, ttl, start, parallel, claim_by, until: 0, stage: "scheduled" });
    }

    /// The first claim starts the clock.
    pub(super) fn claimed(&mut self, grant: usize) {
        let now = self.now;
        let given = &mut self.given[grant];
        if given.stage == "scheduled" {
            (given.stage, given.until) = ("active", now + given.ttl);
        }
    }

    /// A lease under a grant; returns when it ought to expire.
    pub(super) fn leased_under(&mut self, id: LeaseId, grant: usize) -> i64 {
        let given = &self.given[grant];
        let (holder, expires) = (given.holder, given.until.min(self.now + given.ttl));
        self.leased.push(Leased { id, holder, grant: Some(grant), expires, at_most: 0, live: true });
        expires
    }

    /// A lease by rule; returns when it ought to expire.
    pub(super) fn leased_by_rule(&mut self, id: LeaseId, holder: &'static str, ttl: i64) -> i64 {
        let (expires, at_most) = (self.now + ttl, self.now + LONGEST);
        self.leased.push(Leased { id, holder, grant: None, expires, at_most, live: true });
        expires
    }

    pub(super) fn revoke(&mut self, grant: usize) {
        if self.given[grant].is_live() {
            self.given[grant].stage = "revoked";
        }
        self.tick();
    }

    /// Locks something, and says what that ends.
    pub(super) fn lock(&mut self, subject: &'static str, until: Option<i64>) -> Swept {
        self.locks.insert(subject, until);
        let (mut leases, mut requests, mut grants) = (0, 0, 0);
        for lease in self.leased.iter_mut().filter(|lease| lease.live) {
            if concerns(subject, lease.holder, lease.role()) {
                lease.live = false;
                leases += 1;
            }
        }
        for asked in self.asked.iter_mut().filter(|asked| asked.stage == "pending") {
            if concerns(subject, asked.who, REVIEWED) {
                asked.stage = "cancelled";
                requests += 1;
            }
        }
        for given in self.given.iter_mut().filter(|given| given.is_live()) {
            if concerns(subject, given.holder, REVIEWED) {
                given.stage = "revoked";
                grants += 1;
            }
        }
        (leases, requests, grants)
    }

    /// What time does.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        self.locks.retain(|_, until| until.is_none_or(|until| now < until));
        for given in &mut self.given {
            match (given.stage, given.start) {
                ("scheduled", Some(start)) if start <= now => {
                    (given.stage, given.until) = ("active", start + given.ttl);
                }
                ("scheduled", None) if given.claim_by <= now => given.stage = "ended",
                _ => {}
            }
            if given.stage == "active" && given.until <= now {
                given.stage = "ended";
            }
        }
        for lease in &mut self.leased {
            let over = lease.grant.is_some_and(|grant| !self.given[grant].is_live());
            lease.live &= !over && now < lease.expires;
        }
        for asked in self.asked.iter_mut().filter(|asked| asked.stage == "pending") {
            if asked.extends.is_some_and(|grant| !self.given[grant].is_live()) {
                asked.stage = "cancelled";
            } else if asked.expires <= now {
                asked.stage = "expired";
            }
        }
    }
}
