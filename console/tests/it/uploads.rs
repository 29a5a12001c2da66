//! Uploads in parts, as the script sends them, and in one request.

use std::fs;
use std::path::{Path, PathBuf};

use crate::browser::Answer;
use crate::system::System;
use crate::visitor::{Visitor, files_below};

/// Returns content that is not the same anywhere.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let byte = |place: usize| (place / 251 + place).to_le_bytes()[0];
    (0..bytes).map(byte).collect()
}

/// Returns the path of the file with this name below a folder of uploads.
fn walk(folder: &Path, name: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                return entry.path();
            }
        }
    }
    panic!("{name} is not stored");
}

pub(crate) fn received(answer: &Answer) -> usize {
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
    // The bytes of the same file are compared first.
    let same = visitor.compare(&wizard, "tool.deb", &file, cut).await;
    assert_eq!((same.status, received(&same)), (200, cut), "{same:?}");
    let longer = visitor.compare(&wizard, "tool.deb", &file, cut + 1).await;
    assert_eq!((longer.status, received(&longer)), (200, cut), "{longer:?}");
    // Another file does not continue.
    let mut other = file.clone();
    other[half] ^= 1;
    for (name, content, compared) in [
        ("tool.deb", &other[..], cut),
        ("tool2.deb", &file, 0),
        ("tool.deb", &file[..file.len() - 1], 0),
    ] {
        let refused = visitor.compare(&wizard, name, content, compared).await;
        assert_eq!(refused.status, 409, "{refused:?}");
        assert!(refused.body.contains("with another file"), "{refused:?}");
        assert_eq!(refused.header("x-packcast-received"), None);
    }
    let rest = visitor.part(&wizard, cut, &file[cut..]).await;
    assert_eq!((rest.status, received(&rest)), (200, file.len()));
    // Before the last comparison, the file is none of the package.
    let (page, _) = visitor.open(&format!("{wizard}/file")).await;
    assert!(page.body.contains("is not complete"), "{}", page.body);
    let refused = visitor
        .compare(&wizard, "tool.deb", &other, file.len())
        .await;
    assert_eq!(refused.status, 409, "{refused:?}");
    let whole = visitor
        .compare(&wizard, "tool.deb", &file, file.len())
        .await;
    assert_eq!((whole.status, received(&whole)), (200, file.len()));
    // The same file again is there already.
    let again = visitor.begin(&wizard, "tool.deb", &file).await;
    assert_eq!(received(&again), file.len());
    let again = visitor
        .compare(&wizard, "tool.deb", &file, file.len())
        .await;
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
async fn a_file_that_differs_in_its_middle_only_is_another_file() {
    let system = System::start(1069).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "store").await;
    let file = content(100_000);
    visitor.begin(&wizard, "a.bin", &file).await;
    visitor.part(&wizard, 0, &file).await;
    visitor.compare(&wizard, "a.bin", &file, file.len()).await;
    let mut other = file.clone();
    other[50_000] ^= 1;
    // The complete upload has this name, length and time, and other bytes.
    let begun = visitor.begin(&wizard, "a.bin", &other).await;
    assert_eq!(received(&begun), file.len());
    let begun = visitor.compare(&wizard, "a.bin", &other, file.len()).await;
    assert_eq!((begun.status, received(&begun)), (200, 0), "{begun:?}");
    let begun = visitor.begin(&wizard, "a.bin", &other).await;
    assert_eq!((begun.status, received(&begun)), (200, 0), "{begun:?}");
    visitor.part(&wizard, 0, &other).await;
    let whole = visitor.compare(&wizard, "a.bin", &other, file.len()).await;
    assert_eq!((whole.status, received(&whole)), (200, file.len()));
    let uploads = system.folder.path().join("uploads");
    assert_eq!(files_below(&uploads), ["a.bin", "lock"]);
    let stored = walk(&uploads, "a.bin");
    assert!(fs::read(stored).unwrap() == other);
}

#[tokio::test]
async fn an_update_with_all_its_programs_takes_no_other_and_loses_none() {
    let system = System::start(1070).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("any", "update").await;
    let paths: Vec<String> = (0..15).map(|number| format!("/srv/{number}")).collect();
    let step = format!("{wizard}/file");
    visitor.submit(&step, &[("path", &paths.join("\n"))]).await;
    let file = content(1_000);
    visitor.begin(&wizard, "agent", &file).await;
    visitor.part(&wizard, 0, &file).await;
    // Another tab adds the last program meanwhile.
    visitor.submit(&step, &[("path", "/srv/15")]).await;
    let refused = visitor.compare(&wizard, "agent", &file, file.len()).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.contains("at most 16 programs"), "{refused:?}");
    visitor.submit(&step, &[("remove", "15")]).await;
    let whole = visitor.compare(&wizard, "agent", &file, file.len()).await;
    assert_eq!((whole.status, received(&whole)), (200, file.len()));
    let second = visitor.begin(&wizard, "agent2", &file).await;
    assert_eq!(second.status, 400, "{second:?}");
    // A list with too many programs stays in the field.
    let refused = visitor.post(&step, &[("path", "/srv/17\n/srv/18")]).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("/srv/17\n/srv/18</textarea>"),
        "{}",
        refused.body
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
    // More bytes than announced.
    let longer = visitor.part(&wizard, 0, &content(10_001)).await;
    assert_eq!(longer.status, 400, "{longer:?}");
    let stored = received(&visitor.begin(&wizard, "b.bin", &file).await);
    let rest = visitor.part(&wizard, stored, &file[stored..]).await;
    assert_eq!(received(&rest), 10_000, "{rest:?}");
    let whole = visitor.compare(&wizard, "b.bin", &file, 10_000).await;
    assert_eq!((whole.status, received(&whole)), (200, 10_000));
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
