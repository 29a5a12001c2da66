//! Errors that a bucket can answer, and their meaning for the store.

use insta::assert_snapshot;
use packcast_store::objects::{BucketError, BucketFault, GetError, Put, PutError};
use packcast_store::{Objects, S3, S3Config};

use crate::answers::{Answer, Answers};
use crate::conformance::{folder, fragment};

/// Number of attempts of the SDK.
const TRIES: usize = 8;

async fn bucket(endpoint: &str) -> Objects {
    let config = S3Config {
        bucket: "objects".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        http_client: None,
    };
    Objects::S3(S3::connect(config).await)
}

fn refusal(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>as documented</Message></Error>");
    Answer(status, "", body)
}

/// Lists a folder while every request gets this answer, and returns the error.
async fn fault(answer: Answer) -> BucketError {
    let server = Answers::start(vec![answer]);
    let objects = bucket(&server.endpoint()).await;
    match objects.list(&folder()).await {
        Err(GetError::Bucket { path, source }) if path == "d/segment" => *source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_refusal_has_a_hint() {
    let moved = Answer(
        301,
        "x-amz-bucket-region: us-west-2\r\n",
        refusal(301, "PermanentRedirect").2,
    );
    let refusals = [
        refusal(404, "NoSuchBucket"),
        moved,
        refusal(400, "AuthorizationHeaderMalformed"),
        refusal(403, "InvalidAccessKeyId"),
        refusal(400, "ExpiredToken"),
        refusal(403, "AccessDenied"),
        refusal(403, "RequestTimeTooSkewed"),
        refusal(400, "InvalidBucketName"),
    ];
    let mut messages = String::new();
    for answer in refusals {
        let error = fault(answer).await;
        assert!(!error.is_retryable(), "{error}");
        let endpoint = error.endpoint.clone();
        messages += &error.to_string().replace(&endpoint, "ADDRESS");
        messages += "\n";
    }
    assert_snapshot!(messages, @r"
    bucket objects at ADDRESS does not exist: deploy the stack, or check the target's bucket and region
    bucket objects at ADDRESS is in another region: set the target's region to us-west-2
    bucket objects at ADDRESS is in another region: set the target's region to the bucket's
    bucket objects at ADDRESS needs valid AWS credentials: check the profile, or sign in again
    bucket objects at ADDRESS needs valid AWS credentials: check the profile, or sign in again
    bucket objects at ADDRESS denies access to these AWS credentials: check the permissions of the profile
    bucket objects at ADDRESS rejects the time of this machine: correct its clock
    bucket objects at ADDRESS refuses the request: InvalidBucketName
    ");
}

#[tokio::test]
async fn a_busy_service_is_retried() {
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let server = Answers::start(vec![
        refusal(503, "SlowDown"),
        refusal(503, "ServiceUnavailable"),
        Answer(200, "", listing.to_owned()),
    ]);
    let objects = bucket(&server.endpoint()).await;
    assert!(objects.list(&folder()).await.unwrap().is_empty());
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn the_error_of_a_service_that_stays_busy_is_retryable() {
    let server = Answers::start(vec![refusal(503, "SlowDown")]);
    let objects = bucket(&server.endpoint()).await;
    let refused = objects.put_bytes(&fragment(0), "abc".into()).await;
    let error = refused.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(
        matches!(&error, PutError::Bucket { source, .. } if source.fault == BucketFault::Busy),
        "{error:?}"
    );
    assert_eq!(server.requests(), TRIES);
}

#[tokio::test]
async fn an_answer_that_ends_early_counts_as_unreachable() {
    let cut_off = Answer(
        200,
        "Transfer-Encoding: chunked\r\n",
        "ff\r\n<ListBucketResult>".to_owned(),
    );
    let error = fault(cut_off).await;
    assert_eq!(error.fault, BucketFault::Unreachable, "{error:?}");
}

#[tokio::test]
async fn the_error_names_an_address_where_nothing_answers() {
    // Nobody listens on this port. A free port could become the port of another test.
    let endpoint = "http://127.0.0.1:1";
    let refused = bucket(endpoint).await.get(&fragment(0), 9).await;
    let Err(GetError::Bucket { source, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(source.fault, BucketFault::Unreachable);
    assert!(source.is_retryable());
    assert_eq!(
        source.to_string(),
        format!("bucket objects at {endpoint} does not answer")
    );
}

#[tokio::test]
async fn the_error_names_a_key_that_was_not_removed() {
    let path = fragment(0).path().to_owned();
    let listing = format!(
        "<ListBucketResult><Contents><Key>{path}</Key><Size>1</Size></Contents></ListBucketResult>"
    );
    let refused = format!(
        "<DeleteResult><Error><Key>{path}</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    );
    let server = Answers::start(vec![Answer(200, "", listing), Answer(200, "", refused)]);
    let error = bucket(&server.endpoint()).await.delete(&folder()).await;
    let error = error.unwrap_err();
    assert!(!error.is_retryable());
    assert_eq!(error.to_string(), format!("cannot remove {path}"));
}

/// Puts an object of two parts; `completed` answers the completion, `found` the request after it.
async fn put_in_parts(completed: Answer, found: Answer) -> Result<Put, PutError> {
    let begun =
        "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    let part = Answer(200, "ETag: \"e\"\r\n", String::new());
    let given_up = Answer(204, "", String::new());
    let server = Answers::start(vec![
        Answer(200, "", begun.to_owned()),
        part.clone(),
        part,
        completed,
        given_up,
        found,
    ]);
    let objects = bucket(&server.endpoint()).await;
    objects.put_bytes(&fragment(0), two_parts().into()).await
}

fn two_parts() -> String {
    "a".repeat((8 << 20) + 1)
}

#[tokio::test]
async fn an_upload_is_found_after_its_last_answer_was_lost() {
    let lost = refusal(404, "NoSuchUpload");
    let put = put_in_parts(lost, Answer(200, "", two_parts())).await;
    assert_eq!(put.unwrap(), Put::Present);
}

#[tokio::test]
async fn an_upload_that_is_gone_is_an_error() {
    let gone = refusal(404, "NoSuchUpload");
    let put = put_in_parts(gone, refusal(404, "NoSuchKey")).await;
    assert!(
        matches!(&put, Err(PutError::Bucket { source, .. })
            if source.fault == BucketFault::Refused("NoSuchUpload".to_owned())),
        "{put:?}"
    );
}

#[tokio::test]
async fn an_upload_is_compared_with_the_object_that_was_there_first() {
    let taken = refusal(412, "PreconditionFailed");
    let other = Answer(200, "", two_parts().replacen('a', "b", 1));
    let put = put_in_parts(taken, other).await;
    assert!(matches!(put, Err(PutError::Conflict { .. })), "{put:?}");
}
