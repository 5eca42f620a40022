//! A question to policy, as command lines and test files put it, and its answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::super::duration;
use crate::{
    config::Config,
    domain::{
        Principal, PrincipalKind, Request, RequestId, RequestKind, RequestState, RequestTerms, Requirement,
        ReviewStep, Risk, RoleName, Ttl,
    },
    policy::{Action, Admission, Alternative, Asked, Decision, Policies, Who},
};

/// What is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Wanted {
    /// Access under a role.
    #[default]
    Request,
    /// Access at once, to be reviewed afterwards.
    BreakGlass,
    /// To review somebody's request for a role.
    Review,
    /// To end others' access.
    Revoke,
    /// To read the audit log.
    ViewAudit,
    /// To administer Mayfly.
    Administer,
    /// To lock and unlock.
    Lock,
    /// To invite contractors.
    Invite,
}

/// A question; what it does not say is left to its defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Question {
    pub(super) action: Option<Wanted>,
    pub(super) principal: Option<String>,
    pub(super) kind: Option<PrincipalKind>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) attributes: Option<BTreeMap<String, String>>,
    pub(super) role: Option<String>,
    pub(super) ttl: Option<String>,
    pub(super) at: Option<String>,
    pub(super) start: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) ticket: Option<String>,
    pub(super) justification: Option<String>,
    pub(super) parallel: Option<u32>,
    pub(super) second_factor: Option<String>,
    pub(super) live_leases: Option<u32>,
    pub(super) live_roles: Option<Vec<String>>,
    pub(super) first_use: Option<bool>,
    pub(super) requester: Option<String>,
    pub(super) requester_groups: Option<Vec<String>>,
    pub(super) step: Option<String>,
    pub(super) escalated: Option<bool>,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Yes.
    Allow,
    /// No.
    Deny,
    /// Yes once others agree.
    Review,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Outcome::Allow => "allow",
            Outcome::Deny => "deny",
            Outcome::Review => "review",
        }
    }
}

/// An answer, with what it rests on.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// The rule, or why not.
    pub(super) because: String,
    pub(super) policies: Vec<String>,
    pub(super) risk: Risk,
    pub(super) steps: Vec<ReviewStep>,
    pub(super) alternatives: Vec<Alternative>,
}

impl Answer {
    fn of(decision: Decision) -> Self {
        let (outcome, because, policies) = match decision {
            Decision::Allow { by, policies } => (Outcome::Allow, by, policies),
            Decision::Deny { reason, policies } => (Outcome::Deny, reason, policies),
        };
        Self {
            outcome,
            because,
            policies,
            risk: Risk::default(),
            steps: Vec::new(),
            alternatives: Vec::new(),
        }
    }

    pub(super) fn of_admission(admission: Admission, risk: Risk) -> Self {
        let (outcome, because, requirement) = match admission {
            Admission::Denied { reason, policies } => {
                return Self { risk, ..Self::of(Decision::Deny { reason, policies }) };
            }
            Admission::ByRule { by, requirement } => (Outcome::Allow, by, requirement),
            Admission::Reviewed { requirement } => (Outcome::Review, String::new(), requirement),
        };
        let Requirement { steps, risk, policies, .. } = requirement;
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        let because =
            if because.is_empty() { format!("it takes reviews: {}", names.join(", then ")) } else { because };
        Self { outcome, because, policies, risk, steps, alternatives: Vec::new() }
    }
}

impl Question {
    /// What this one does not say, said by another.
    pub(super) fn or(self, other: &Question) -> Self {
        let other = other.clone();
        Self {
            action: self.action.or(other.action),
            principal: self.principal.or(other.principal),
            kind: self.kind.or(other.kind),
            groups: self.groups.or(other.groups),
            attributes: self.attributes.or(other.attributes),
            role: self.role.or(other.role),
            ttl: self.ttl.or(other.ttl),
            at: self.at.or(other.at),
            start: self.start.or(other.start),
            address: self.address.or(other.address),
            ticket: self.ticket.or(other.ticket),
            justification: self.justification.or(other.justification),
            parallel: self.parallel.or(other.parallel),
            second_factor: self.second_factor.or(other.second_factor),
            live_leases: self.live_leases.or(other.live_leases),
            live_roles: self.live_roles.or(other.live_roles),
            first_use: self.first_use.or(other.first_use),
            requester: self.requester.or(other.requester),
            requester_groups: self.requester_groups.or(other.requester_groups),
            step: self.step.or(other.step),
            escalated: self.escalated.or(other.escalated),
        }
    }

    /// Puts it to the policies of a configuration. `now`: when it says no time.
    ///
    /// # Errors
    /// What of it is no question: told for people.
    pub(super) fn ask(&self, config: &Config, now: Timestamp, explain: bool) -> Result<Answer, String> {
        let policies = &*config.policies;
        let principal = principal(
            self.principal.as_deref().ok_or("principal: whose question is it?")?,
            self.kind.unwrap_or(PrincipalKind::Human),
            self.groups.as_deref().unwrap_or_default(),
            self.attributes.clone().unwrap_or_default(),
        )?;
        let now = moment("at", self.at.as_deref(), policies.zone())?.unwrap_or(now);
        let second_factor_at = match &self.second_factor {
            None => None,
            Some(text) => {
                let ago = duration::parse(text).map_err(|error| format!("second_factor: {error}"))?;
                Some(now.checked_sub(ago).map_err(|error| format!("second_factor: {error}"))?)
            }
        };
        let who = Who { principal: &principal, address: self.address, second_factor_at, now };
        let decided = |action: Action<'_>| Ok(Answer::of(policies.decide(&who, &action)));
        match self.action.unwrap_or_default() {
            Wanted::Revoke => decided(Action::Revoke),
            Wanted::ViewAudit => decided(Action::ViewAudit),
            Wanted::Administer => decided(Action::Administer),
            Wanted::Lock => decided(Action::Lock),
            Wanted::Invite => decided(Action::Invite),
            Wanted::Request => self.about_role(config, &who, &|policies, asked| {
                let risk = policies.risk(&who, asked);
                let answer = Answer::of_admission(policies.admit(&who, asked), risk);
                let alternatives = if explain { policies.alternatives(&who, asked) } else { Vec::new() };
                Answer { alternatives, ..answer }
            }),
            Wanted::BreakGlass => self.about_role(config, &who, &|policies, asked| {
                let risk = policies.risk(&who, asked);
                Answer { risk, ..Answer::of(policies.may_break_glass(&who, asked)) }
            }),
            Wanted::Review => self.review(config, &who),
        }
    }

    fn terms(&self, config: &Config, now: Timestamp) -> Result<RequestTerms, String> {
        let name = self.role.as_deref().ok_or("role: which role is asked for?")?;
        let name: RoleName = name.parse().map_err(|error| format!("role: {error}"))?;
        let role = config.roles.get(&name).ok_or_else(|| format!("role: there is no role {name}"))?;
        let ttl = match &self.ttl {
            None => role.ttl.default(),
            Some(text) => {
                let asked = duration::parse(text).map_err(|error| format!("ttl: {error}"))?;
                let asked = Ttl::new(asked).map_err(|error| format!("ttl: {error}"))?;
                role.ttl.choose(Some(asked)).map_err(|error| format!("ttl: {error}"))?
            }
        };
        let start = moment("start", self.start.as_deref(), config.policies.zone())?;
        Ok(RequestTerms {
            role: name,
            target: role.target.clone(),
            ttl,
            start: start.filter(|start| *start > now),
            parallel: self.parallel.unwrap_or(1),
            justification: self.justification.clone().unwrap_or_default(),
            ticket: self.ticket.clone(),
        })
    }

    fn about_role(
        &self,
        config: &Config,
        who: &Who<'_>,
        answer: &dyn Fn(&Policies, &Asked<'_>) -> Answer,
    ) -> Result<Answer, String> {
        let terms = self.terms(config, who.now)?;
        let role = config.roles.get(&terms.role).ok_or("role: there is none")?;
        let live = self.live_roles.iter().flatten().map(|name| name.parse::<RoleName>());
        let live: Vec<RoleName> =
            live.collect::<Result<_, _>>().map_err(|error| format!("live_roles: {error}"))?;
        let asked = Asked {
            role,
            terms: &terms,
            live_leases: self.live_leases.unwrap_or(0),
            first_use: self.first_use,
            live_roles: &live,
        };
        Ok(answer(&config.policies, &asked))
    }

    fn review(&self, config: &Config, who: &Who<'_>) -> Result<Answer, String> {
        let terms = self.terms(config, who.now)?;
        let role = config.roles.get(&terms.role).ok_or("role: there is none")?;
        let requester = self.requester.as_deref().ok_or("requester: whose request is reviewed?")?;
        let groups = self.requester_groups.as_deref().unwrap_or_default();
        let requester = principal(requester, PrincipalKind::Human, groups, BTreeMap::new())?;
        let step = match &self.step {
            None => 0,
            Some(name) => role
                .approval
                .iter()
                .position(|step| step.name == *name)
                .ok_or_else(|| format!("step: the role has no step {name}"))?,
        };
        let state =
            RequestState::Pending { step, since: who.now, escalated: self.escalated.unwrap_or(false) };
        let request = Request {
            id: RequestId::new(who.now, 0),
            kind: RequestKind::Access,
            requester,
            sponsor: None,
            terms,
            requirement: Requirement { steps: role.approval.clone(), ..Requirement::default() },
            reviews: Vec::new(),
            created_at: who.now,
            expires_at: who.now,
            sign_off: None,
            remind_at: None,
            state,
        };
        Ok(Answer::of(config.policies.may_review(who, &request, role)))
    }
}

fn principal(
    name: &str,
    kind: PrincipalKind,
    groups: &[String],
    attributes: BTreeMap<String, String>,
) -> Result<Principal, String> {
    let name = name.parse().map_err(|error| format!("principal: {error}"))?;
    let groups: Result<BTreeSet<_>, _> = groups.iter().map(|group| group.parse()).collect();
    Ok(Principal { name, kind, groups: groups.map_err(|error| format!("groups: {error}"))?, attributes })
}

/// A moment as people write it: with its offset, or in the policies' time zone without.
fn moment(key: &str, text: Option<&str>, zone: &TimeZone) -> Result<Option<Timestamp>, String> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(Some(exact));
    }
    let local: civil::DateTime = text
        .parse()
        .map_err(|_| format!("{key}: expected a time such as 2026-03-11T10:00 or 2026-03-11T10:00:00Z"))?;
    // A time that does not exist, or comes twice, would test something else than was meant.
    let unambiguous = zone.to_ambiguous_timestamp(local).unambiguous();
    unambiguous.map(Some).map_err(|_| format!("{key}: clocks are set there then; write it with its offset"))
}
