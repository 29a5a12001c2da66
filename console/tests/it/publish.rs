//! The wizard that publishes, without JavaScript.

use std::fs;

use packcast_protocol::terminal;

use crate::system::System;
use crate::visitor::{Visitor, files_below};

pub(crate) fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text} is missing: {page}");
    }
}

#[tokio::test]
async fn a_program_of_a_folder_is_published_step_by_step() {
    let system = System::start(1050).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let folder = system.folder.path().join("vlc-3.0.21");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("README"), "Read me").unwrap();
    fs::write(folder.join("my-tool.sh"), "#!/bin/sh\n").unwrap();
    fs::write(folder.join("install.sh"), "#!/bin/sh\n").unwrap();

    let (start, _) = visitor.open("/publish").await;
    has(
        &start.body,
        &["Operating system of the devices", "packcast publish"],
    );
    let wizard = visitor.until_file("linux", "launch").await;
    let (page, _) = visitor.open(&format!("{wizard}/file")).await;
    has(
        &page.body,
        &[
            "Path on this machine",
            "--action=launch",
            "--platform=linux",
        ],
    );
    let path = folder.display().to_string();
    let next = visitor
        .submit(&format!("{wizard}/file"), &[("path", &path)])
        .await;
    // The files are read before the program is asked for.
    let (page, at) = visitor.open(&next).await;
    assert_eq!(at, format!("{wizard}/command"));
    has(
        &page.body,
        &[
            "value=\"install.sh\"",
            "<code><bdi>my-tool.sh",
            "best guess first",
        ],
    );
    assert!(
        !page.body.contains("<option value=\"README\""),
        "{}",
        page.body
    );
    let fields = [("program", "my-tool.sh"), ("arguments", "-q 'x y'")];
    let next = visitor.submit(&at, &fields).await;
    let (page, at) = visitor.open(&next).await;
    has(
        &page.body,
        &["value=\"vlc\"", "value=\"3.0.21\"", "Fragment size"],
    );
    let fields = [
        ("name", "vlc"),
        ("version", "3.0.21"),
        ("priority", "0"),
        ("timeout", "30min"),
    ];
    let next = visitor.submit(&at, &fields).await;
    let (page, at) = visitor.open(&next).await;
    has(
        &page.body,
        &[
            "vlc@3.0.21",
            "1 fragment",
            "Time for OCS agents",
            "30 minutes",
            "--name=vlc --version=3.0.21 --action=launch",
            "--priority=0",
            "Sign and publish",
        ],
    );
    // A warning of the library.
    has(&page.body, &["Warning: "]);
    let next = visitor.submit(&at, &[]).await;
    assert_eq!(next, format!("{wizard}/progress"));
    let (page, at) = visitor.open(&next).await;
    assert!(at.starts_with("/packages/"), "{at}");
    has(
        &page.body,
        &["vlc@3.0.21", "tool.sh -q", "Activate the package"],
    );
    // The same form again only leads to the package.
    let again = visitor.submit(&format!("{wizard}/summary"), &[]).await;
    assert_eq!(visitor.open(&again).await.1, at);
    let (packages, _) = visitor.open("/packages").await;
    assert_eq!(packages.body.matches(">vlc@3.0.21<").count(), 1);
    has(&packages.body, &["href=\"/publish\""]);
}

#[tokio::test]
async fn an_installer_is_uploaded_and_its_command_is_a_guess() {
    let system = System::start(1051).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("windows", "execute").await;
    let answer = visitor.send(&wizard, "vlc-3.0.21.msi", &[7; 3_000]).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let (page, at) = visitor.open(answer.header("location").unwrap()).await;
    assert_eq!(at, format!("{wizard}/command"));
    has(
        &page.body,
        &[
            "msiexec /i vlc-3.0.21.msi /qn /norestart",
            "A guess",
            "packcast publish vlc-3.0.21.msi",
        ],
    );
    let fields = [("command", "msiexec /i vlc-3.0.21.msi /qn /norestart")];
    let next = visitor.submit(&at, &fields).await;
    let (page, _) = visitor.open(&next).await;
    has(&page.body, &["value=\"vlc\"", "value=\"1641, 3010\""]);
    assert_eq!(
        files_below(&system.folder.path().join("uploads")),
        ["lock", "vlc-3.0.21.msi"]
    );
    // The file is none for another system.
    let first = format!("{wizard}/system");
    visitor.submit(&first, &[("system", "linux")]).await;
    let (page, _) = visitor.open(&format!("{wizard}/command")).await;
    has(
        &page.body,
        &["is usually a file for Windows, but the package is for Linux"],
    );
    visitor.submit(&first, &[("system", "windows")]).await;
    // A reload shows the same, and another task keeps the file.
    let next = visitor
        .submit(&format!("{wizard}/task"), &[("task", "launch")])
        .await;
    let (page, _) = visitor.open(&next.replace("/file", "/command")).await;
    has(
        &page.body,
        &["has no program at its top", "Run a command instead"],
    );
    let next = visitor
        .submit(&format!("{wizard}/task"), &[("task", "execute")])
        .await;
    let next = next.replace("/file", "/command");
    let (page, _) = visitor.open(&next).await;
    has(&page.body, &["msiexec /i"]);
    // The end of the console removes the upload.
    let uploads = system.folder.path().join("uploads");
    served.stop.send(()).unwrap();
    served.ended.await.unwrap();
    assert_eq!(fs::read_dir(&uploads).unwrap().count(), 0);
}

#[tokio::test]
async fn a_program_is_uninstalled_by_a_template() {
    let system = System::start(1052).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("linux", "uninstall").await;
    let command = format!("{wizard}/command");
    let (page, _) = visitor.open(&command).await;
    has(&page.body, &["Program to uninstall", "Debian"]);
    assert!(!page.body.contains("by its product code"), "{}", page.body);
    let hostile = [
        ("template", "1"),
        ("installed", "deb"),
        ("to_uninstall", "vlc; reboot"),
    ];
    let refused = visitor.post(&command, &hostile).await;
    assert_eq!(refused.status, 400);
    has(
        &refused.body,
        &["cannot uninstall", "value=\"vlc; reboot\""],
    );
    let fields = [
        ("template", "1"),
        ("installed", "rpm"),
        ("to_uninstall", "vlc"),
    ];
    assert_eq!(visitor.submit(&command, &fields).await, command);
    let (page, _) = visitor.open(&command).await;
    has(&page.body, &[">rpm -e vlc</textarea>"]);
    let next = visitor.submit(&command, &[("command", "rpm -e vlc")]).await;
    let options = [("name", "no-vlc"), ("version", "1")];
    let next = visitor.submit(&next, &options).await;
    let (page, at) = visitor.open(&next).await;
    has(
        &page.body,
        &[
            "EXECUTE",
            "rpm -e vlc",
            "--action=execute '--command=rpm -e vlc'",
        ],
    );
    let next = visitor.submit(&at, &[]).await;
    let (page, at) = visitor.open(&next).await;
    assert!(at.starts_with("/packages/"), "{at}: {page:?}");
}

#[tokio::test]
async fn files_are_stored_into_a_folder() {
    let system = System::start(1053).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("any", "store").await;
    let site = system.folder.path().join("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), "Hello").unwrap();
    let path = site.display().to_string();
    let next = visitor
        .submit(&format!("{wizard}/file"), &[("path", &path)])
        .await;
    let (_, at) = visitor.open(&next).await;
    let refused = visitor.post(&at, &[("folder", "not absolute")]).await;
    assert_eq!(refused.status, 400);
    has(
        &refused.body,
        &[
            "cannot use the field Folder on the device",
            "value=\"not absolute\"",
        ],
    );
    let next = visitor.submit(&at, &[("folder", "/var/www")]).await;
    let options = [
        ("name", "site"),
        ("version", "7"),
        ("fragment_size", "64KiB"),
    ];
    let next = visitor.submit(&next, &options).await;
    // The fragments have another size, so the files are read again.
    let (page, at) = visitor.open(&next).await;
    has(
        &page.body,
        &["STORE into", "/var/www", "of at most 64.0 KiB"],
    );
    let next = visitor.submit(&at, &[]).await;
    assert!(visitor.open(&next).await.1.starts_with("/packages/"));
}

#[tokio::test]
async fn the_agent_is_updated_with_several_programs() {
    let system = System::start(1054).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = visitor.until_file("any", "update").await;
    let script = system.folder.path().join("agent.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let file = format!("{wizard}/file");
    let paths = format!("linux-x86_64={0}\r\nlinux-aarch64={0}", script.display());
    assert_eq!(visitor.submit(&file, &[("path", &paths)]).await, file);
    // The platform of a script cannot be told.
    let sent = visitor.send(&wizard, "agent", b"#!/bin/sh\n").await;
    assert_eq!(sent.header("location"), Some(file.as_str()), "{sent:?}");
    let (page, at) = visitor.open(&format!("{wizard}/options")).await;
    assert_eq!(at, format!("{wizard}/options"));
    assert_eq!(page.status, 400);
    has(&page.body, &["cannot tell the platform"]);
    visitor.submit(&file, &[("remove", "2")]).await;
    let (page, at) = visitor.open(&format!("{wizard}/options")).await;
    assert_eq!(page.status, 200, "{page:?}");
    let refused = visitor.post(&at, &[("version", "new")]).await;
    has(
        &refused.body,
        &["not the version of an agent", "value=\"new\""],
    );
    let next = visitor.submit(&at, &[("version", "1.4.2")]).await;
    let (page, at) = visitor.open(&next).await;
    let command = format!("packcast publish-agent linux-x86_64={}", script.display());
    has(
        &page.body,
        &["packcast-agent@1.4.2", &command, "--version=1.4.2"],
    );
    let next = visitor.submit(&at, &[]).await;
    let (page, at) = visitor.open(&next).await;
    assert!(at.starts_with("/packages/"), "{at}");
    has(&page.body, &["UPDATE"]);
}

/// Prepares a package that runs a command, until its summary.
pub(crate) async fn command_package(visitor: &Visitor, name: &str, command: &str) -> String {
    let wizard = visitor.until_file("any", "execute").await;
    let next = visitor
        .submit(&format!("{wizard}/file"), &[("none", "1")])
        .await;
    let next = visitor.submit(&next, &[("command", command)]).await;
    let next = visitor
        .submit(&next, &[("name", name), ("version", "1")])
        .await;
    assert_eq!(next, format!("{wizard}/summary"));
    wizard
}

#[tokio::test]
async fn steps_that_miss_something_lead_to_the_first_gap() {
    let system = System::start(1057).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let refused = visitor.post("/publish", &[("system", "beos")]).await;
    assert_eq!(refused.status, 400);
    let wizard = visitor.until_file("linux", "launch").await;
    let (_, at) = visitor.open(&format!("{wizard}/summary")).await;
    assert_eq!(at, format!("{wizard}/file"));
    let empty = visitor.post(&at, &[("path", " ")]).await;
    has(&empty.body, &["enter a path, or choose a file"]);
    let relative = visitor.post(&at, &[("path", "vlc.zip")]).await;
    has(&relative.body, &["expected an absolute path"]);
    // A file that does not exist is named when it is read.
    let next = visitor.submit(&at, &[("path", "/none/vlc.zip")]).await;
    let (page, at) = visitor.open(&next).await;
    assert_eq!(at, format!("{wizard}/file"));
    has(
        &page.body,
        &[
            "cannot read /none/vlc.zip",
            "value=\"/none/vlc.zip\"",
            "Read the file again",
        ],
    );
    for (path, status) in [
        ("/publish/77/file", 404),
        ("/publish/x/file", 404),
        (format!("{wizard}/nothing").as_str(), 404),
    ] {
        assert_eq!(served.browser.get(path).await.status, status, "{path}");
    }
    assert_eq!(
        visitor.submit(&format!("{wizard}/discard"), &[]).await,
        "/publish"
    );
    assert_eq!(
        served.browser.get(&format!("{wizard}/file")).await.status,
        404
    );
}

#[tokio::test]
async fn hostile_names_in_an_archive_are_shown_escaped() {
    let system = System::start(1058).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let folder = system.folder.path().join("<b>\u{202E}x");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("<script>alert(1)<"), "#!/bin/sh\n").unwrap();
    fs::write(folder.join("gpj\u{202E}.sh"), "#!/bin/sh\n").unwrap();
    let wizard = visitor.until_file("linux", "launch").await;
    let path = folder.display().to_string();
    let next = visitor
        .submit(&format!("{wizard}/file"), &[("path", &path)])
        .await;
    let (page, at) = visitor.open(&next).await;
    assert!(!page.body.contains("<script>alert"), "{}", page.body);
    assert_eq!(terminal::lines(&page.body), page.body);
    let refused = visitor.post(&at, &[("program", "<script>alert(1)<")]).await;
    assert!(!refused.body.contains("<script>alert"), "{}", refused.body);
}

#[tokio::test]
async fn a_locked_key_is_unlocked_at_the_last_step() {
    const PASSPHRASE: &str = "correct horse";
    let system = System::with_passphrase(1059, PASSPHRASE).await;
    let served = system.signed_in().await;
    let visitor = Visitor::new(&served.browser).await;
    let wizard = command_package(&visitor, "tool", "true").await;
    let summary = format!("{wizard}/summary");
    let (page, _) = visitor.open(&summary).await;
    has(&page.body, &["name=\"passphrase\""]);
    for passphrase in ["", "wrong horse"] {
        let refused = visitor.post(&summary, &[("passphrase", passphrase)]).await;
        assert!(refused.status >= 400, "{refused:?}");
        has(
            &refused.body,
            &["role=\"alert\"", "name=\"passphrase\"", "tool@1"],
        );
        assert!(!refused.body.contains("wrong horse"), "{}", refused.body);
    }
    let next = visitor
        .submit(&summary, &[("passphrase", PASSPHRASE)])
        .await;
    let (page, at) = visitor.open(&next).await;
    assert!(at.starts_with("/packages/"), "{at}");
    assert!(!page.body.contains(PASSPHRASE), "{}", page.body);
    // The key stays unlocked for the next package.
    let wizard = command_package(&visitor, "tool2", "true").await;
    let (page, _) = visitor.open(&format!("{wizard}/summary")).await;
    assert!(!page.body.contains("name=\"passphrase\""), "{}", page.body);
}

#[tokio::test]
async fn a_read_only_console_publishes_nothing() {
    let system = System::start(1060).await;
    let served = system.read_only().await;
    let form = served.browser.get("/packages").await.form_token();
    for path in ["/publish", "/publish/1/file", "/publish/1/summary"] {
        assert_eq!(served.browser.get(path).await.status, 404, "{path}");
        let posted = served.browser.post(path, &format!("form={form}")).await;
        assert!([404, 405].contains(&posted.status), "{path}: {posted:?}");
    }
    let packages = served.browser.get("/packages").await.body;
    assert!(!packages.contains("/publish"), "{packages}");
}
