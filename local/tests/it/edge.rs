//! Requests that the edge serves, and requests that it refuses.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH,
};
use reqwest::{StatusCode, Version};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::system::{RunningSystem, builder};

/// Traps of OCS agents (protocol reference) and the tests that guard against them.
const _: &[(&str, fn())] = &[
    (
        "§8.6: a fragment answered with 304 fails for ever",
        a_conditional_request_is_answered_in_full,
    ),
    (
        "§8.7: an object that ends early must be detected",
        exact_bytes_with_the_headers_of_their_key,
    ),
];

/// Sends a request line as it is, because a client library would normalize it, and returns the
/// answer.
///
/// The function blocks, so that the edge needs a thread of its own.
fn raw(system: &RunningSystem, request_line: &str) -> String {
    let state = system.local.state();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&state.ca_file).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(state.edge).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut tls = rustls::StreamOwned::new(connection, stream);
    let request =
        format!("{request_line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // If the connection ends without a close alert, the answer read so far is kept.
    let _ = tls.read_to_string(&mut answer);
    answer
}

#[tokio::test]
async fn exact_bytes_with_the_headers_of_their_key() {
    let system = RunningSystem::start().await;
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    system.object("s/1700000000/1700000000-1", &content);
    let address = system.url("/d/s/1700000000/1700000000-1");
    let response = system.client.get(address).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.version(), Version::HTTP_2);
    let headers = response.headers();
    assert_eq!(headers[CONTENT_LENGTH], content.len().to_string());
    assert_eq!(headers[CONTENT_TYPE], "application/octet-stream");
    assert!(
        headers[CACHE_CONTROL]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    assert_eq!(response.bytes().await.unwrap(), content);
}

#[tokio::test]
async fn clients_without_http_2_are_served_over_http_1() {
    let system = RunningSystem::start().await;
    system.object("s/1700000000/info", b"<DOWNLOAD/>");
    let client = builder(&system.local.state().ca_file)
        .http1_only()
        .build()
        .unwrap();
    let response = client
        .get(system.url("/d/s/1700000000/info"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/xml");
    assert_eq!(response.text().await.unwrap(), "<DOWNLOAD/>");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_returns_the_length_and_no_body() {
    let system = RunningSystem::start().await;
    system.object("s/a", &[7; 1000]);
    let response = system
        .client
        .head(system.url("/d/s/a"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()[CONTENT_LENGTH], "1000");
    assert!(response.bytes().await.unwrap().is_empty());
    let answer = raw(&system, "HEAD /d/s/a");
    assert!(
        answer.contains("content-length: 1000") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_conditional_request_is_answered_in_full() {
    let system = RunningSystem::start().await;
    system.object("s/a", b"fragment");
    let response = system
        .client
        .get(system.url("/d/s/a"))
        .header(IF_MODIFIED_SINCE, "Fri, 01 Jan 2100 00:00:00 GMT")
        .header(IF_NONE_MATCH, "*")
        .header("range", "bytes=1-2")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.bytes().await.unwrap(), "fragment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_out_of_the_objects() {
    let system = RunningSystem::start().await;
    system.object("s/a", b"inside");
    system.object("s/.partial-x", b"unfinished");
    assert!(raw(&system, "GET /d/s/a").starts_with("HTTP/1.1 200"));
    for path in [
        "/d/../../secrets.json",
        "/d/s/../../../secrets.json",
        "/d/%2e%2e/%2e%2e/secrets.json",
        "/d/..%2f..%2fsecrets.json",
        "/d//secrets.json",
        "/d/s/.partial-x",
        "/d/s/",
        "/d/s",
        "/d/",
        "/d",
        "/",
        "/secrets.json",
        "/objects/d/s/a",
    ] {
        let answer = raw(&system, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_out_are_not_followed() {
    let system = RunningSystem::start().await;
    let inside = system.object("s/a", b"inside");
    let folder = inside.parent().unwrap();
    let outside = system.directory().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), folder.join("file")).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join("folder")).unwrap();
    for path in ["/d/s/file", "/d/s/folder/secret"] {
        let response = system.client.get(system.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_request_larger_than_lambda_takes_is_refused() {
    let system = RunningSystem::start().await;
    let post = |bytes: usize| {
        let request = system.client.post(system.url("/v1/check-in"));
        request.body(vec![b' '; bytes]).send()
    };
    let limit = 6 * 1024 * 1024;
    assert_eq!(
        post(limit + 1).await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_ne!(
        post(10).await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn other_requests_reach_the_check_in_handler() {
    let system = RunningSystem::start().await;
    let label = system
        .client
        .get(system.url("/deploy/label"))
        .send()
        .await
        .unwrap();
    assert_eq!(label.status(), StatusCode::NOT_FOUND);
    let unsigned = system
        .client
        .post(system.url("/v1/check-in"))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(unsigned.headers()[CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn every_request_is_logged_before_its_answer_and_without_tokens() {
    let system = RunningSystem::start().await;
    system.object("s/a", &[1; 12]);
    let token = system.local.state().ocs_path_token.reveal().to_owned();
    for path in [
        "/d/s/a",
        "/d/s/none",
        &format!("/ocsinventory/{token}"),
        &format!("/{token}"),
    ] {
        let request = system
            .client
            .get(system.url(path))
            .header("user-agent", "story \"1\"");
        request.send().await.unwrap();
    }
    let log = system.log();
    assert!(!log.contains(&token), "{log}");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["path"].as_str().unwrap(),
                line["status"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("/d/s/a", 200),
        ("/d/s/none", 404),
        ("/ocsinventory/…", 404),
        ("/…", 404),
    ];
    assert_eq!(shown, expected);
    assert_eq!(lines[0]["bytes"], 12);
    assert_eq!(lines[0]["method"], "GET");
    assert_eq!(lines[0]["user_agent"], "story \"1\"");
}

#[tokio::test]
async fn a_client_that_disconnects_disturbs_no_other() {
    let system = RunningSystem::start().await;
    system.object("s/large", &vec![3; 8 << 20]);
    let mut response = system
        .client
        .get(system.url("/d/s/large"))
        .send()
        .await
        .unwrap();
    response.chunk().await.unwrap();
    drop(response);
    let stray = TcpStream::connect(system.local.state().edge).unwrap();
    stray.shutdown(Shutdown::Both).unwrap();
    let again = system
        .client
        .get(system.url("/d/s/large"))
        .send()
        .await
        .unwrap();
    assert_eq!(again.bytes().await.unwrap().len(), 8 << 20);
    system.local.stop().await.unwrap();
}
