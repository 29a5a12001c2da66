//! Bodies that no agent sends, or that arrive damaged.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::system::{TestSystem, device, prolog, zlib};

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
        b"OCS-NG_unified_unix_agent_v9.9".to_vec(),
    ] {
        let request = http::Request::post(format!("/ocsinventory/{}", crate::system::PATH_TOKEN))
            .header("user-agent", agent.as_slice())
            .body(zlib(&prolog(1)).into())
            .unwrap();
        let reply = system.send(request, packcast_testing::table::NOW).await;
        assert_eq!(reply.status.as_u16(), 200);
        let device_state = system.table.records.device_state(&device(1)).await.unwrap();
        assert!(device_state.device.unwrap().agent.len() <= 64);
    }
}
