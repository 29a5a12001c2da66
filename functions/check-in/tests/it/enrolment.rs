//! Enrolment with the token of a batch.

use packcast_protocol::UnixTime;
use packcast_protocol::api::{Admission, CHECK_IN_PATH, ProblemKind};
use packcast_protocol::enrolment::{BatchId, BatchKey, EnrolmentBatch};
use packcast_testing::table::{NOW, mia};

use crate::agents::{Agent, parsed, refused};
use crate::system::{Reply, TestSystem};

fn id() -> BatchId {
    BatchId::new(Some(&"berlin".parse().expect("a valid name")), [5; 16])
}

/// Returns the token of a batch, created with the pass key of the test system.
fn token(devices: u32, expires: UnixTime) -> Admission {
    let batch = EnrolmentBatch::new(id(), devices, expires);
    let key = BatchKey::of_pass_key(&[9; 32]);
    Admission::Token(key.token(&batch.expect("a size of a batch")))
}

async fn enrol(system: &TestSystem, number: u8, token: &Admission) -> Reply {
    let agent = Agent::new(number);
    let asking = Agent::asking();
    agent.post_as(system, token, CHECK_IN_PATH, &asking).await
}

#[tokio::test]
async fn a_batch_enrols_its_number_of_devices() {
    let system = TestSystem::start().await;
    let token = token(2, NOW.plus(60));
    for number in [1, 2] {
        let reply = parsed(&enrol(&system, number, &token).await);
        let enrolled = Agent {
            pass: reply.pass,
            ..Agent::new(number)
        };
        enrolled.check_in(&system).await;
    }
    let reply = enrol(&system, 3, &token).await;
    assert_eq!(reply.status.as_u16(), 403, "{}", reply.text());
    let device = Agent::new(3).device();
    let device_state = system.table.records.device_state(&device).await;
    assert_eq!(device_state.unwrap().device, None);
}

#[tokio::test]
async fn a_device_is_on_record_with_its_batch() {
    let system = TestSystem::start().await;
    let reply = parsed(&enrol(&system, 1, &token(2, NOW.plus(60))).await);
    let enrolled = Agent {
        pass: reply.pass,
        ..Agent::new(1)
    };
    enrolled.check_in(&system).await;
    let records = &system.table.records;
    let device_state = records.device_state(&enrolled.device()).await.unwrap();
    assert_eq!(device_state.device.unwrap().batch, Some(id()));
}

#[tokio::test]
async fn a_revoked_token_enrols_no_further_device() {
    let system = TestSystem::start().await;
    let token = token(3, NOW.plus(60));
    let enrolled = parsed(&enrol(&system, 1, &token).await).pass;
    let records = &system.table.records;
    assert!(records.revoke_batch(&id(), &mia()).await.unwrap());
    let reply = enrol(&system, 2, &token).await;
    assert_eq!(reply.status.as_u16(), 403, "{}", reply.text());
    assert!(reply.text().contains("was revoked"), "{}", reply.text());
    let device_state = records.device_state(&Agent::new(2).device()).await;
    assert_eq!(device_state.unwrap().device, None);
    let enrolled = Agent {
        pass: enrolled,
        ..Agent::new(1)
    };
    enrolled.check_in(&system).await;
}

#[tokio::test]
async fn a_device_that_enrols_again_counts_once() {
    let system = TestSystem::start().await;
    let token = token(2, NOW.plus(60));
    for number in [1, 1, 1, 2, 1, 2] {
        let reply = parsed(&enrol(&system, number, &token).await);
        assert!(reply.pass.is_some(), "{number}");
    }
    assert_eq!(enrol(&system, 3, &token).await.status.as_u16(), 403);
}

#[tokio::test]
async fn an_expired_or_forged_token_is_refused_before_the_table_is_read() {
    let system = TestSystem::start().await;
    let forged = token(2, NOW.plus(60)).to_header().replace("-2-", "-3-");
    for token in [token(2, NOW), forged.parse().unwrap()] {
        let reply = enrol(&system, 1, &token).await;
        let problem = refused(&system, &reply, 403);
        assert_eq!(problem.kind, ProblemKind::NotEnrolled);
    }
}
