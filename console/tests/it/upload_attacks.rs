//! Limits of uploads, and attacks on them.

use std::fs;

use packcast_testing::skip::{Missing, skip};

use crate::browser::Browser;
use crate::small_disk::SmallDisk;
use crate::system::{Served, System};
use crate::uploads::{content, received};
use crate::visitor::{Visitor, files_below, multipart, start_digest};

#[tokio::test]
async fn hostile_file_names_are_refused() {
    let system = System::start(1064).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    let long = "x".repeat(300);
    for name in [
        "../x",
        "/etc/passwd",
        "..",
        "a\u{7}b",
        "gpj\u{202E}exe",
        &long,
        "",
    ] {
        let refused = visitor.begin(&wizard, name, b"content").await;
        assert_eq!(refused.status, 400, "{name:?}: {refused:?}");
        let plain = visitor.send(&wizard, name, b"content").await;
        assert_eq!(plain.status, 400, "{name:?}: {plain:?}");
        assert!(plain.body.contains("cannot upload"), "{name:?}: {plain:?}");
        assert!(!plain.body.contains('\u{202E}'), "{plain:?}");
    }
    let folder = system.folder.path();
    let uploads = files_below(&folder.join("uploads"));
    assert!(uploads.iter().all(|name| name == "lock"), "{uploads:?}");
    assert!(!folder.join("x").exists());
}

#[tokio::test]
async fn too_large_and_empty_files_are_refused() {
    let system = System::start(1065).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    let empty = visitor.begin(&wizard, "a.bin", b"").await;
    assert_eq!(empty.status, 400, "{empty:?}");
    assert!(
        visitor
            .send(&wizard, "a.bin", b"")
            .await
            .body
            .contains("is empty")
    );
    for (size, status) in [
        ("999999999999999", 413),
        ("99999999999999999999999", 400),
        ("-1", 400),
    ] {
        let fields = [
            ("name", "a.bin"),
            ("size", size),
            ("modified", "1"),
            ("start", "0"),
            ("digest", &start_digest(b"")),
        ];
        let refused = visitor.post(&format!("{wizard}/upload"), &fields).await;
        assert_eq!(refused.status, status, "{size}: {refused:?}");
    }
    // A form of another step is short.
    let long = "x".repeat(20_000);
    let refused = visitor
        .post(&format!("{wizard}/command"), &[("command", &long)])
        .await;
    assert_eq!(refused.status, 413);
    let refused = visitor
        .post(&format!("{wizard}/upload"), &[("name", &long)])
        .await;
    assert_eq!(refused.status, 413);
}

#[tokio::test]
async fn a_full_disk_is_reported_and_nothing_is_lost() {
    let system = System::start(1066).await;
    let Some(disk) = SmallDisk::mount(system.folder.path().join("disk"), 66) else {
        return skip(Missing::Optional("a mount of a small tmpfs"));
    };
    let (target, _) = system.target.for_display();
    let served = Served::start_in(target, "", false, disk.folder().to_owned()).await;
    let served = served.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    // There is room for one MiB beside the reserve, and not for eight.
    let file = content(8 << 20);
    let refused = visitor.begin(&wizard, "a.bin", &file).await;
    assert_eq!(refused.status, 507, "{refused:?}");
    assert!(refused.body.contains("the disk has"), "{refused:?}");
    assert!(
        refused.body.contains("path of the file on this machine"),
        "{refused:?}"
    );
    let small = content(1 << 20);
    assert_eq!(visitor.begin(&wizard, "b.bin", &small).await.status, 200);
    assert_eq!(
        visitor.part(&wizard, 0, &small[..500_000]).await.status,
        200
    );
    // Another program fills the disk.
    fs::write(disk.folder().join("other"), content(2 << 20)).unwrap();
    let full = visitor.part(&wizard, 500_000, &small[500_000..]).await;
    assert_eq!((full.status, received(&full)), (507, 500_000), "{full:?}");
    let other = visitor.until_file("linux", "store").await;
    let plain = visitor.send(&other, "c.bin", &small).await;
    assert!(plain.body.contains("the disk has"), "{plain:?}");
    fs::remove_file(disk.folder().join("other")).unwrap();
    let rest = visitor.part(&wizard, 500_000, &small[500_000..]).await;
    assert_eq!(
        (rest.status, received(&rest)),
        (200, small.len()),
        "{rest:?}"
    );
}

#[tokio::test]
async fn a_file_without_the_session_is_not_read() {
    let system = System::start(1067).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    visitor.begin(&wizard, "a.bin", &content(1 << 20)).await;
    let stranger = Visitor {
        browser: Browser {
            cookie: None,
            ..served.browser.clone()
        },
        form: visitor.form.clone(),
    };
    // The head alone is answered: the body never comes, and the console does not wait for it.
    let huge = 1 << 40;
    let part = stranger.part_of(&wizard, 0, b"", huge).await;
    assert_eq!(part.status, 403, "{part:?}");
    assert_eq!(part.header("connection"), Some("close"));
    let plain = stranger.send_form(&wizard, b"", huge).await;
    assert_eq!(plain.status, 403, "{plain:?}");
    let began = stranger.begin(&wizard, "a.bin", b"x").await;
    assert_eq!(began.status, 403);
}

#[tokio::test]
async fn a_file_without_the_token_of_the_form_is_not_stored() {
    let system = System::start(1068).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    visitor.begin(&wizard, "a.bin", &content(1_000)).await;
    let forged = Visitor {
        browser: served.browser.clone(),
        form: "guess".to_owned(),
    };
    assert_eq!(forged.part(&wizard, 0, &content(1_000)).await.status, 403);
    assert_eq!(forged.send(&wizard, "b.bin", b"x").await.status, 403);
    assert_eq!(forged.begin(&wizard, "b.bin", b"x").await.status, 403);
    for path in [
        "/publish",
        &format!("{wizard}/task"),
        &format!("{wizard}/discard"),
    ] {
        assert_eq!(
            forged.post(path, &[("system", "any")]).await.status,
            403,
            "{path}"
        );
    }
    // The token after the file is too late, and so is none.
    let late = multipart(&[
        ("file", Some("b.bin"), b"x"),
        ("form", None, visitor.form.as_bytes()),
    ]);
    assert_eq!(
        visitor.send_form(&wizard, &late, late.len()).await.status,
        403
    );
    let none = multipart(&[("file", Some("b.bin"), b"x")]);
    assert_eq!(
        visitor.send_form(&wizard, &none, none.len()).await.status,
        403
    );
    let origin = [
        ("origin", "http://evil.example"),
        ("x-packcast-form", &visitor.form),
    ];
    let path = format!("{wizard}/upload?offset=0");
    let other = served
        .browser
        .ask_with_body("PUT", &path, &origin, b"x", 1)
        .await;
    assert_eq!(other.status, 403);
    assert_eq!(
        files_below(&system.folder.path().join("uploads")),
        ["a.bin", "lock"]
    );
    assert_eq!(
        received(&visitor.begin(&wizard, "a.bin", &content(1_000)).await),
        0
    );
}
