//! Requests: every event in every state, and what no sequence of events can bring about.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;

const REQUESTER: &str = "alice";
const SPONSOR: &str = "sam";
const PEOPLE: [&str; 5] = [REQUESTER, SPONSOR, "bob", "carol", "dave"];

/// When a request is made, escalates, and expires.
const MADE: i64 = 1_000;
const ESCALATES: i64 = 60;
const EXPIRES: i64 = 2_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ttl(seconds: u64) -> Ttl {
    Ttl::try_from(seconds).unwrap()
}

fn grant() -> GrantId {
    GrantId::new(at(MADE), 9)
}

fn name(name: &str) -> PrincipalName {
    name.parse().unwrap()
}

fn step((quorum, denials): (u32, u32)) -> ReviewStep {
    ReviewStep {
        name: "owners".to_owned(),
        reviewers: vec!["*".parse().unwrap()],
        quorum,
        denials,
        escalate_after: Some(Duration::from_secs(ESCALATES.unsigned_abs())),
        escalate_to: Vec::new(),
        from_risk: 0,
    }
}

fn request(steps: &[(u32, u32)], start: Option<i64>) -> Request {
    Request {
        id: RequestId::new(at(MADE), 1),
        kind: RequestKind::Access,
        requester: Principal {
            name: name(REQUESTER),
            kind: crate::domain::PrincipalKind::Contractor,
            groups: [].into(),
            attributes: [].into(),
        },
        sponsor: Some(name(SPONSOR)),
        terms: RequestTerms {
            role: "shop-read".parse().unwrap(),
            target: "shop".parse().unwrap(),
            ttl: ttl(600),
            start: start.map(at),
            parallel: 1,
            justification: String::new(),
            ticket: None,
        },
        requirement: Requirement {
            steps: steps.iter().copied().map(step).collect(),
            ..Requirement::default()
        },
        reviews: Vec::new(),
        created_at: at(MADE),
        expires_at: at(EXPIRES),
        sign_off: None,
        remind_at: None,
        state: RequestState::Pending { step: 0, since: at(MADE), escalated: false },
    }
}

fn review(reviewer: &str, verdict: Verdict, second: i64) -> RequestEvent {
    let review =
        Review { reviewer: name(reviewer), verdict, comment: String::new(), step: 0, at: at(second) };
    RequestEvent::Reviewed { review, grant: grant() }
}

const YES: Verdict = Verdict::Approve { ttl: None, start: None };

fn states() -> Vec<RequestState> {
    let (second, by) = (at(MADE + 1), name("bob"));
    vec![
        RequestState::Pending { step: 0, since: at(MADE), escalated: false },
        RequestState::Pending { step: 0, since: at(MADE), escalated: true },
        RequestState::Pending { step: 1, since: at(MADE), escalated: false },
        RequestState::Approved { at: second, grant: grant() },
        RequestState::Denied { at: second, by: by.clone(), reason: String::new() },
        RequestState::Cancelled { at: second, by: Some(by), reason: String::new() },
        RequestState::Cancelled { at: second, by: None, reason: "role r is locked".to_owned() },
        RequestState::Expired { at: second },
    ]
}

fn events() -> Vec<RequestEvent> {
    let cancelled = |by| RequestEvent::Cancelled { at: at(MADE + 2), by, reason: String::new() };
    let due = |second| RequestEvent::Due { at: at(second), remind: None };
    vec![
        review("carol", YES, MADE + 2),
        review("carol", Verdict::Deny, MADE + 2),
        review("carol", YES, EXPIRES),
        cancelled(Some(name(REQUESTER))),
        cancelled(None),
        due(MADE + 2),
        due(MADE + ESCALATES),
        due(EXPIRES),
    ]
}

/// What the diagram says: the state after an event; `None`: it is illegal.
fn expected(before: &RequestState, event: &RequestEvent) -> Option<(&'static str, Option<(usize, bool)>)> {
    let RequestState::Pending { step, escalated, .. } = *before else {
        // What is decided stays as it is, whatever the clock says, and nothing else can be done to it.
        return matches!(event, RequestEvent::Due { .. }).then_some((before.as_str(), None));
    };
    match event {
        RequestEvent::Reviewed { review, .. } if review.at >= at(EXPIRES) => None,
        RequestEvent::Reviewed { review, .. } if review.verdict == Verdict::Deny => Some(("denied", None)),
        RequestEvent::Reviewed { .. } if step == 0 => Some(("pending", Some((1, false)))),
        RequestEvent::Reviewed { .. } => Some(("approved", None)),
        RequestEvent::Cancelled { .. } => Some(("cancelled", None)),
        RequestEvent::Due { at: now, .. } if *now >= at(EXPIRES) => Some(("expired", None)),
        RequestEvent::Due { at: now, .. } => {
            Some(("pending", Some((step, escalated || *now >= at(MADE + ESCALATES)))))
        }
    }
}

#[test]
fn every_pair_of_state_and_event_does_what_the_diagram_says() {
    for state in states() {
        for event in events() {
            let before = Request { state: state.clone(), ..request(&[(1, 1), (1, 1)], None) };
            let after = before.clone().after(event.clone());
            let seen = after.as_ref().ok().map(|after| match after.state {
                RequestState::Pending { step, escalated, .. } => ("pending", Some((step, escalated))),
                ref over => (over.as_str(), None),
            });
            assert_eq!(seen, expected(&state, &event), "{state:?} after {event:?}");
            match after {
                Err(refusal) => assert!(matches!(refusal, ReviewError::Illegal(_)), "{refusal:?}"),
                Ok(after) if !before.is_pending() => assert_eq!(after, before),
                Ok(after) => assert_eq!(after.terms, before.terms),
            }
        }
    }
}

#[test]
fn a_refusal_says_what_was_tried() {
    let denied = request(&[(1, 1)], None).after(review("bob", Verdict::Deny, MADE)).unwrap();
    let late = denied.after(review("carol", YES, MADE)).unwrap_err();
    assert_eq!(late.to_string(), "a request that is denied cannot be reviewed");
}

#[test]
fn nobody_reviews_his_own_nor_twice_and_the_sponsor_counts_once() {
    let asked = request(&[(2, 1), (1, 1)], None);
    assert_eq!(asked.clone().after(review(REQUESTER, YES, MADE)), Err(ReviewError::OwnRequest));
    let once = asked.after(review(SPONSOR, YES, MADE)).unwrap();
    let twice = once.clone().after(review(SPONSOR, YES, MADE));
    assert_eq!(twice, Err(ReviewError::Twice(name(SPONSOR))));
    let second = once.after(review("bob", YES, MADE)).unwrap();
    assert_eq!(second.state.as_str(), "pending");
    // Nor in the next step.
    let again = second.after(review(SPONSOR, YES, MADE));
    assert_eq!(again, Err(ReviewError::Twice(name(SPONSOR))));
}

#[test]
fn a_review_narrows_what_earlier_ones_left_and_widens_nothing() {
    let narrowed = |ttl, start: Option<i64>| Verdict::Approve { ttl, start: start.map(at) };
    let asked = request(&[(3, 1)], Some(3_000));
    let wider = asked.clone().after(review("bob", narrowed(Some(ttl(601)), None), MADE));
    assert_eq!(wider, Err(ReviewError::Widens(ttl(600))));
    let earlier = asked.clone().after(review("bob", narrowed(None, Some(2_999)), MADE));
    assert_eq!(earlier, Err(ReviewError::Earlier));
    let less = asked.after(review("bob", narrowed(Some(ttl(300)), Some(3_100)), MADE)).unwrap();
    assert_eq!(less.granted(), (ttl(300), Some(at(3_100))));
    let wider = less.clone().after(review("carol", narrowed(Some(ttl(301)), None), MADE));
    assert_eq!(wider, Err(ReviewError::Widens(ttl(300))));
    let earlier = less.clone().after(review("carol", narrowed(None, Some(3_099)), MADE));
    assert_eq!(earlier, Err(ReviewError::Earlier));
    let same = less.after(review("carol", narrowed(Some(ttl(300)), Some(3_100)), MADE)).unwrap();
    assert_eq!(same.granted(), (ttl(300), Some(at(3_100))));
}

#[test]
fn requests_survive_the_store() {
    let kinds = [RequestKind::Access, RequestKind::Extension { extends: grant() }, RequestKind::BreakGlass];
    for (state, kind) in
        states().into_iter().flat_map(|state| kinds.clone().map(|kind| (state.clone(), kind)))
    {
        let reviewed = request(&[(2, 1)], Some(3_000)).after(review("bob", YES, MADE)).unwrap();
        let request = Request { kind, state, ..reviewed };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
    }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(YES),
        3 => (prop::option::of(1_u64..900), prop::option::of(2_500_i64..4_000)).prop_map(|(shorter, later)| {
            Verdict::Approve { ttl: shorter.map(ttl), start: later.map(at) }
        }),
        1 => Just(Verdict::Deny),
    ]
}

/// Something that happens so many seconds after what happened before.
fn happening() -> impl Strategy<Value = (i64, RequestEvent)> {
    let reviewed = (prop::sample::select(PEOPLE.to_vec()), verdict())
        .prop_map(|(reviewer, verdict)| review(reviewer, verdict, 0));
    let by = prop::option::of(Just(name(REQUESTER)));
    let cancelled = by.prop_map(|by| RequestEvent::Cancelled { at: at(0), by, reason: "no need".to_owned() });
    let due = prop::option::of(1_i64..200)
        .prop_map(|remind| RequestEvent::Due { at: at(0), remind: remind.map(at) });
    let later = prop_oneof![8 => 0_i64..50, 1 => 500_i64..900];
    (later, prop_oneof![12 => reviewed, 1 => cancelled, 4 => due])
}

/// The event as it happens at a moment.
fn dated(event: RequestEvent, now: i64) -> RequestEvent {
    match event {
        RequestEvent::Reviewed { review, grant } => {
            RequestEvent::Reviewed { review: Review { at: at(now), ..review }, grant }
        }
        RequestEvent::Cancelled { by, reason, .. } => RequestEvent::Cancelled { at: at(now), by, reason },
        RequestEvent::Due { remind, .. } => {
            RequestEvent::Due { at: at(now), remind: remind.map(|after| at(now + after.as_second())) }
        }
    }
}

/// What holds of every request, whatever happened.
fn is_sound(request: &Request) {
    let voices: BTreeSet<&PrincipalName> = request.reviews.iter().map(|review| &review.reviewer).collect();
    assert_eq!(voices.len(), request.reviews.len(), "each reviews once");
    assert!(!voices.contains(&request.requester.name), "nobody decides for himself");
    let agreed = |at: usize| {
        let of_step = |review: &&Review| review.step == at && review.verdict != Verdict::Deny;
        request.reviews.iter().filter(of_step).count()
    };
    let through = match request.state {
        RequestState::Approved { .. } => request.requirement.steps.len(),
        RequestState::Pending { step, .. } => step,
        _ => 0,
    };
    for (at, step) in request.requirement.steps.iter().enumerate().take(through) {
        assert!(agreed(at) >= usize::try_from(step.quorum).unwrap(), "step {at} has its quorum");
    }
    let (granted, start) = request.granted();
    assert!(granted <= request.terms.ttl && start >= request.terms.start, "nothing is wider than asked for");
}

/// What holds of every change of a request.
fn is_step(before: &Request, after: &Request) {
    let unchanging = |request: &Request| {
        (request.id, request.terms.clone(), request.requirement.clone(), request.requester.clone())
    };
    assert_eq!(unchanging(before), unchanging(after), "terms do not change");
    assert_eq!((before.created_at, before.expires_at), (after.created_at, after.expires_at));
    assert!(after.reviews.starts_with(&before.reviews), "what was decided stays");
    let ((long, early), (longer, earlier)) = (before.granted(), after.granted());
    assert!(longer <= long && earlier >= early, "a review narrows");
    match (&before.state, &after.state) {
        (RequestState::Pending { step, .. }, RequestState::Pending { step: next, .. }) => {
            assert!(*next == *step || *next == *step + 1, "steps are taken in order");
        }
        (RequestState::Pending { .. }, _) => assert_eq!(after.due_at(), None, "what is over is never due"),
        (over, state) => assert_eq!(over, state, "what is over stays so"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_of_a_request_is_unsound(
        steps in prop::collection::vec((1_u32..4, 1_u32..3), 1..4),
        start in prop::option::of(2_500_i64..3_500),
        history in prop::collection::vec(happening(), 1..30),
    ) {
        let (mut now, mut request) = (MADE, request(&steps, start));
        request.remind_at = Some(at(MADE + 100));
        for (later, event) in history {
            now += later;
            let event = dated(event, now);
            let due = matches!(event, RequestEvent::Due { .. });
            let Ok(after) = request.clone().after(event) else { continue };
            is_sound(&after);
            is_step(&request, &after);
            prop_assert!(!due || after.due_at().is_none_or(|next| next > at(now)), "it is not due again at once");
            request = after;
        }
    }
}
