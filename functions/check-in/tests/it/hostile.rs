//! Requests of strangers, and bodies that no agent sends or that arrive damaged.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use packcast_protocol::api::{
    ADMISSION, Admission, BEGIN_PATH, CHECK_IN_PATH, MAX_REQUEST_BYTES, REPORT_PATH, ReportRequest,
};
use packcast_protocol::http_signature::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT};
use packcast_testing::table::NOW;

use crate::agents::{Agent, token};
use crate::log::CapturedLog;
use crate::system::{PATH_TOKEN, Reply, TestSystem, device, prolog, zlib};

/// Largest reply to a refused request, and longest line of the log, in bytes.
const SHORT: usize = 1024;

const FIELDS: &str = "DEVICEID=\"pc1-2026-03-04-05-06-07\" QUERY=\"PROLOG\"";

/// Posts a body, checks status and text of the reply, and checks that the table is not read.
async fn refused(body: impl Into<Bytes>, status: u16, words: &str) {
    let system = TestSystem::start().await;
    let reply = system.post(body).await;
    assert_eq!(reply.status.as_u16(), status, "{words}: {reply:?}");
    let text = reply.text();
    assert!(text.contains(words), "{text:?} lacks {words:?}");
    assert!(text.len() < 500, "{words}: {} bytes", text.len());
    assert_eq!(system.operations(), [""; 0], "{words}");
}

#[tokio::test]
async fn bodies_that_are_neither_compressed_nor_xml_are_refused() {
    for body in [
        &b""[..],
        b"\0",
        b"garbage",
        b"{}",
        b"\x80\x9c\xff",
        b"\n<x/>",
    ] {
        refused(body, 400, "neither zlib, gzip nor XML").await;
    }
}

#[tokio::test]
async fn a_cut_stream_is_refused_if_its_document_is_incomplete() {
    let document = format!("{}<!-- {} -->", prolog(1), "x y z ".repeat(100));
    let body = zlib(&document);
    let system = TestSystem::start().await;
    for end in 1..body.len() {
        let reply = system.post(body[..end].to_vec()).await;
        let status = reply.status.as_u16();
        assert!([200, 400].contains(&status), "cut at {end}: {status}");
    }
    assert_eq!(system.post(body[..20].to_vec()).await.status.as_u16(), 400);
    // Without its checksum, the stream has the form that a Windows agent sends.
    let reply = system.post(body[..body.len() - 4].to_vec()).await;
    assert_eq!(reply.status.as_u16(), 200);
}

#[tokio::test]
async fn a_cut_or_corrupt_stream_of_gzip_is_refused() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(prolog(1).as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    refused(body[..body.len() - 8].to_vec(), 400, "Gzip").await;
    let mut corrupt = zlib(&prolog(1));
    let end = corrupt.len();
    corrupt[end - 1] ^= 0xFF;
    refused(corrupt, 400, "Zlib").await;
}

#[tokio::test]
async fn a_large_body_is_refused_without_reading_it() {
    refused(vec![b'<'; (4 << 20) + 1], 413, "4194304").await;
}

/// Returns the largest memory of this process so far, in KiB.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Returns a compressed stream of zeros.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        zlib.write_all(&zeros).expect("memory can be written");
    }
    zlib.finish().expect("memory can be written")
}

#[tokio::test]
async fn an_inflating_body_is_refused_at_the_limit() {
    refused(bomb(33), 413, "33554432").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_inflating_body_does_not_fill_the_memory() {
    let system = TestSystem::start().await;
    let bomb = bomb(400);
    let before = peak_kib();
    assert_eq!(system.post(bomb).await.status.as_u16(), 413);
    // Other tests may run in this process, but none of them needs much memory.
    let grown = peak_kib() - before;
    assert!(grown < 250 << 10, "{grown} KiB for a bomb of 400 MiB");
}

#[tokio::test]
async fn a_doctype_is_refused() {
    let body = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE REQUEST [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><REQUEST {FIELDS}>&a;</REQUEST>"
    );
    refused(zlib(&body), 400, "DOCTYPE").await;
}

#[tokio::test]
async fn an_invalid_device_id_is_refused() {
    for id in [
        "pc1",
        "-2026-03-04-05-06-07",
        "pc1-2026-03-04-05-06",
        "pc1-2026-03-04-05-06-07x",
        "key:aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "",
    ] {
        let body = format!("<REQUEST DEVICEID=\"{id}\" QUERY=\"PROLOG\"/>");
        refused(zlib(&body), 400, "DEVICEID").await;
    }
    let long = format!(
        "<REQUEST DEVICEID=\"{}-2026-03-04-05-06-07\" QUERY=\"PROLOG\"/>",
        "x".repeat(1 << 20)
    );
    refused(zlib(&long), 400, "DEVICEID").await;
}

#[tokio::test]
async fn a_request_without_a_query_is_refused() {
    let body = "<REQUEST DEVICEID=\"pc1-2026-03-04-05-06-07\"/>";
    refused(zlib(body), 400, "QUERY").await;
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let nested = "<A>".repeat((1 << 20) / 3);
    refused(
        zlib(&format!("<REQUEST {FIELDS}>{nested}")),
        400,
        "elements",
    )
    .await;
}

#[tokio::test]
async fn a_wide_document_within_the_limits_is_accepted() {
    let system = TestSystem::start().await;
    let software = "<SOFTWARES><NAME>vlc</NAME></SOFTWARES>".repeat(100_000);
    let body = format!("<REQUEST {FIELDS}><CONTENT>{software}</CONTENT></REQUEST>");
    let reply = system.post(zlib(&body)).await;
    assert_eq!(reply.status.as_u16(), 200);
}

#[tokio::test]
pub(crate) async fn any_user_agent_is_accepted_and_bounded() {
    let system = TestSystem::start().await;
    for agent in [
        "é".repeat(100).into_bytes(),
        vec![b'x'; 8000],
        vec![0xFF; 10],
        b"OCS-NG_unified_unix_agent\tv9.9".to_vec(),
    ] {
        let request = Request::post(format!("/ocsinventory/{PATH_TOKEN}"))
            .header("user-agent", agent.as_slice())
            .body(zlib(&prolog(1)).into())
            .unwrap();
        let reply = system.send(request, NOW).await;
        assert_eq!(reply.status.as_u16(), 200);
        let device_state = system.table.records.device_state(&device(1)).await.unwrap();
        let agent = device_state.device.unwrap().agent;
        assert!(agent.len() <= 64 && !agent.contains(char::is_control));
    }
}

/// Returns the largest body that the function accepts: one JSON string of control characters.
fn largest_json() -> Vec<u8> {
    let (before, after) = (br#"{"facts":""#, br#""}"#);
    let filler = MAX_REQUEST_BYTES - before.len() - after.len();
    [&before[..], &vec![0x7F; filler], after].concat()
}

/// Returns headers that admit nobody, each with a description.
///
/// They are the headers of a stranger, who signs with a fresh key and has no valid secret, and the
/// same headers with each of them missing, repeated, long or malformed.
fn unadmitted_headers(path: &str, body: &[u8]) -> Vec<(String, HeaderMap)> {
    let stranger = Agent::new(77);
    let signed = |admission| {
        let request = stranger.signed_as(&admission, path, body.to_vec(), NOW);
        request.headers().clone()
    };
    let longest = "x".repeat(128).parse().expect("a secret");
    let honest = signed(token("enrolment-token-2"));
    let mut all = vec![
        ("a wrong pass".to_owned(), signed(Admission::Pass(longest))),
        ("a wrong token".to_owned(), honest.clone()),
    ];
    for name in [ADMISSION, CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE] {
        let name = HeaderName::from_static(name);
        let mut without = honest.clone();
        without.remove(&name);
        all.push((format!("no {name}"), without));
        let mut twice = honest.clone();
        twice.append(&name, honest[&name].clone());
        all.push((format!("two of {name}"), twice));
        for value in [
            vec![],
            vec![0xFF; 400],
            b"(".repeat(500),
            vec![b'x'; 16_000],
        ] {
            let mut malformed = honest.clone();
            let description = format!("{name} of {} bytes", value.len());
            let value = HeaderValue::from_bytes(&value).expect("no byte is a control character");
            malformed.insert(&name, value);
            all.push((description, malformed));
        }
    }
    all
}

async fn send(system: &TestSystem, path: &str, headers: &HeaderMap, body: &[u8]) -> Reply {
    let mut request = Request::post(path)
        .body(Bytes::copy_from_slice(body))
        .expect("a request");
    *request.headers_mut() = headers.clone();
    system.send(request, NOW).await
}

/// Returns the line about refused requests, and checks that nothing else was logged.
fn only_line(system: &TestSystem, log: &CapturedLog, refused: u64) -> String {
    assert_eq!(log.take(), [""; 0]);
    let counts = system.function.take_refusals(NOW).expect("refusals");
    assert_eq!(counts.total(), refused);
    let line = counts.to_metric("packcast-prod-check-in");
    assert!(line.len() <= SHORT, "{line}");
    line
}

#[tokio::test]
async fn a_stranger_causes_short_replies_no_log_and_no_read() {
    let system = TestSystem::start().await;
    let log = CapturedLog::start();
    let (hostile, valid) = (largest_json(), b"{}");
    let mut sent = 0;
    for path in [CHECK_IN_PATH, REPORT_PATH, BEGIN_PATH] {
        for (description, headers) in unadmitted_headers(path, &hostile) {
            let reply = send(&system, path, &headers, &hostile).await;
            assert!([401, 403].contains(&reply.status.as_u16()), "{description}");
            assert!(reply.body.len() <= SHORT, "{description}");
            // The digest does not match this body, so an equal reply shows that the function has
            // not even hashed the body.
            let other = send(&system, path, &headers, valid).await;
            assert_eq!(other.body, reply.body, "{description}");
            sent += 2;
        }
    }
    assert_eq!(system.operations(), [""; 0]);
    only_line(&system, &log, sent);
}

#[tokio::test]
async fn a_wrong_path_token_causes_a_short_reply_no_log_and_no_read() {
    let system = TestSystem::start().await;
    let log = CapturedLog::start();
    let hostile = vec![0x7F; 6 << 20];
    for path in ["/ocsinventory/path-token-one-2", "/ocsinventory", "/"] {
        for body in [&hostile, &zlib(&prolog(1)), &bomb(1)] {
            let reply = send(&system, path, &HeaderMap::new(), body).await;
            assert_eq!(
                (reply.status.as_u16(), reply.text()),
                (404, "there is nothing here\n")
            );
        }
    }
    assert_eq!(system.operations(), [""; 0]);
    only_line(&system, &log, 9);
}

#[tokio::test]
async fn an_error_in_the_json_of_an_agent_is_quoted_as_an_excerpt() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let log = CapturedLog::start();
    system.operations();
    let request = agent.signed(CHECK_IN_PATH, largest_json(), NOW);
    let reply = system.send(request, NOW).await;
    assert_eq!(reply.status.as_u16(), 400);
    assert!(reply.body.len() <= SHORT, "{}", reply.text());
    let quoted = r#"invalid type: string \"\\u{7f}\\u{7f}"#;
    assert!(reply.text().contains(quoted), "{}", reply.text());
    assert_eq!(system.operations(), [""; 0]);
    let line = only_line(&system, &log, 1);
    assert!(line.contains(quoted), "{line}");
}

#[tokio::test]
async fn errors_in_the_xml_of_an_agent_are_quoted_as_excerpts() {
    let system = TestSystem::start().await;
    let name = "\u{9F}".repeat(1 << 20);
    for content in [
        format!("&{name};"),
        format!("<{name}></A>"),
        format!("<A {name}='1' {name}='2'/>"),
        "&#0;".to_owned(),
    ] {
        let log = CapturedLog::start();
        let reply = system
            .post(zlib(&format!("<REQUEST {FIELDS}>{content}</REQUEST>")))
            .await;
        assert_eq!(reply.status.as_u16(), 400, "{content:.40}");
        assert!(reply.text().len() <= SHORT && !reply.text().trim_end().contains(char::is_control));
        assert_eq!(log.take(), [""; 0], "{content:.40}");
    }
    let line = system.function.take_refusals(NOW).unwrap();
    assert!(line.to_metric("packcast-prod-check-in").len() <= SHORT);
}

#[tokio::test]
async fn names_in_an_accepted_request_are_logged_as_excerpts() {
    let system = TestSystem::start().await;
    let log = CapturedLog::start();
    let name = format!("{}-2026-03-04-05-06-07", "x".repeat(180));
    let text = "Q".repeat(1 << 20);
    for fields in [
        format!("DEVICEID=\"{name}\" QUERY=\"{text}\""),
        format!("DEVICEID=\"{name}\" QUERY=\"DOWNLOAD\" ERR=\"{text}\" ID=\"{text}\""),
        format!("DEVICEID=\"{name}\" QUERY=\"DOWNLOAD\" ERR=\"{text}\" ID=\"1700000000\""),
    ] {
        let reply = system.post(zlib(&format!("<REQUEST {fields}/>"))).await;
        assert_eq!(reply.status.as_u16(), 200);
        let lines = log.take();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].len() <= 400, "{}", lines[0]);
    }
}

#[tokio::test]
async fn an_enrolment_token_admits_no_report_and_its_body_is_not_read() {
    let system = TestSystem::start().await;
    let agent = Agent::new(1);
    let request = ReportRequest {
        results: Vec::new(),
    };
    let reply = agent.post(&system, REPORT_PATH, &request).await;
    let hostile = agent.signed(REPORT_PATH, largest_json(), NOW);
    assert_eq!(system.send(hostile, NOW).await.body, reply.body);
    assert_eq!(reply.status.as_u16(), 403);
}
