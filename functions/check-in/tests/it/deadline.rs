//! Requests while the table does not answer.

use packcast_check_in::{CheckInFunction, REQUEST_LIMIT};
use packcast_store::{Records, RecordsConfig};
use packcast_testing::peer::Peer;
use packcast_testing::silence::FakeSilence;
use packcast_testing::table::NOW;
use tokio::time::Instant;

use crate::system::settings;

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_in_time_gets_503() {
    let records = Records::connect(RecordsConfig {
        table: "packages".to_owned(),
        endpoint: Some("http://127.0.0.1:8000".to_owned()),
        http_client: Some(FakeSilence::http_client()),
        ..RecordsConfig::default()
    });
    let function = CheckInFunction::new(records.await, settings());
    for peer in [Peer::packcast(1), Peer::ocs(1)] {
        let began = Instant::now();
        let response = function.handle(peer.check_in(&[], NOW), NOW).await;
        assert_eq!(response.status(), 503);
        assert_eq!(began.elapsed().as_secs(), REQUEST_LIMIT.as_secs());
    }
}
