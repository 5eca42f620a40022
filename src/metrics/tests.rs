use std::time::Duration;

use super::*;

fn page(metrics: &Metrics, format: Format) -> String {
    let mut page = Page::new(format);
    metrics.write(&mut page);
    page.finish()
}

#[test]
fn what_was_recorded_is_written_with_its_labels() {
    let (role, target) = ("orders-read".parse().unwrap(), "orders".parse().unwrap());
    let metrics = Metrics::default();
    metrics.issue_answered(Some((&role, &target)), ISSUED, Duration::from_millis(3));
    metrics.issue_answered(Some((&role, &target)), ISSUED, Duration::from_secs(2));
    metrics.issue_answered(Some((&role, &target)), "denied", Duration::from_secs(9));
    metrics.issue_answered(None, "not_found", Duration::ZERO);
    metrics.ended((&role, &target), StateName::Active, SignedDuration::ZERO);
    metrics.ended((&role, &target), StateName::Expired, SignedDuration::from_hours(2));
    metrics.end_attempt_failed(&target, "unavailable");
    metrics.reconciled(&target, 2, 1, Timestamp::from_second(1_800_000_000).unwrap());
    let text = page(&metrics, Format::Prometheus);
    for line in [
        "# TYPE mayfly_issues_total counter",
        "mayfly_issues_total{target=\"orders\",role=\"orders-read\",outcome=\"issued\"} 2",
        "mayfly_issues_total{target=\"orders\",role=\"orders-read\",outcome=\"denied\"} 1",
        "mayfly_issues_total{target=\"\",role=\"\",outcome=\"not_found\"} 1",
        "# TYPE mayfly_issue_duration_seconds histogram",
        "mayfly_issue_duration_seconds_bucket{target=\"orders\",le=\"0.0025\"} 0",
        "mayfly_issue_duration_seconds_bucket{target=\"orders\",le=\"0.005\"} 1",
        "mayfly_issue_duration_seconds_bucket{target=\"orders\",le=\"2.5\"} 2",
        "mayfly_issue_duration_seconds_bucket{target=\"orders\",le=\"+Inf\"} 2",
        "mayfly_issue_duration_seconds_sum{target=\"orders\"} 2.003",
        "mayfly_issue_duration_seconds_count{target=\"orders\"} 2",
        "mayfly_end_duration_seconds_bucket{target=\"orders\",le=\"3600.0\"} 0",
        "mayfly_end_duration_seconds_count{target=\"orders\"} 1",
        "mayfly_ends_total{target=\"orders\",role=\"orders-read\",outcome=\"expired\"} 1",
        "mayfly_end_attempts_failed_total{target=\"orders\",kind=\"unavailable\"} 1",
        "mayfly_reconciliation_orphans_total{target=\"orders\"} 2",
        "mayfly_reconciliation_last_success_timestamp_seconds{target=\"orders\"} 1800000000",
    ] {
        assert!(text.lines().any(|written| written == line), "{line}\nin\n{text}");
    }
}

#[test]
fn openmetrics_names_counters_without_suffix_and_ends_the_page() {
    let metrics = Metrics::default();
    metrics.end_attempt_failed(&"orders".parse().unwrap(), "busy");
    let text = page(&metrics, Format::OpenMetrics);
    assert!(text.contains("# TYPE mayfly_end_attempts_failed counter\n"), "{text}");
    assert!(text.contains("\nmayfly_end_attempts_failed_total{target=\"orders\",kind=\"busy\"} 1\n"));
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(
        Format::asked_for("application/openmetrics-text;version=1.0.0,*/*;q=0.1"),
        Format::OpenMetrics
    );
    assert_eq!(Format::asked_for("text/plain"), Format::Prometheus);
}

#[test]
fn a_label_cannot_break_out_of_its_quotes() {
    let mut page = Page::new(Format::Prometheus);
    page.samples(&family::BUILD, [(vec!["a\"b\\c\nd"], 1)]);
    assert!(page.finish().ends_with("{version=\"a\\\"b\\\\c\\nd\"} 1\n"));
}

#[test]
fn names_follow_the_conventions() {
    for family in FAMILIES {
        assert!(family.name.starts_with("mayfly_"), "{}", family.name);
        assert_eq!(family.name.ends_with("_total"), family.kind == FamilyKind::Counter, "{}", family.name);
        assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
        assert!(!family.labels.contains(&"principal"));
    }
}

#[test]
fn operating_lists_every_family_with_its_kind_labels_and_meaning() {
    let operating = include_str!("../../docs/operating.md");
    let written: Vec<&str> = operating.lines().filter(|line| line.starts_with("| `mayfly_")).collect();
    let expected: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let kind = format!("{:?}", family.kind).to_lowercase();
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
            format!("| `{}` | {kind} | {labels} | {} |", family.name, family.help)
        })
        .collect();
    assert_eq!(written, expected, "the table should be\n{}", expected.join("\n"));
}
