//! Uploads: in parts as the script sends them, and attacks on them.

use std::process::Command;

use packcast_testing::skip::{Missing, skip};

use crate::browser::{Answer, Browser};
use crate::system::{Served, System};
use crate::visitor::{Visitor, files_below, multipart};

/// Returns content that is not the same anywhere.
fn content(bytes: usize) -> Vec<u8> {
    let byte = |place: usize| (place / 251 + place).to_le_bytes()[0];
    (0..bytes).map(byte).collect()
}

fn received(answer: &Answer) -> usize {
    let header = answer.header("x-packcast-received");
    let received = header.and_then(|header| header.parse().ok());
    received.unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test]
async fn an_upload_continues_after_a_cut_with_the_same_file() {
    let system = System::start(1060).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "execute").await;
    let file = content(3 << 20);
    assert_eq!(
        received(&visitor.begin(&wizard, "tool.deb", &file).await),
        0
    );
    let half = 1 << 20;
    assert_eq!(
        received(&visitor.part(&wizard, 0, &file[..half]).await),
        half
    );
    // The browser goes away in the middle of the next part.
    let cut = half + 300_000;
    visitor
        .part_of(&wizard, half, &file[half..cut], file.len() - half)
        .await;
    // The next request waits for the end of the one that was cut off.
    let wrong = visitor.part(&wizard, file.len(), b"x").await;
    assert_eq!((wrong.status, received(&wrong)), (409, cut), "{wrong:?}");
    let (page, _) = visitor.open(&format!("{wizard}/file")).await;
    for text in [
        "is not complete",
        "1.2 MiB of 3.0 MiB",
        "Choose the same file again",
    ] {
        let body = page.body.replace("</bdi>", "");
        assert!(body.contains(text), "{text}: {body}");
    }
    // After a reload, the same file continues.
    assert_eq!(
        received(&visitor.begin(&wizard, "tool.deb", &file).await),
        cut
    );
    for offset in [0, cut - 1, cut + 1] {
        let wrong = visitor.part(&wizard, offset, &file[offset..]).await;
        assert_eq!((wrong.status, received(&wrong)), (409, cut), "{wrong:?}");
    }
    // Another file does not.
    let mut other = file.clone();
    other[7] ^= 1;
    for (name, content) in [
        ("tool.deb", &other[..]),
        ("tool2.deb", &file),
        ("tool.deb", &file[..file.len() - 1]),
    ] {
        let refused = visitor.begin(&wizard, name, content).await;
        assert_eq!(refused.status, 409, "{refused:?}");
        assert!(refused.body.contains("with another file"), "{refused:?}");
        assert_eq!(refused.header("x-packcast-received"), None);
    }
    let rest = visitor.part(&wizard, cut, &file[cut..]).await;
    assert_eq!((rest.status, received(&rest)), (200, file.len()));
    // The same file again is there already.
    let again = visitor.begin(&wizard, "tool.deb", &file).await;
    assert_eq!(received(&again), file.len());
    let (page, at) = visitor.open(&format!("{wizard}/command")).await;
    assert_eq!(at, format!("{wizard}/command"));
    assert!(
        page.body.contains("apt-get install -y ./tool.deb"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn another_file_can_replace_an_unfinished_upload() {
    let system = System::start(1061).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    let file = content(10_000);
    visitor.begin(&wizard, "a.bin", &file).await;
    visitor.part(&wizard, 0, &file[..5_000]).await;
    assert_eq!(visitor.begin(&wizard, "b.bin", &file).await.status, 409);
    visitor
        .submit(&format!("{wizard}/file"), &[("cancel", "1")])
        .await;
    assert_eq!(visitor.begin(&wizard, "b.bin", &file).await.status, 200);
    assert_eq!(
        files_below(&system.folder.path().join("uploads")),
        ["b.bin", "lock"]
    );
    // More bytes than announced, and other bytes than announced.
    let longer = visitor.part(&wizard, 0, &content(10_001)).await;
    assert_eq!(longer.status, 400, "{longer:?}");
    let stored = received(&visitor.begin(&wizard, "b.bin", &file).await);
    let rest = visitor
        .part(&wizard, stored, &vec![0; 10_000 - stored])
        .await;
    assert_eq!(rest.status, 409, "{rest:?}");
    assert!(rest.body.contains("changed meanwhile"), "{rest:?}");
    assert_eq!(received(&visitor.begin(&wizard, "b.bin", &file).await), 0);
    assert_eq!(visitor.part(&wizard, 0, &file).await.status, 200);
}

#[tokio::test]
async fn two_uploads_at_once_do_not_mix() {
    let system = System::start(1062).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let first = visitor.until_file("linux", "store").await;
    let second = visitor.until_file("linux", "store").await;
    let (one, two) = (content(200_000), content(300_000));
    visitor.begin(&first, "same.bin", &one).await;
    visitor.begin(&second, "same.bin", &two).await;
    let (a, b) = tokio::join!(
        visitor.part(&first, 0, &one),
        visitor.part(&second, 0, &two)
    );
    assert_eq!((received(&a), received(&b)), (one.len(), two.len()));
    // Two requests for one upload: one of them comes first, and the other learns of the place.
    let third = visitor.until_file("linux", "store").await;
    visitor.begin(&third, "x.bin", &one).await;
    let half = &one[..100_000];
    let (a, b) = tokio::join!(visitor.part(&third, 0, half), visitor.part(&third, 0, half));
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!((received(&a), received(&b)), (half.len(), half.len()));
}

#[tokio::test]
async fn a_plain_upload_that_is_cut_is_reported() {
    let system = System::start(1063).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    visitor
        .send_cut(&wizard, "a.bin", &content(100_000), 50_000)
        .await;
    let mut page = visitor.open(&format!("{wizard}/file")).await.0;
    while !page.body.contains("the connection was cut") {
        tokio::task::yield_now().await;
        page = visitor.open(&format!("{wizard}/file")).await.0;
    }
    assert_eq!(files_below(&system.folder.path().join("uploads")), ["lock"]);
    let answer = visitor.send(&wizard, "a.bin", &content(100_000)).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let page = visitor.open(&format!("{wizard}/file")).await.0;
    assert!(!page.body.contains("was cut"), "{}", page.body);
}

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
            ("ends", &"0".repeat(64)),
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

/// A small disk in memory, which is removed at the end.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Mounts a disk; `None` if this user may not.
    fn mount(at: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).ok()?;
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=66m", "none"])
            .arg(&at);
        let is_mounted = command.output().ok()?.status.success();
        is_mounted.then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_and_nothing_is_lost() {
    let system = System::start(1066).await;
    let Some(disk) = SmallDisk::mount(system.folder.path().join("disk")) else {
        return skip(Missing::Optional("a mount of a small tmpfs"));
    };
    let (target, _) = system.target.for_display();
    let served = Served::start_in(target, "", false, disk.0.clone()).await;
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
    std::fs::write(disk.0.join("other"), content(2 << 20)).unwrap();
    let full = visitor.part(&wizard, 500_000, &small[500_000..]).await;
    assert_eq!((full.status, received(&full)), (507, 500_000), "{full:?}");
    let other = visitor.until_file("linux", "store").await;
    let plain = visitor.send(&other, "c.bin", &small).await;
    assert!(plain.body.contains("the disk has"), "{plain:?}");
    std::fs::remove_file(disk.0.join("other")).unwrap();
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
