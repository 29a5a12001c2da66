//! Access of OCS agents: a request without a valid path token is refused, and costs nothing.

use http::{Method, Request};
use packcast_check_in::{FunctionSettings, ORIGIN_HEADER};
use packcast_protocol::api::Secret;
use packcast_testing::table::NOW;

use crate::system::{
    ENROLMENT_TOKEN, OLD_PATH_TOKEN, PATH_TOKEN, TestSystem, ocs_request, prolog, settings, zlib,
};

#[tokio::test]
async fn without_a_token_no_address_exists_and_the_table_is_not_read() {
    let system = TestSystem::start().await;
    for path in [
        "/".to_owned(),
        "/ocsinventory".to_owned(),
        "/ocsinventory/".to_owned(),
        "/ocsinventory/path-token-one-2".to_owned(),
        format!("/ocsinventory/{ENROLMENT_TOKEN}"),
        format!("/ocsinventory/{PATH_TOKEN}/"),
        format!("/ocsinventory/{PATH_TOKEN}%20"),
        format!("/ocsinventory?token={PATH_TOKEN}"),
        format!("/{}", "x".repeat(4000)),
    ] {
        let request = Request::post(&path).body(zlib(&prolog(1)).into()).unwrap();
        let reply = system.send(request, NOW).await;
        assert_eq!(reply.status.as_u16(), 404, "{path}");
        assert_eq!(system.operations(), [""; 0], "{path}");
    }
}

#[tokio::test]
async fn requests_that_bypass_the_cdn_are_refused_with_any_credentials() {
    let secret: Secret = "origin-secret-one-1".parse().unwrap();
    let system = TestSystem::start_with(FunctionSettings {
        origin_secrets: vec![secret.digest()],
        ..settings()
    })
    .await;
    let post = || ocs_request(PATH_TOKEN);
    let body = || zlib(&prolog(1)).into();
    for request in [post(), post().header(ORIGIN_HEADER, "origin-secret-one-2")] {
        let reply = system.send(request.body(body()).unwrap(), NOW).await;
        assert_eq!(reply.status.as_u16(), 403);
        assert_eq!(system.operations(), [""; 0]);
    }
    let shown = post().header(ORIGIN_HEADER, secret.reveal());
    let reply = system.send(shown.body(body()).unwrap(), NOW).await;
    assert_eq!(reply.status.as_u16(), 200);
}

#[tokio::test]
async fn each_of_several_tokens_is_admitted() {
    let system = TestSystem::start().await;
    for token in [PATH_TOKEN, OLD_PATH_TOKEN] {
        let request = ocs_request(token).body(zlib(&prolog(1)).into()).unwrap();
        let reply = system.send(request, NOW).await;
        assert_eq!(reply.status.as_u16(), 200, "{token}");
        assert!(reply.inflated().contains("<NAME>DOWNLOAD</NAME>"));
    }
}

#[tokio::test]
async fn a_target_without_tokens_admits_no_ocs_agents() {
    let closed = FunctionSettings {
        path_tokens: Vec::new(),
        ..settings()
    };
    let system = TestSystem::start_with(closed).await;
    assert_eq!(system.post(zlib(&prolog(1))).await.status.as_u16(), 404);
    assert_eq!(system.operations(), [""; 0]);
}

#[tokio::test]
pub(crate) async fn only_posts_are_answered_and_the_label_does_not_exist() {
    let system = TestSystem::start().await;
    let paths = [
        format!("/ocsinventory/{PATH_TOKEN}/deploy/label"),
        format!("/ocsinventory/{PATH_TOKEN}"),
        "/v1/check-in".to_owned(),
        "/deploy/label".to_owned(),
    ];
    for path in paths {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            let request = Request::builder().method(&method).uri(&path);
            let reply = system.send(request.body("".into()).unwrap(), NOW).await;
            assert_eq!(reply.status.as_u16(), 404, "{method} {path}");
        }
    }
    assert_eq!(system.operations(), [""; 0]);
}

/// During a rotation, both tokens are valid: first the function gets the new one, then the
/// devices, then the function loses the old one.
#[tokio::test]
async fn a_rotated_token_is_refused() {
    let rotated = FunctionSettings {
        path_tokens: settings().path_tokens[..1].to_vec(),
        ..settings()
    };
    let system = TestSystem::start_with(rotated).await;
    for (token, status) in [(PATH_TOKEN, 200), (OLD_PATH_TOKEN, 404)] {
        let request = ocs_request(token).body(zlib(&prolog(1)).into()).unwrap();
        let reply = system.send(request, NOW).await;
        assert_eq!(reply.status.as_u16(), status, "{token}");
    }
}

#[tokio::test]
async fn debug_output_hides_secrets() {
    let system = TestSystem::start().await;
    let shown = format!("{:?} {:?}", settings(), system.function);
    for secret in [PATH_TOKEN, OLD_PATH_TOKEN, ENROLMENT_TOKEN] {
        let digest = packcast_protocol::Sha256Digest::of(secret.as_bytes()).to_string();
        assert!(!shown.contains(secret) && !shown.contains(&digest));
    }
}
