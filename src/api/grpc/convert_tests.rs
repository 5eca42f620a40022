//! What the conversions keep.

use std::collections::BTreeSet;

use super::*;
use crate::{
    audit::{Actor, Digest, Draft},
    domain::{
        Account, AccountName, EndPlan, LeaseId, LeaseTerms, ObjectCounts, OwnedObjects, Principal,
        PrincipalRef, TokenId, Ttl,
    },
    store::TokenHash,
};

fn second(n: i64) -> Timestamp {
    Timestamp::from_second(n).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "messages have optional fields to compare with")]
fn at(n: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: n, nanos: 0 })
}

fn lease_in(state: LeaseState) -> Lease {
    let (role, target) = ("orders-read".parse().unwrap(), "orders".parse().unwrap());
    let principal =
        PrincipalRef { name: "alice@example.com".parse().unwrap(), kind: PrincipalKind::Contractor };
    let id = LeaseId::new(second(1_000), 7);
    Lease {
        id,
        kind: LeaseKind::Ephemeral,
        account: Account {
            name: AccountName::compose(Engine::Postgres, &role, &principal.name, id),
            hosts: Vec::new(),
        },
        role,
        target,
        principal,
        terms: LeaseTerms {
            ttl: Ttl::try_from(90).unwrap(),
            renewable_until: second(5_000),
            purpose: "tidy up".to_owned(),
            allowed_by: "roles/orders-read: allow *".to_owned(),
            grant: None,
        },
        end_plan: EndPlan {
            owned_objects: OwnedObjects::Drop,
            member_of: Vec::new(),
            renew: Vec::new(),
            end: Vec::new(),
            end_sessions: true,
        },
        idempotency_key: None,
        created_at: second(1_000),
        updated_at: second(1_001),
        state,
    }
}

#[test]
fn timestamps_keep_every_microsecond_and_stay_normalised_before_1970() {
    for (micros, seconds, nanos) in
        [(0, 0, 0), (1_500_000, 1, 500_000_000), (-1, -1, 999_999_000), (-1_500_000, -2, 500_000_000)]
    {
        let at = Timestamp::from_microsecond(micros).unwrap();
        assert_eq!(timestamp(at), prost_types::Timestamp { seconds, nanos });
    }
    for extreme in [Timestamp::MIN, Timestamp::MAX] {
        let message = timestamp(extreme);
        let back = i128::from(message.seconds) * 1_000_000_000 + i128::from(message.nanos);
        assert_eq!(back, extreme.as_nanosecond());
    }
}

#[test]
fn durations_keep_sign_and_fraction() {
    for (millis, seconds, nanos) in [(1_500, 1, 500_000_000), (-1_500, -1, -500_000_000), (0, 0, 0)] {
        let message = duration(SignedDuration::from_millis(millis));
        assert_eq!(message, prost_types::Duration { seconds, nanos });
    }
}

#[test]
fn states_and_kinds_come_back_as_they_went() {
    for name in StateName::ALL {
        assert_eq!(state_from_proto(state(name).into()), Ok(Some(name)));
        assert!(state(name).as_str_name().ends_with(&name.as_str().to_ascii_uppercase()));
    }
    for each in [PrincipalKind::Human, PrincipalKind::Workload, PrincipalKind::Contractor] {
        assert_eq!(kind_from_proto(kind(each).into()), Ok(each));
    }
    assert_eq!(state_from_proto(0), Ok(None));
    assert!(state_from_proto(8).is_err());
    assert!(state_from_proto(-1).is_err());
    assert!(kind_from_proto(0).is_err());
    assert!(kind_from_proto(4).is_err());
}

#[test]
fn an_active_lease_tells_its_expiry_and_nothing_of_an_end() {
    let message = lease(&lease_in(LeaseState::Active { expires_at: second(1_090) }));
    assert_eq!(message.name, format!("leases/{}", LeaseId::new(second(1_000), 7)));
    assert_eq!((&*message.role, &*message.target), ("roles/orders-read", "targets/orders"));
    assert_eq!(message.principal, "alice@example.com");
    assert_eq!(message.principal_kind(), proto::PrincipalKind::Contractor);
    assert_eq!(message.state(), proto::LeaseState::Active);
    assert_eq!(message.kind(), proto::LeaseKind::Ephemeral);
    assert_eq!((&*message.purpose, &*message.allowed_by), ("tidy up", "roles/orders-read: allow *"));
    assert_eq!((message.create_time, message.update_time), (at(1_000), at(1_001)));
    assert_eq!((message.expire_time, message.renewable_until_time), (at(1_090), at(5_000)));
    assert_eq!(message.ttl, Some(prost_types::Duration { seconds: 90, nanos: 0 }));
    assert_eq!((message.end_progress, message.end_report), (None, None));
    assert_eq!(message.end_reason, "");
}

#[test]
fn an_ending_lease_tells_its_last_error_and_next_attempt() {
    let message = lease(&lease_in(LeaseState::Ending {
        cause: EndCause::Revoked { reason: "left the company".to_owned() },
        since: second(1_010),
        attempts: 3,
        last_error: Some("connection refused".to_owned()),
        next_attempt_at: second(1_020),
        progress: EndReport::default(),
    }));
    assert_eq!(message.state(), proto::LeaseState::Ending);
    assert_eq!(message.end_reason, "it was revoked: left the company");
    assert_eq!(
        message.end_progress,
        Some(proto::EndProgress {
            attempts: 3,
            last_error: "connection refused".to_owned(),
            next_attempt_time: at(1_020),
            start_time: at(1_010),
        })
    );
    assert_eq!((message.expire_time, message.end_report), (None, None));
}

#[test]
fn an_ended_lease_tells_what_was_done_and_why() {
    let report = EndReport {
        sessions_ended: 1,
        objects: ObjectCounts { reassigned: 2, dropped: 3, kept: 4 },
        was_absent: false,
        account_kept: true,
    };
    for (cause, expected, reason) in [
        (EndCause::Expired, proto::LeaseState::Expired, "it expired"),
        (EndCause::Released, proto::LeaseState::Released, "its holder released it"),
        (EndCause::Revoked { reason: String::new() }, proto::LeaseState::Revoked, "it was revoked"),
        (
            EndCause::Failed { reason: "no route".to_owned() },
            proto::LeaseState::Failed,
            "it was never delivered: no route",
        ),
    ] {
        let message = lease(&lease_in(LeaseState::Ended { cause, at: second(1_100), report }));
        assert_eq!((message.state(), &*message.end_reason), (expected, reason));
        let told = message.end_report.unwrap();
        assert_eq!(
            (told.end_time, told.sessions_ended, told.objects_reassigned, told.objects_dropped),
            (at(1_100), 1, 2, 3)
        );
        assert_eq!((told.objects_kept, told.was_absent, told.account_kept), (4, false, true));
    }
}

#[test]
fn a_token_is_told_without_its_digest() {
    let stored = StoredToken {
        id: TokenId::new(second(1), 1),
        hash: TokenHash([7; 32]),
        principal: Principal {
            name: "ci".parse().unwrap(),
            kind: PrincipalKind::Workload,
            groups: BTreeSet::from(["builders".parse().unwrap(), "a".parse().unwrap()]),
            attributes: [].into(),
        },
        cidrs: vec!["10.0.0.0/8".parse().unwrap()],
        description: "the pipeline".to_owned(),
        created_at: second(1),
        expires_at: Some(second(2)),
        revoked_at: Some(second(3)),
    };
    let message = token(&stored);
    assert_eq!(message.groups, ["a", "builders"]);
    assert_eq!(message.cidrs, ["10.0.0.0/8"]);
    assert_eq!((message.create_time, message.expire_time, message.revoke_time), (at(1), at(2), at(3)));
    assert_eq!(message.principal_kind(), proto::PrincipalKind::Workload);
}

#[test]
fn an_audit_record_is_told_as_it_is_sealed() {
    let draft = Draft::new(second(1), Actor::System, "server.started", "server").with("fact", "\"quoted\"\n");
    let sealed = Record::seal(draft, 1, Digest::GENESIS);
    let message = record(&sealed).unwrap();
    assert!(!message.json.contains('\n'));
    let read: Record = serde_json::from_str(&message.json).unwrap();
    assert_eq!(read, sealed);
    assert_eq!(read.digest(), read.hash);
}
