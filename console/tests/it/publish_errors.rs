//! Errors of publications: each states its cause and the next step, and the form stays filled.

use std::fs;

use packcast_testing::skip::{Missing, skip};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::publish::{command_package, has};
use crate::small_disk::SmallDisk;
use crate::system::{Served, System, target_at};
use crate::visitor::{Visitor, shown_content};

#[tokio::test]
async fn a_package_that_another_tab_has_changed_is_shown_again_before_it_is_signed() {
    let system = System::start(1056).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = command_package(&visitor, "tool", "the shown command").await;
    let summary = format!("{wizard}/summary");
    let (page, _) = visitor.open(&summary).await;
    let shown = shown_content(&page).unwrap();
    let command = format!("{wizard}/command");
    visitor.submit(&command, &[("command", "another")]).await;
    let refused = visitor.post(&summary, &[("content", shown)]).await;
    assert_eq!(refused.status, 409);
    has(
        &refused.body,
        &["it has changed since its summary was shown", "another"],
    );
}

#[tokio::test]
async fn a_version_that_exists_is_a_conflict_and_the_form_stays_filled() {
    let system = System::start(1055).await;
    system.publish("tool", "1").await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = command_package(&visitor, "tool", "other content").await;
    let next = visitor.submit(&format!("{wizard}/summary"), &[]).await;
    let (page, at) = visitor.open(&next).await;
    assert_eq!(at, format!("{wizard}/summary"));
    has(
        &page.body,
        &[
            "role=\"alert\"",
            "a published version never changes",
            "still here",
            "other content",
        ],
    );
    let (start, _) = visitor.open("/publish").await;
    has(&start.body, &["In preparation", "tool@1", "failed"]);
    let (page, at) = visitor.open(&format!("{wizard}/options")).await;
    has(&page.body, &["value=\"tool\""]);
    let next = visitor
        .submit(&at, &[("name", "tool"), ("version", "2")])
        .await;
    let (page, at) = visitor.open(&next).await;
    assert!(!page.body.contains("role=\"alert\""), "{}", page.body);
    let next = visitor.submit(&at, &[]).await;
    assert!(visitor.open(&next).await.1.starts_with("/packages/"));
}

#[tokio::test]
async fn an_unreachable_table_is_reported_and_the_form_stays_filled() {
    let mut system = System::start(1056).await;
    // Nobody listens on this port. A free port could become the port of another test.
    system.target = target_at("http://127.0.0.1:1", "none", system.folder.path()).await;
    let (target, _) = system.target.for_display();
    let served = Served::start(target, "").await.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = command_package(&visitor, "tool", "true").await;
    let next = visitor.submit(&format!("{wizard}/summary"), &[]).await;
    let (page, at) = visitor.open(&next).await;
    assert_eq!(at, format!("{wizard}/summary"));
    has(
        &page.body,
        &["role=\"alert\"", "Next steps", "Sign and publish", "tool@1"],
    );
}

/// Answers each request as DynamoDB does after the temporary credentials of an account have expired.
async fn with_expired_credentials(listener: TcpListener) {
    const BODY: &str = r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token included in the request is expired"}"#;
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.windows(4).any(|it| it == b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{BODY}",
                BODY.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            // The body of the request is read, so that the answer is not lost with it.
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut head).await;
        });
    }
}

#[tokio::test]
async fn expired_credentials_are_reported_and_the_form_stays_filled() {
    let mut system = System::start(1071).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(with_expired_credentials(listener));
    system.target = target_at(&endpoint, "packcast", system.folder.path()).await;
    let (target, _) = system.target.for_display();
    let served = Served::start(target, "").await.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = command_package(&visitor, "tool", "true").await;
    let next = visitor.submit(&format!("{wizard}/summary"), &[]).await;
    let (page, at) = visitor.open(&next).await;
    assert_eq!(at, format!("{wizard}/summary"));
    has(
        &page.body,
        &[
            "role=\"alert\"",
            "needs valid AWS credentials: check the profile, or sign in again",
            "still here",
            "tool@1",
        ],
    );
    // A page that only reads says the same.
    let page = served.browser.get("/packages").await;
    assert!(page.status >= 500, "{page:?}");
    has(&page.body, &["check the profile, or sign in again"]);
}

#[tokio::test]
async fn a_full_disk_of_the_objects_is_reported_and_the_publication_continues() {
    let system = System::start(1072).await;
    let Some(disk) = SmallDisk::mount(system.folder.path().join("objects"), 1) else {
        return skip(Missing::Optional("a mount of a small tmpfs"));
    };
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    // Bytes that cannot be compressed.
    let mut state = 1_u32;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    let noise: Vec<u8> = (0..3 << 20).map(noise).collect();
    let file = system.folder.path().join("noise.bin");
    fs::write(&file, noise).unwrap();
    let path = file.display().to_string();
    let next = visitor
        .submit(&format!("{wizard}/file"), &[("path", &path)])
        .await;
    let (_, at) = visitor.open(&next).await;
    let next = visitor.submit(&at, &[("folder", "/srv")]).await;
    let options = [("name", "noise"), ("version", "1")];
    let summary = visitor.submit(&next, &options).await;
    let next = visitor.submit(&summary, &[]).await;
    let (page, at) = visitor.open(&next).await;
    assert_eq!(at, summary);
    has(
        &page.body,
        &[
            "role=\"alert\"",
            "no space is left in",
            "choose 'Sign and publish' again to continue",
            "still here",
            "noise@1",
        ],
    );
    disk.grow(20);
    let next = visitor.submit(&summary, &[]).await;
    let (_, at) = visitor.open(&next).await;
    assert!(at.starts_with("/packages/"), "{at}");
}
