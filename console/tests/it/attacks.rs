//! Attacks on the console: each from outside, against the real server.

use std::sync::atomic::Ordering;
use std::time::Duration;

use packcast_console::{Clock, Console, ConsoleError, ConsoleOptions, Ended, IDLE_S};
use packcast_rollout::state::StateChange;
use packcast_testing::skip::{Missing, skip};
use packcast_testing::table::device;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::browser::Browser;
use crate::system::System;

/// Every address with a page or an effect.
const ADDRESSES: [(&str, &str); 33] = [
    ("GET", "/"),
    ("GET", "/packages"),
    ("GET", "/packages/1795000000"),
    ("GET", "/packages/1795000000/devices"),
    ("GET", "/packages/1795000000/failures"),
    ("GET", "/packages/1795000000/versions"),
    ("GET", "/packages/1795000000/live"),
    ("GET", "/groups"),
    ("GET", "/groups/lab/devices"),
    ("GET", "/devices"),
    ("GET", "/devices?name=pc"),
    ("GET", "/devices/pc1/why/1795000000"),
    ("GET", "/rollouts"),
    ("GET", "/history"),
    ("GET", "/nothing"),
    ("POST", "/check"),
    ("POST", "/end"),
    ("GET", "/publish"),
    ("POST", "/publish"),
    ("GET", "/publish/1/file"),
    ("POST", "/publish/1/summary"),
    ("POST", "/publish/1/upload"),
    ("PUT", "/publish/1/upload?offset=0"),
    ("POST", "/publish/1/send"),
    ("GET", "/publish/1/live"),
    ("GET", "/change/assign"),
    ("GET", "/change/revert?commit=1"),
    ("POST", "/change/assign"),
    ("POST", "/change/pause"),
    ("POST", "/change/delete"),
    ("GET", "/changes"),
    ("GET", "/changes/1"),
    ("POST", "/key/lock"),
];

#[tokio::test]
async fn another_user_of_the_machine_learns_nothing_without_the_session() {
    let system = System::start(901).await;
    system.table.package("secretname", 5).await;
    system.table.device(1).await;
    let mut served = system.signed_in().await;
    let mine = served.browser.clone();
    // A client of another user reaches the port, and can guess any cookie but the right one.
    for cookie in [None, Some("guess".to_owned()), Some(served.token.clone())] {
        served.browser.cookie = cookie;
        system.table.meter.take();
        for (method, path) in ADDRESSES {
            let origin = served.browser.origin();
            let answer = served
                .browser
                .ask(method, path, &[("origin", &origin)], "form=x")
                .await;
            assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
            for word in ["secretname", "pc1", "local"] {
                assert!(!answer.body.contains(word), "{path}: {}", answer.body);
            }
        }
        let usage = system.table.meter.take();
        assert!(usage.operations.is_empty(), "{usage:?}");
    }
    // The session goes on.
    assert_eq!(mine.get("/packages").await.status, 200);
}

#[tokio::test]
async fn a_token_opens_one_session() {
    let system = System::start(902).await;
    let mut served = system.serve().await;
    let wrong = served
        .browser
        .sign_in("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .await;
    assert_eq!((wrong.status, wrong.cookie()), (403, None));
    let empty = served.browser.sign_in("").await;
    assert_eq!((empty.status, empty.cookie()), (403, None));
    let token = served.token.clone();
    assert_eq!(served.browser.sign_in(&token).await.status, 200);
    let mut thief = Browser {
        cookie: None,
        ..served.browser.clone()
    };
    let again = thief.sign_in(&token).await;
    assert_eq!((again.status, again.cookie()), (403, None));
    assert_eq!(thief.get("/").await.status, 403);
    assert_eq!(served.browser.get("/").await.status, 200);
}

#[tokio::test]
async fn the_cookie_is_kept_from_scripts_and_other_sites() {
    let system = System::start(903).await;
    let mut served = system.serve().await;
    let token = served.token.clone();
    let answer = served.browser.sign_in(&token).await;
    let line = answer.header("set-cookie").unwrap();
    let (_, attributes) = line.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Strict");
    // Without a redirect, so that the next request is one of the console's own page.
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("href=\"/\""), "{}", answer.body);
}

#[tokio::test]
async fn a_rebound_name_gets_no_answer() {
    let system = System::start(904).await;
    let served = system.signed_in().await;
    let port = served.browser.address.port();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("x.{}", served.browser.host),
    ] {
        let rebound = Browser {
            host: host.clone(),
            ..served.browser.clone()
        };
        for path in ["/", "/sign-in", "/style.css"] {
            let answer = rebound.get(path).await;
            assert_eq!(answer.status, 421, "{host}{path}");
            assert!(!answer.body.contains("Packcast"), "{}", answer.body);
        }
    }
    let none = served
        .browser
        .send(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(none.status, 421);
    let old = served.browser.send(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 421);
}

#[tokio::test]
async fn another_page_cannot_send_requests_with_the_session() {
    let system = System::start(905).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let token = browser.get("/").await.form_token();
    let form = format!("form={token}");
    let port = browser.address.port();
    // Also a page on another port of the same host, which would get the cookie.
    let neighbour = browser.origin().replace(&port.to_string(), "1");
    for origin in ["http://evil.example", "null", &neighbour] {
        let forged = browser
            .ask("POST", "/end", &[("origin", origin)], &form)
            .await;
        assert_eq!(forged.status, 403, "{origin}");
        let read = browser
            .ask("GET", "/packages", &[("origin", origin)], "")
            .await;
        assert_eq!(read.status, 403, "{origin}");
    }
    let without = browser.ask("POST", "/end", &[], &form).await;
    assert_eq!(without.status, 403);
    for (site, mode) in [("cross-site", "no-cors"), ("same-site", "cors")] {
        let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode)];
        let read = browser.ask("GET", "/packages", &headers, "").await;
        assert_eq!(read.status, 403, "{site}");
    }
    // A link of another page leads to the entrance, even with the cookie.
    let headers = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
    ];
    let linked = browser.ask("GET", "/packages", &headers, "").await;
    assert_eq!(linked.status, 403);
    assert!(linked.body.contains("One-time token"), "{}", linked.body);
    assert_eq!(browser.get("/packages").await.status, 200);
}

#[tokio::test]
async fn a_form_without_its_token_does_nothing() {
    let system = System::start(906).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let cookie = browser.cookie.clone().unwrap();
    for form in [
        String::new(),
        "form=".to_owned(),
        "form=guess".to_owned(),
        format!("form={cookie}"),
        format!("form={}", served.token),
    ] {
        system.table.meter.take();
        for path in [
            "/check",
            "/end",
            "/change/pause",
            "/change/assign",
            "/key/lock",
        ] {
            let form = format!("{form}&step=perform");
            let answer = browser.post(path, &form).await;
            assert!(
                (400..500).contains(&answer.status),
                "{path} {form}: {answer:?}"
            );
        }
        assert!(system.table.meter.take().operations.is_empty());
    }
    assert_eq!(browser.get("/").await.status, 200);
}

#[tokio::test]
async fn a_session_ends_after_eight_hours_without_use_and_so_does_the_console() {
    let system = System::start(907).await;
    let served = system.signed_in().await;
    served.ahead.store(IDLE_S - 60, Ordering::SeqCst);
    assert_eq!(served.browser.get("/packages").await.status, 200);
    served.ahead.store(2 * IDLE_S - 120, Ordering::SeqCst);
    assert_eq!(served.browser.get("/packages").await.status, 200);
    served.ahead.store(3 * IDLE_S, Ordering::SeqCst);
    assert_eq!(served.browser.get("/packages").await.status, 403);
    assert_eq!(served.ended.await.unwrap(), Ended::Idle);
}

#[tokio::test]
async fn the_end_of_the_session_ends_the_console_with_its_live_pages() {
    let system = System::start(908).await;
    let package = system.table.package("tool", 5).await;
    let served = system.signed_in().await;
    let browser = served.browser.clone();
    let live = tokio::spawn(async move {
        let path = format!("/packages/{}/live", package.id);
        browser.get(&path).await
    });
    let form = format!("form={}", served.browser.get("/").await.form_token());
    let answer = served.browser.post("/end", &form).await;
    assert_eq!(answer.status, 200);
    assert_eq!(served.ended.await.unwrap(), Ended::SignedOut);
    live.await.unwrap();
}

#[tokio::test]
async fn a_session_is_worth_nothing_in_another_process() {
    let system = System::start(909).await;
    let (one, other) = (system.signed_in().await, system.signed_in().await);
    assert_ne!(one.browser.host, other.browser.host);
    let moved = Browser {
        cookie: one.browser.cookie.clone(),
        ..other.browser.clone()
    };
    assert_eq!(moved.get("/").await.status, 403);
    let mut again = Browser {
        cookie: None,
        ..other.browser.clone()
    };
    assert_eq!(again.sign_in(&one.token).await.status, 403);
    assert_eq!(other.browser.get("/").await.status, 200);
    one.stop.send(()).unwrap();
    assert_eq!(one.ended.await.unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect_it() {
    let system = System::start(910).await;
    let served = system.signed_in().await;
    let stranger = Browser {
        cookie: None,
        ..served.browser.clone()
    };
    let mut answers = vec![
        served.browser.get("/nothing").await,
        served.browser.get("/packages/1").await,
        served.browser.get("/style.css").await,
        served.browser.get("/console.js").await,
        served
            .browser
            .ask(
                "PUT",
                "/packages",
                &[("origin", &served.browser.origin())],
                "",
            )
            .await,
        stranger.get("/").await,
        stranger.get("/sign-in").await,
        stranger.post("/sign-in", "token=x").await,
        stranger.post("/sign-in", "nothing").await,
    ];
    for (method, path) in ADDRESSES
        .iter()
        .filter(|(_, path)| !path.ends_with("/live"))
    {
        answers.push(
            served
                .browser
                .ask(method, path, &[("origin", &served.browser.origin())], "")
                .await,
        );
    }
    for answer in answers {
        let policy = answer.header("content-security-policy").unwrap_or_default();
        insta::allow_duplicates! {
            insta::assert_snapshot!(policy, @"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
        }
        assert_eq!(
            answer.header("cache-control"),
            Some("no-store"),
            "{answer:?}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn text_of_devices_is_never_markup() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let system = System::start(911).await;
    let package = system.table.package("tool", 5).await;
    let mut record = device(1);
    record.host_name = format!("{EVIL}\u{202E}");
    record.os = EVIL.to_owned();
    record.agent = EVIL.to_owned();
    let written = system.table.records.write_check_in(&record, None);
    written.await.unwrap();
    system.deploy(1, &package, "ERR_EXIT_CODE_3", EVIL).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let form = format!("form={}", browser.get("/").await.form_token());
    assert_eq!(browser.post("/check", &form).await.status, 303);
    let (id, device) = (package.id, record.device.to_string());
    for path in [
        "/".to_owned(),
        "/devices".to_owned(),
        "/devices?name=script".to_owned(),
        "/devices?name=%3Cscript%3Ealert(1)%3C/script%3E%22".to_owned(),
        "/devices?platform=%3Cscript%3E".to_owned(),
        "/packages?find=%3Cscript%3E".to_owned(),
        "/groups/%3Cscript%3E".to_owned(),
        "/packages/%3Cscript%3E".to_owned(),
        format!("/devices/{device}"),
        format!("/devices/{device}/why/{id}"),
        format!("/packages/{id}/devices?state=failed"),
        format!("/packages/{id}/failures"),
        "/history".to_owned(),
        "/change/assign?package=%3Cscript%3E&device=%22%3E%3Cscript%3E&group=%3Cimg".to_owned(),
        "/change/revert?commit=%3Cscript%3E".to_owned(),
        "/changes/%3Cscript%3E".to_owned(),
    ] {
        let page = browser.get(&path).await.body;
        let scripts: Vec<&str> = page.split("<script").skip(1).collect();
        assert_eq!(scripts.len(), 1, "{path}: {page}");
        assert!(scripts[0].starts_with(" src=\"/console.js\""), "{path}");
        assert!(!page.contains("<img"), "{path}: {page}");
        assert!(!page.contains('\u{202E}'), "{path}");
        for attribute in [
            " style=",
            " onerror=alert(1)>\"",
            " onclick=",
            "javascript:",
        ] {
            assert!(!page.contains(attribute), "{path}: {attribute}");
        }
    }
}

#[tokio::test]
async fn no_page_contains_the_token_or_the_cookie() {
    let system = System::start(912).await;
    let package = system.table.package("tool", 5).await;
    system
        .change(&[StateChange::CreateGroup {
            group: System::group("lab"),
        }])
        .await;
    let served = system.signed_in().await;
    let cookie = served.browser.cookie.clone().unwrap();
    let id = package.id;
    let key = std::fs::read_to_string(&system.target.key_file).unwrap();
    let key = key.lines().nth(1).unwrap();
    for path in [
        "/".to_owned(),
        "/packages".to_owned(),
        format!("/packages/{id}"),
        "/groups/lab".to_owned(),
        "/devices".to_owned(),
        "/history".to_owned(),
        "/nothing".to_owned(),
        "/console.js".to_owned(),
    ] {
        let answer = served.browser.get(&path).await;
        for secret in [served.token.as_str(), &cookie, key] {
            assert!(!answer.body.contains(secret), "{path}");
            assert!(!answer.head.contains(secret), "{path}");
        }
    }
}

#[tokio::test]
async fn values_of_a_console_do_not_show_their_secrets() {
    let system = System::start(913).await;
    let options = ConsoleOptions {
        port: 0,
        target_options: String::new(),
        uploads_dir: system.folder.path().join("uploads"),
        is_read_only: false,
        clock: Clock::system(),
    };
    let (target, _) = system.target.for_display();
    let console = Console::bind(target, options).await.unwrap();
    let link = console.sign_in_link();
    let (_, token) = link.split_once('#').unwrap();
    assert!(!format!("{console:?}").contains(token));
    assert!(!console.address().contains(token));
}

#[tokio::test]
async fn large_requests_are_refused() {
    let system = System::start(914).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let long = "x".repeat(20_000);
    assert_eq!(
        browser
            .ask("GET", "/", &[("x-long", &long)], "")
            .await
            .status,
        431
    );
    let many: Vec<(&str, &str)> = vec![("x-many", "1"); 200];
    assert_eq!(browser.ask("GET", "/", &many, "").await.status, 431);
    let answer = browser.post("/end", &format!("form={long}")).await;
    assert_eq!(answer.status, 413);
    let answer = browser.post("/sign-in", &format!("token={long}")).await;
    assert_eq!(answer.status, 413);
    assert_eq!(browser.get("/").await.status, 200);
}

#[tokio::test]
async fn connections_of_another_user_do_not_block_the_console() {
    let system = System::start(919).await;
    let served = system.signed_in().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(served.browser.address).await.unwrap();
        // An answer of the console may have closed the connection already.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n").await;
        held.push(stream);
    }
    assert_eq!(served.browser.get("/packages").await.status, 200);
    // The oldest connection has made room.
    let mut rest = Vec::new();
    let _ = held[0].read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn an_answer_without_a_session_is_the_last_of_its_connection() {
    let system = System::start(920).await;
    let served = system.serve().await;
    let own = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", served.browser.host);
    for (request, status) in [
        (own.as_str(), 403),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", 421),
    ] {
        let answer = served.browser.send(request.as_bytes()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_cut_off() {
    let system = System::start(930).await;
    let served = system.signed_in().await;
    let cookie = served.browser.cookie.clone().unwrap();
    let request = format!(
        "GET /style.css HTTP/1.1\r\nhost: {}\r\ncookie: packcast-console={cookie}\r\n\r\n",
        served.browser.host
    );
    let mut stream = TcpStream::connect(served.browser.address).await.unwrap();
    tokio::time::pause();
    // It sends requests until the buffers of both sides are full, and waits then.
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    let cut_off = tokio::time::timeout(Duration::from_hours(1), flood).await;
    assert!(cut_off.is_ok(), "the console closes the connection");
}

#[tokio::test]
async fn a_slow_request_is_cut_off() {
    let system = System::start(915).await;
    let served = system.serve().await;
    // From here on, the time passes as fast as everybody waits for it.
    tokio::time::pause();
    let slow = served.browser.send(b"GET / HTTP/1.1\r\nhost: ");
    let answer = tokio::time::timeout(Duration::from_mins(1), slow).await;
    let status = answer.expect("the console closes the connection").status;
    assert!([0, 408].contains(&status), "{status}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_console_listens_on_loopback_only() {
    let system = System::start(916).await;
    let served = system.serve().await;
    let port = served.browser.address.port();
    // Every address of 127.0.0.0/8 is one of this machine.
    let other = tokio::net::TcpStream::connect(("127.0.0.2", port)).await;
    assert_eq!(
        other.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    let all = std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let here = format!(":{port:04X} ");
    let loopback = format!("00000000000000000000000001000000{here}");
    let elsewhere = all.matches(&here).count() - all.matches(&loopback).count();
    assert_eq!(elsewhere, 0, "{all}");
}

#[tokio::test]
async fn another_user_cannot_answer_at_the_other_address_of_loopback() {
    let system = System::start(918).await;
    let other = match std::net::TcpListener::bind("[::1]:0") {
        Ok(other) => other,
        Err(error) => return skip(Missing::Optional(&format!("no loopback of IPv6: {error}"))),
    };
    let options = |port| ConsoleOptions {
        port,
        target_options: String::new(),
        uploads_dir: system.folder.path().join("uploads"),
        is_read_only: false,
        clock: Clock::system(),
    };
    // The other user was first: the console does not start, and so it gives no token away.
    let port = other.local_addr().unwrap().port();
    let refused = Console::bind(system.target.for_display().0, options(port)).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, ConsoleError::Listen { address, .. } if address.is_ipv6()),
        "{refused:?}"
    );
    // The console was first: both addresses are its own.
    let mut served = system.signed_in().await;
    let port = served.browser.address.port();
    let late = std::net::TcpListener::bind(("::1", port)).unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::AddrInUse);
    served.browser.address = format!("[::1]:{port}").parse().unwrap();
    assert_eq!(served.browser.get("/packages").await.status, 200);
}

#[tokio::test]
async fn the_file_for_the_browser_is_private_and_posts_the_token() {
    let system = System::start(917).await;
    let options = ConsoleOptions {
        port: 0,
        target_options: String::new(),
        uploads_dir: system.folder.path().join("uploads"),
        is_read_only: false,
        clock: Clock::system(),
    };
    let (target, _) = system.target.for_display();
    let console = Console::bind(target, options).await.unwrap();
    let handoff = console
        .handoff(&system.folder.path().join("console"))
        .unwrap();
    let path = handoff.path().to_owned();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let folder = std::fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    }
    let link = console.sign_in_link();
    let (_, token) = link.split_once('#').unwrap();
    // The browser gets only the name of the file as an argument.
    assert!(!path.display().to_string().contains(token));
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.contains(&format!(
        "method=\"post\" action=\"{}/sign-in\"",
        console.address()
    )));
    assert!(page.contains(&format!("value=\"{token}\"")));
    // A page of a file posts with the origin `null`.
    let browser = Browser::of(console.address());
    let form = format!("token={token}");
    let served = tokio::spawn(console.serve(std::future::pending()));
    let headers = [("origin", "null"), ("sec-fetch-site", "cross-site")];
    let answer = browser.ask("POST", "/sign-in", &headers, &form).await;
    assert!(answer.cookie().is_some(), "{answer:?}");
    served.abort();
    drop(handoff);
    assert!(!path.exists());
}
