//! Numbers over HTTP, as `mayfly serve` shows them.

use super::home::Home;
use crate::metrics::{get, samples};

#[tokio::test]
async fn numbers_are_shown_where_the_configuration_says_and_follow_the_audit_file() {
    let home = Home::bare();
    home.append("[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let served = home.serve().await;
    let line: serde_json::Value =
        serde_json::from_str(&served.process.logged("\"message\":\"metrics\"").await).unwrap();
    let address = line["address"].as_str().unwrap().parse().unwrap();
    assert_eq!(get(address, "/readyz", "").await.status, 200);
    let lag = crate::support::eventually("the audit file is complete", async || {
        let samples = samples(&get(address, "/metrics", "").await.body);
        assert!(samples["mayfly_audit_records_total"] >= 1.0);
        (samples["mayfly_audit_file_lag_records"] < 1.0).then_some(())
    });
    lag.await;
    served.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it is shown no more");
}

#[tokio::test]
async fn without_the_key_nothing_listens_and_an_address_in_use_stops_the_start() {
    let home = Home::bare();
    let served = home.serve().await;
    assert!(!served.process.err().contains("\"message\":\"metrics\""));
    served.stop().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    home.append(&format!("[metrics]\nlisten = \"{}\"\n", taken.local_addr().unwrap()));
    let ran = home.start().ended().await;
    assert!(ran.code() != 0 && ran.err.contains("metrics.listen: cannot listen on"), "{ran:?}");
}
