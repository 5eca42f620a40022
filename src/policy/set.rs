//! A set of policies, and what it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use cedar_policy::Policy;
use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;

use super::{
    Action, Admission, Asked, Decision, Factor, Mistake, Source, TargetFacts, Who,
    facts::{Facts, Unspeakable},
    index::{Index, Voices},
    moment::Moment,
    parties::Acquaintances,
    risk::{self, Evidence},
    source::{self, PARSED_SCHEMA, RESERVED},
};
use crate::domain::{ADMINISTRATORS, RequestTerms, Requirement, Risk, Role, RoleName, TargetName, Ttl};

/// The digest of a set without files.
const BUILTIN: &str = "builtin";

/// Policies a reason names at most.
const NAMED: usize = 5;

/// Everything that decides, besides what is built in.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Policy files, in order.
    pub sources: Vec<Source>,
    /// Where local time is taken.
    pub zone: TimeZone,
    /// What makes requests risky.
    pub factors: Vec<Factor>,
    /// What is known of targets.
    pub targets: BTreeMap<TargetName, TargetFacts>,
    /// Which roles nobody may hold at once with which others; each pair is there both ways.
    pub conflicts: BTreeMap<RoleName, BTreeSet<RoleName>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            zone: TimeZone::UTC,
            factors: Vec::new(),
            targets: BTreeMap::new(),
            conflicts: BTreeMap::new(),
        }
    }
}

/// A set of policies. It does not change; a reload replaces it whole.
#[derive(Debug)]
pub struct Policies {
    digest: String,
    pub(super) zone: TimeZone,
    factors: Vec<Factor>,
    pub(super) targets: BTreeMap<TargetName, TargetFacts>,
    conflicts: BTreeMap<RoleName, BTreeSet<RoleName>>,
    all: Vec<Policy>,
    index: Index,
    doubts: Vec<Mistake>,
    acquaintances: Acquaintances,
}

impl Default for Policies {
    fn default() -> Self {
        Self::builtin()
    }
}

/// What policies say, in one of four words.
pub(super) enum Verdict {
    /// At least one permits, none forbids.
    Permitted(Vec<String>),
    /// Some forbid.
    Forbidden(Vec<String>),
    /// None says anything.
    Silent,
    /// Some could not be evaluated, or the question could not be put.
    Erred(String, Vec<String>),
}

impl Policies {
    /// The rules that are built in: the list on each role, its reviewers, and the group of administrators.
    pub fn builtin() -> Self {
        // What is built in is right: a test sees to it. Were it not, nothing would be permitted.
        Self::new(Rules::default()).unwrap_or_else(|_| Self {
            digest: "broken".to_owned(),
            zone: TimeZone::UTC,
            factors: Vec::new(),
            targets: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            all: Vec::new(),
            index: Index::default(),
            doubts: Vec::new(),
            acquaintances: Acquaintances::default(),
        })
    }

    /// Reads policy files and checks them against the schema.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(rules: Rules) -> Result<Self, Vec<Mistake>> {
        let read = source::read(&rules.sources)?;
        let index = Index::new(&read.policies).map_err(|message| {
            vec![Mistake { file: "policies".to_owned(), position: None, policy: None, message }]
        })?;
        let mut digest = Digest::new(&SHA256);
        for source in &rules.sources {
            // With its length before it, text cannot move from one file to the next unnoticed.
            digest.update(&u64::try_from(source.text.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(source.text.as_bytes());
        }
        let digest = if rules.sources.is_empty() {
            BUILTIN.to_owned()
        } else {
            format!("sha256:{}", HEXLOWER.encode(digest.finish().as_ref()))
        };
        let Rules { zone, factors, targets, conflicts, .. } = rules;
        let (all, doubts) = (read.policies, read.doubts);
        let acquaintances = Acquaintances::default();
        Ok(Self { digest, zone, factors, targets, conflicts, all, index, doubts, acquaintances })
    }

    /// Names the set: decisions are recorded with it. The SHA-256 of the files in order, each with its length before it; or
    /// `builtin` when there is none.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where local time is taken.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What makes requests risky.
    pub fn factors(&self) -> &[Factor] {
        &self.factors
    }

    /// How many policies there are, those built in included.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none, which is never: some are built in.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is doubtful about the files: policies that can never apply.
    pub fn doubts(&self) -> &[Mistake] {
        &self.doubts
    }

    /// The policies as text, one each, as they are written.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        self.all.iter().map(ToString::to_string)
    }

    /// What a policy advises those it concerns (`@advice`).
    pub fn advice(&self, id: &str) -> Option<&str> {
        let policy = self.all.iter().find(|policy| policy.id().as_ref() as &str == id)?;
        policy.annotation("advice")
    }

    /// Decides one question.
    pub fn decide(&self, who: &Who<'_>, action: &Action<'_>) -> Decision {
        let facts = match action {
            Action::Issue { role, ttl } => return self.decide_issue(who, role, *ttl),
            Action::View { owner } => Facts::of_lease("view", who, owner, &self.zone),
            Action::Renew { owner } => Facts::of_lease("renew", who, owner, &self.zone),
            Action::Release { owner } => Facts::of_lease("release", who, owner, &self.zone),
            Action::Revoke => Facts::of_mayfly("revoke", who, &self.zone),
            Action::ViewAudit => Facts::of_mayfly("view_audit", who, &self.zone),
            Action::Administer => Facts::of_mayfly("administer", who, &self.zone),
            Action::Lock => Facts::of_mayfly("lock", who, &self.zone),
            Action::Invite => Facts::of_mayfly("invite", who, &self.zone),
        };
        let silent = match action {
            Action::View { .. } => format!("only members of the group {ADMINISTRATORS} may see this lease"),
            Action::Renew { .. } => "only its holder may renew a lease".to_owned(),
            Action::Release { .. } => "only its holder may release a lease".to_owned(),
            Action::Revoke => administrators("revoke leases"),
            Action::ViewAudit => administrators("read the audit log"),
            Action::Lock => administrators("lock and unlock"),
            Action::Invite => administrators("invite"),
            Action::Administer | Action::Issue { .. } => administrators("administer Mayfly"),
        };
        let by = |ids: &[String]| {
            named(ids, |id| match id {
                "builtin.holder" => Some("holder of the lease".to_owned()),
                "builtin.administrators" | "builtin.administrators-view" => {
                    Some(format!("group:{ADMINISTRATORS}"))
                }
                _ => None,
            })
        };
        self.decision(self.ask(facts.as_ref(), None), silent, by)
    }

    /// Whether a role may be asked for, whatever that takes then.
    fn decide_issue(&self, who: &Who<'_>, role: &Role, ttl: Ttl) -> Decision {
        let terms = RequestTerms::plain(role, ttl);
        let asked = Asked { role, terms: &terms, live_leases: 0, first_use: None, live_roles: &[] };
        let facts = self.asking(who, &asked, self.risk(who, &asked).score);
        self.may_ask(who, role, facts.as_ref())
    }

    fn may_ask(&self, who: &Who<'_>, role: &Role, facts: Result<&Facts<'_>, &Unspeakable>) -> Decision {
        if let Some(reason) = beyond_invitation(who, role) {
            return Decision::deny(reason);
        }
        let silent =
            format!("the role {} does not allow {} {}", role.name, who.principal.kind, who.principal.name);
        self.decision(self.ask(facts, Some("request")), silent, |ids| by_role(ids, who, role))
    }

    /// How risky a request is, and why.
    pub fn risk(&self, who: &Who<'_>, asked: &Asked<'_>) -> Risk {
        let start = Moment::of(asked.terms.start.unwrap_or(who.now), &self.zone);
        let target = self.targets.get(&asked.role.target);
        risk::assess(&self.factors, &Evidence { who, asked, target, start })
    }

    /// Decides what asking for a role comes to.
    pub fn admit(&self, who: &Who<'_>, asked: &Asked<'_>) -> Admission {
        if let Some(reason) = self.conflict(asked) {
            return Admission::Denied { reason, policies: Vec::new() };
        }
        let (role, risk) = (asked.role, self.risk(who, asked));
        let facts = self.asking(who, asked, risk.score);
        let (by, mut policies) = match self.may_ask(who, role, facts.as_ref()) {
            Decision::Deny { reason, policies } => return Admission::Denied { reason, policies },
            Decision::Allow { by, policies } => (by, policies),
        };
        let requirement = |steps, policies| Requirement {
            steps,
            risk: risk.clone(),
            policies,
            policy_set: self.digest.clone(),
        };
        match self.ask(facts.as_ref(), Some("auto_approve")) {
            Verdict::Erred(reason, policies) => Admission::Denied { reason, policies },
            Verdict::Permitted(mut ids) => {
                // A policy that allows asking as well has been named.
                ids.retain(|id| !policies.contains(id));
                let rule = named(&ids, |id| id.starts_with(RESERVED).then(String::new));
                let by = if rule.is_empty() { by } else { format!("{by}; approved by {rule}") };
                policies.extend(ids);
                Admission::ByRule { by, requirement: requirement(Vec::new(), policies) }
            }
            Verdict::Forbidden(ids) if role.approval.is_empty() => {
                let reason = format!("{}, and the role has no reviews", self.forbidden(&ids));
                Admission::Denied { reason, policies: ids }
            }
            // Who forbids approval by rule wants it reviewed, however small the risk.
            Verdict::Forbidden(ids) => {
                policies.extend(ids);
                Admission::Reviewed { requirement: requirement(role.approval.clone(), policies) }
            }
            Verdict::Silent if role.approval.is_empty() => Admission::Denied {
                reason: format!(
                    "the role {} may be asked for, but no policy approves that by rule, and the role has no reviews",
                    role.name
                ),
                policies,
            },
            Verdict::Silent => {
                let steps: Vec<_> =
                    role.approval.iter().filter(|step| step.from_risk <= risk.score).cloned().collect();
                if steps.is_empty() {
                    let by = format!("{by}; a risk of {} takes no review", risk.score);
                    Admission::ByRule { by, requirement: requirement(steps, policies) }
                } else {
                    Admission::Reviewed { requirement: requirement(steps, policies) }
                }
            }
        }
    }

    /// Whether a decision may depend on what somebody holds or held, which takes asking the store. The rules that are built in
    /// look at who asks and for what, and at nothing else.
    pub fn looks_at_holdings(&self) -> bool {
        self.digest != BUILTIN || !self.conflicts.is_empty() || !self.factors.is_empty()
    }

    /// Decides whether somebody may access a role by break-glass: only if a policy of the operator's own permits it.
    pub fn may_break_glass(&self, who: &Who<'_>, asked: &Asked<'_>) -> Decision {
        if let Some(reason) = beyond_invitation(who, asked.role).or_else(|| self.conflict(asked)) {
            return Decision::deny(reason);
        }
        let facts = self.asking(who, asked, self.risk(who, asked).score);
        let verdict = self.ask(facts.as_ref(), Some("break_glass"));
        self.decision(verdict, "no policy allows break-glass".to_owned(), |ids| named(ids, |_| None))
    }

    /// Separation of duties: a role is refused to who has something live under one it conflicts with.
    fn conflict(&self, asked: &Asked<'_>) -> Option<String> {
        let conflicting = self.conflicts.get(&asked.role.name)?;
        let live = asked.live_roles.iter().find(|role| conflicting.contains(role))?;
        Some(format!(
            "nobody holds {} and {live} at once: end what you have under {live} first",
            asked.role.name
        ))
    }

    fn asking<'a>(
        &'a self,
        who: &'a Who<'_>,
        asked: &'a Asked<'_>,
        risk: u32,
    ) -> Result<Facts<'a>, Unspeakable> {
        let target = self.targets.get(&asked.role.target);
        let parties = self.acquaintances.of(who.principal, asked.role, target)?;
        Facts::of_asking(parties, who, asked, risk, &self.zone)
    }

    /// Puts a question to the policies that can apply to it.
    pub(super) fn ask(&self, facts: Result<&Facts<'_>, &Unspeakable>, action: Option<&str>) -> Verdict {
        match facts.map_err(ToString::to_string).and_then(|facts| self.voices(facts, action)) {
            Err(error) => Verdict::Erred(format!("policy could not be asked: {error}"), Vec::new()),
            Ok(voices) if !voices.erred.is_empty() => {
                let names = named(&voices.erred, |_| None);
                Verdict::Erred(format!("{names} could not be evaluated, which denies"), voices.erred)
            }
            Ok(voices) if !voices.forbids.is_empty() => Verdict::Forbidden(voices.forbids),
            Ok(voices) if !voices.permits.is_empty() => Verdict::Permitted(voices.permits),
            Ok(_) => Verdict::Silent,
        }
    }

    fn voices(&self, facts: &Facts<'_>, action: Option<&str>) -> Result<Voices, String> {
        // What looks at nothing of the moment answers the same parties as it did before.
        let kept = action.and_then(|action| facts.parties.answer(action));
        if let Some(voices) = kept.and_then(OnceLock::get) {
            return Ok(voices.clone());
        }
        let schema = PARSED_SCHEMA.as_ref().ok_or("the schema of this build is broken")?;
        let about = action.map(Facts::action).transpose().map_err(|error| error.to_string())?;
        let action = about.as_ref().unwrap_or(&facts.action);
        let request = facts.request(action, schema).map_err(|error| error.to_string())?;
        let parties = &facts.parties;
        let asked = (parties.principal.as_slice(), parties.resource.as_slice());
        let (voices, looked) = self.index.ask(action, asked, &request, &parties.entities);
        if !looked && let Some(kept) = kept {
            // Somebody else may have been first, with the same.
            let _ = kept.set(voices.clone());
        }
        Ok(voices)
    }

    pub(super) fn decision(
        &self,
        verdict: Verdict,
        silent: String,
        by: impl FnOnce(&[String]) -> String,
    ) -> Decision {
        match verdict {
            Verdict::Permitted(policies) => Decision::Allow { by: by(&policies), policies },
            Verdict::Forbidden(policies) => Decision::Deny { reason: self.forbidden(&policies), policies },
            Verdict::Erred(reason, policies) => Decision::Deny { reason, policies },
            Verdict::Silent => Decision::deny(silent),
        }
    }

    /// Why something is forbidden, with the advice of who forbids it.
    fn forbidden(&self, ids: &[String]) -> String {
        let advice: Vec<&str> = ids.iter().filter_map(|id| self.advice(id)).take(NAMED).collect();
        let advice = if advice.is_empty() { String::new() } else { format!(": {}", advice.join("; ")) };
        let verb = if ids.len() == 1 { "forbids" } else { "forbid" };
        format!("{} {verb} it{advice}", named(ids, |_| None))
    }

    /// What all policies say, without leaving out those that cannot apply: for the test that this makes no difference.
    #[cfg(test)]
    pub(super) fn admit_voices_unindexed(
        &self,
        who: &Who<'_>,
        asked: &Asked<'_>,
        action: &str,
    ) -> (Voices, Voices) {
        let facts = self.asking(who, asked, self.risk(who, asked).score).unwrap();
        let about = Facts::action(action).unwrap();
        let request = facts.request(&about, PARSED_SCHEMA.as_ref().unwrap()).unwrap();
        let all = cedar_policy::PolicySet::from_policies(self.all.iter().cloned()).unwrap();
        let mut whole = Voices::default();
        whole.hear(&cedar_policy::Authorizer::new().is_authorized(&request, &all, &facts.parties.entities));
        let order = self.all.iter().enumerate().map(|(place, policy)| (policy.id().to_string(), place));
        whole.settle(&order.collect());
        (whole, self.voices(&facts, Some(action)).unwrap())
    }
}

/// Who was invited reaches the roles of the invitation and no other, whatever policies say.
fn beyond_invitation(who: &Who<'_>, role: &Role) -> Option<String> {
    let (invited, name) = (who.principal, &role.name);
    (!invited.reaches(name)).then(|| format!("the invitation of {} is not for the role {name}", invited.name))
}

fn administrators(what: &str) -> String {
    format!("only members of the group {ADMINISTRATORS} may {what}")
}

/// Names policies, but for those that `called` has other words for; empty ones are left out.
pub(super) fn named(ids: &[String], called: impl Fn(&str) -> Option<String>) -> String {
    let words = ids.iter().map(|id| called(id).unwrap_or_else(|| format!("policy {id}")));
    let words: Vec<String> = words.filter(|words| !words.is_empty()).collect();
    let shown = words.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if words.len() > NAMED { format!("{shown} and {} more", words.len() - NAMED) } else { shown }
}

fn by_role(ids: &[String], who: &Who<'_>, role: &Role) -> String {
    named(ids, |id| {
        let subject = (id == "builtin.role-allow").then(|| role.allows(who.principal)).flatten()?;
        Some(format!("roles/{}: allow {subject}", role.name))
    })
}
