//! How numbers are asked for.

use std::collections::BTreeSet;

use mayfly::metrics::{FAMILIES, FamilyKind};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{Shown, ask, get};
use crate::support::world::World;

async fn shown() -> Shown {
    Shown::of(World::with(Vec::new(), Vec::new()).await).await
}

#[tokio::test]
async fn what_is_served_is_what_is_documented() {
    let shown = shown().await;
    let page = get(shown.address, "/metrics", "").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/plain; version=0.0.4"), "{}", page.head);
    let served: BTreeSet<&str> = page.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let documented: Vec<String> = FAMILIES
        .iter()
        // There is no audit file here.
        .filter(|family| family.name != "mayfly_audit_file_lag_records")
        .map(|family| format!("{} {}", family.name, format!("{:?}", family.kind).to_lowercase()))
        .collect();
    assert_eq!(served, documented.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn who_asks_for_openmetrics_gets_it() {
    let shown = shown().await;
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5\r\n";
    let page = get(shown.address, "/metrics", accept).await;
    assert!(page.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", page.head);
    assert!(page.body.ends_with("# EOF\n"));
    for family in FAMILIES.iter().filter(|family| family.kind == FamilyKind::Counter) {
        let name = family.name.strip_suffix("_total").unwrap();
        assert!(page.body.contains(&format!("# TYPE {name} counter\n")), "{name}");
    }
}

#[tokio::test]
async fn probes_say_alive_ready_and_stopping() {
    let shown = shown().await;
    assert_eq!(get(shown.address, "/healthz", "").await.status, 200);
    assert_eq!(get(shown.address, "/readyz", "").await.status, 200);
    shown.draining.cancel();
    assert_eq!(get(shown.address, "/readyz", "").await.status, 503);
    assert_eq!(get(shown.address, "/metrics", "").await.status, 200);
}

#[tokio::test]
async fn a_store_that_is_gone_is_not_ready_and_takes_no_number_along_that_needs_it_not() {
    let shown = shown().await;
    mayfly::store::Store::close(&*shown.world.store).await;
    assert_eq!(get(shown.address, "/readyz", "").await.status, 503);
    assert_eq!(get(shown.address, "/healthz", "").await.status, 200);
    let page = get(shown.address, "/metrics", "").await;
    assert!(page.body.contains("mayfly_build_info") && !page.body.contains("mayfly_leases"), "{}", page.body);
}

#[tokio::test]
async fn anything_else_is_refused() {
    let shown = shown().await;
    assert_eq!(get(shown.address, "/", "").await.status, 404);
    assert_eq!(get(shown.address, "/metrics/../etc/passwd", "").await.status, 404);
    let posted = ask(shown.address, "POST /metrics HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(posted.status, 405);
    assert!(posted.head.contains("allow: get, head"));
    let large = format!("X: {}\r\n", "x".repeat(20_000));
    assert_eq!(get(shown.address, "/metrics", &large).await.status, 431);
    assert_eq!(ask(shown.address, "\u{16}\u{3}\u{1}\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out_for_long() {
    let shown = shown().await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(shown.address).await.unwrap());
    }
    // All places are taken by those who say nothing; they are shown out when their time is over.
    assert_eq!(get(shown.address, "/healthz", "").await.status, 200);
    let mut nothing = Vec::new();
    let _ = silent.remove(0).read_to_end(&mut nothing).await;
}
