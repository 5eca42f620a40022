use jiff::SignedDuration;
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::audit::{Actor, Draft};

fn chain(length: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for (n, millis) in (0..length).zip(0..) {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis);
        let address = (n % 2 == 0).then(|| "10.1.2.3".parse().unwrap());
        let actor = if n % 3 == 0 { Actor::System } else { Actor::Unauthenticated { address } };
        let draft = Draft::new(at, actor, "lease.issued", format!("leases/{n}"))
            .with("role", "reader")
            .with("note", "a \"quoted\" naïve\nnote");
        let draft = if n % 4 == 0 { draft.refused("no") } else { draft };
        let previous = records.last().map_or(Digest::GENESIS, |record| record.hash);
        records.push(Record::seal(draft, n as u64 + 1, previous));
    }
    records
}

fn lines(records: &[Record]) -> String {
    records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect()
}

fn head(record: &Record) -> ChainHead {
    ChainHead { seq: record.seq, hash: record.hash }
}

fn verify(text: &str) -> Result<Verified, VerifyError> {
    verify_lines(text.as_bytes(), None)
}

fn message(records: &[Record]) -> String {
    verify_records(records, None).unwrap_err().to_string()
}

#[test]
fn a_whole_chain_is_verified() {
    let records = chain(5);
    let verified = verify_lines(lines(&records).as_bytes(), Some(head(&records[4]))).unwrap();
    assert_eq!(verified.records, 5);
    assert_eq!(verified.first.unwrap().hash, records[0].hash);
    let last = Link { seq: 5, hash: records[4].hash, at: records[4].at };
    assert_eq!(verified.last, Some(last));
    assert_eq!(verify_records(&records, None).unwrap(), verified);
    // A head from earlier is contained as well.
    assert!(verify_records(&records, Some(head(&records[2]))).is_ok());
}

#[test]
fn an_empty_log_is_whole_unless_it_is_known_to_have_had_records() {
    assert_eq!(
        verify("").unwrap(),
        Verified { records: 0, after: ChainHead::GENESIS, first: None, last: None }
    );
    let cut = verify_lines(&b""[..], Some(head(&chain(1)[0]))).unwrap_err();
    assert!(matches!(cut, VerifyError::CutOff { last: 0, expected: 1 }));
}

#[test]
fn what_is_wrong_is_named() {
    let records = chain(6);
    let mut edited = records.clone();
    edited[2].resource = "leases/other".to_owned();
    assert_eq!(message(&edited), "record 3 was edited: its content does not match its hash");
    edited[2].hash = edited[2].digest();
    assert_eq!(message(&edited), "record 4 does not follow record 3: one of them was exchanged");

    let mut removed = records.clone();
    removed.remove(3);
    assert_eq!(message(&removed), "record 4 is missing: record 5 follows record 3");
    let mut swapped = records.clone();
    swapped.swap(2, 3);
    assert_eq!(message(&swapped), "record 3 is missing: record 4 follows record 2");
    let mut doubled = records.clone();
    doubled.insert(3, records[1].clone());
    assert_eq!(message(&doubled), "record 2 is out of place: it comes after record 3");
    let begins = message(&records[2..]);
    let expected = "the log begins with record 3, not with record 1, and no record of it says that what came before was \
                    archived: everything before it is missing";
    assert_eq!(begins, expected);
}

#[test]
fn a_cut_end_or_a_log_written_anew_is_seen_with_the_head_only() {
    let records = chain(6);
    let known = Some(head(&records[5]));
    assert!(verify_records(&records[..4], None).is_ok());
    let cut = verify_records(&records[..4], known).unwrap_err();
    assert!(matches!(cut, VerifyError::CutOff { last: 4, expected: 6 }), "{cut}");

    let draft = || Draft::new(Timestamp::UNIX_EPOCH, Actor::System, "nothing.happened", "leases/0");
    let mut anew: Vec<Record> = Vec::new();
    for seq in 1..=6 {
        let previous = anew.last().map_or(Digest::GENESIS, |record| record.hash);
        anew.push(Record::seal(draft(), seq, previous));
    }
    assert!(verify_records(&anew, None).is_ok());
    let replaced = verify_records(&anew, known).unwrap_err();
    assert!(matches!(replaced, VerifyError::Replaced { seq: 6 }), "{replaced}");
}

#[test]
fn another_text_for_the_same_content_is_refused() {
    let records = chain(1);
    let text = lines(&records);
    for (from, to) in [
        ("\"seq\":1", "\"seq\": 1"),
        ("lease.issued", "lease.\\u0069ssued"),
        ("\"type\":\"system\"", "\"type\":\"system\",\"extra\":1"),
        ("{\"note\"", "{\"note\":\"shadowed\",\"note\""),
        (":00Z", ":00.0Z"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = verify(&changed).unwrap_err();
        assert!(matches!(error, VerifyError::Rewritten { seq: 1 }), "{from}: {error}");
    }
}

#[test]
fn a_torn_last_line_is_named() {
    let text = lines(&chain(3));
    let torn = verify(&text[..text.len() - 1]).unwrap_err();
    assert!(matches!(torn, VerifyError::Torn { seq: 3 }), "{torn}");
    let endless = "x".repeat(3 << 20);
    assert!(matches!(verify(&endless).unwrap_err(), VerifyError::Torn { seq: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_change_of_a_byte_is_detected(length in 1..8usize, place: Index, flip in 1..=255u8) {
        let records = chain(length);
        let mut bytes = lines(&records).into_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert!(verify_lines(&bytes[..], Some(head(&records[length - 1]))).is_err());
    }

    #[test]
    fn any_byte_too_many_or_too_few_is_detected(length in 1..8usize, place: Index, byte: Option<u8>) {
        let records = chain(length);
        let mut bytes = lines(&records).into_bytes();
        let place = place.index(bytes.len());
        match byte {
            Some(byte) => bytes.insert(place, byte),
            None => { bytes.remove(place); }
        }
        prop_assert!(verify_lines(&bytes[..], Some(head(&records[length - 1]))).is_err());
    }

    #[test]
    fn any_removal_is_detected(length in 1..12usize, place: Index) {
        let mut records = chain(length);
        let known = head(&records[length - 1]);
        records.remove(place.index(length));
        prop_assert!(verify_records(&records, Some(known)).is_err());
    }

    #[test]
    fn any_swap_is_detected(length in 2..12usize, one: Index, other: Index) {
        let mut records = chain(length);
        let (one, other) = (one.index(length), other.index(length));
        prop_assume!(one != other);
        records.swap(one, other);
        prop_assert!(verify_records(&records, None).is_err());
    }

    #[test]
    fn any_repetition_is_detected(length in 1..12usize, which: Index, place: Index) {
        let mut records = chain(length);
        let which = records[which.index(length)].clone();
        records.insert(place.index(length + 1), which);
        prop_assert!(verify_records(&records, None).is_err());
    }

    #[test]
    fn any_edited_field_is_detected_even_when_sealed_again(length in 1..8usize, place: Index, field in 0..6u8) {
        let mut records = chain(length);
        let known = head(&records[length - 1]);
        let record = &mut records[place.index(length)];
        match field {
            0 => record.at += SignedDuration::from_micros(1),
            1 => record.actor = Actor::Unauthenticated { address: Some("::1".parse().unwrap()) },
            2 => record.action.push('x'),
            3 => record.resource.clear(),
            4 => { record.details.remove("role"); }
            _ => record.previous = Digest::of(b"another"),
        }
        prop_assert!(verify_records(&records, None).is_err());
        let record = &mut records[place.index(length)];
        record.hash = record.digest();
        prop_assert!(verify_records(&records, Some(known)).is_err());
    }
}
