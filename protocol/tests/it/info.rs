//! `info` in its wire form.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;

use packcast_protocol::info::{
    FragmentScheme, Info, InfoArchive, InfoError, MAX_INFO_BYTES, OcsInfo,
};
use packcast_protocol::windows::{Dialogue, DialogueText, Notice};
use packcast_protocol::{Action, Sha256Digest};
use proptest::prelude::*;

use crate::golden;

/// Traps of OCS agents (protocol reference) and the tests that guard against them.
const _: &[(&str, fn())] = &[
    (
        "§0.10, §8.1: a malformed info ends Unix agents for good",
        info_is_read_as_it_was_written,
    ),
    (
        "§0.11: agents agree on MD5 in lower-case hexadecimal only",
        documents_match_their_examples,
    ),
    (
        "§0.12, §8.2: Unix agents lose a location that is not in info",
        packcast_reads_only_the_form_that_it_writes,
    ),
];

fn archive(fragments: u32, md5: &str) -> InfoArchive {
    InfoArchive {
        fragments: NonZeroU32::new(fragments).expect("an archive has fragments"),
        md5: md5.parse().expect("this is a digest"),
    }
}

fn info(id: u32, priority: u8, action: Action<InfoArchive>, pack_loc: &str) -> Info {
    Info {
        id: id.try_into().expect("this is a package id"),
        priority: priority.try_into().expect("this is a priority"),
        action,
        pack_loc: pack_loc.parse().expect("this is a location"),
        dialogue: Dialogue::default(),
        manifest: Sha256Digest::of(b""),
    }
}

fn execute() -> Info {
    let command = "echo \"Größe: 5 < 7 && 8 > 7\"\nprintf '%s\\t\t日本語' &amp;\r\nexit 0";
    let action = Action::Execute {
        archive: None,
        command: command.parse().expect("this is a command"),
    };
    info(1_770_000_001, 0, action, "cdn.example.net/ocs")
}

fn launch() -> Info {
    let command = "übersetzer.sh --title=\"a & b\" --sign='<>' one\ntwo"
        .parse()
        .expect("this is a command");
    let action = Action::Launch {
        archive: archive(3, "0123456789abcdef0123456789abcdef"),
        command,
    };
    info(1_770_000_002, 5, action, "cdn.example.net:8443/ocs/x7k2")
}

fn store() -> Info {
    let folder = "C:\\Programme\\Müller & Söhne\\'Daten'"
        .parse()
        .expect("this is a folder");
    let action = Action::Store {
        archive: archive(1, "d41d8cd98f00b204e9800998ecf8427e"),
        folder,
    };
    info(1_770_000_003, 10, action, "10.0.0.7/mirror")
}

fn notify() -> Info {
    let message = |text: &str| text.parse().expect("this is a message");
    let action = Action::Execute {
        archive: None,
        command: "msiexec /i setup.msi /qn"
            .parse()
            .expect("this is a command"),
    };
    Info {
        dialogue: Dialogue {
            notice: Some(Notice {
                message: message("<b>Update</b> of 'Büro' & more:<br>save your work."),
                countdown_s: 0,
                may_abort: true,
                may_delay: true,
            }),
            closing: Some(message("100 % done &quot;at last&quot;")),
        },
        ..info(1_770_000_004, 5, action, "cdn.example.net/ocs")
    }
}

#[test]
fn documents_match_their_examples() {
    for (name, info) in [
        ("info-execute", execute()),
        ("info-launch", launch()),
        ("info-notify", notify()),
        ("info-store", store()),
    ] {
        let golden = golden::text(&format!("{name}.xml"));
        assert_eq!(info.to_xml().expect(name), golden, "{name}");
        assert_eq!(Info::parse(golden.as_bytes()).expect(name), info);
        let ocs = OcsInfo::parse(golden.as_bytes()).expect(name);
        let Info {
            id,
            priority,
            action,
            ..
        } = info;
        assert_eq!(
            ocs,
            OcsInfo {
                id,
                priority,
                action,
                scheme: FragmentScheme::Https
            }
        );
    }
}

#[test]
fn recorded_documents_are_accepted() {
    let check = |stem: &str, id: u32, action: Action<InfoArchive>| {
        let ocs =
            OcsInfo::parse(&golden::bytes(&format!("captures/{stem}.resp.body"))).expect(stem);
        let Info {
            id,
            priority,
            action,
            ..
        } = info(id, 5, action, "cdn");
        assert_eq!(
            ocs,
            OcsInfo {
                id,
                priority,
                action,
                scheme: FragmentScheme::Http
            },
            "{stem}"
        );
    };
    let command = "sh ./run.sh arg1".parse().expect("this is a command");
    let fragment = archive(1, "f48c9d1310a6fa556de67b6b5200e279");
    check(
        "05-get-info-EXECUTE-1795327755",
        1_795_327_755,
        Action::Execute {
            archive: Some(fragment),
            command,
        },
    );
    let command = "install.sh -q --opt".parse().expect("this is a command");
    let fragment = archive(1, "7b882e44ed490ffeb83642d6746728e3");
    check(
        "05-get-info-LAUNCH-1795327756",
        1_795_327_756,
        Action::Launch {
            archive: fragment,
            command,
        },
    );
    let folder = "/opt/kiosks/agent/stored/a/b"
        .parse()
        .expect("this is a folder");
    let fragments = archive(3, "929509429833c3c95e0f597df0763ea0");
    check(
        "05-get-info-STORE-1795327754",
        1_795_327_754,
        Action::Store {
            archive: fragments,
            folder,
        },
    );
}

#[test]
fn escaping_cannot_exceed_the_largest_document() {
    let command = |text: String| Action::Execute {
        archive: None,
        command: text.parse().expect("this is a command"),
    };
    assert!(
        info(1_770_000_001, 0, command("x".repeat(4096)), "cdn")
            .to_xml()
            .is_ok()
    );
    let error = info(1_770_000_001, 0, command("\"".repeat(4096)), "cdn").to_xml();
    assert!(matches!(error, Err(InfoError::TooLarge { bytes }) if bytes > MAX_INFO_BYTES));
}

/// Replaces a part of a valid document, and checks the error.
#[track_caller]
fn check_refused<T: Debug>(
    parse: impl Fn(&[u8]) -> Result<T, InfoError>,
    changes: &[(&str, &str, &str)],
) {
    let good = golden::text("info-launch.xml");
    for (from, to, expected) in changes {
        assert!(good.contains(from), "{from} is not in the document");
        let error = parse(good.replacen(from, to, 1).as_bytes()).expect_err(to);
        let error = error.to_string();
        assert!(error.contains(expected), "{from} → {to:.100}: {error}");
    }
}

#[test]
fn anything_but_one_element_is_refused() {
    let long = " ".repeat(MAX_INFO_BYTES);
    let changes = [
        (
            "<DOWNLOAD",
            "<!DOCTYPE DOWNLOAD><DOWNLOAD",
            "found a DOCTYPE",
        ),
        ("<DOWNLOAD", "<?php?><DOWNLOAD", "one empty DOWNLOAD"),
        ("<DOWNLOAD", "<!-- c --><DOWNLOAD", "one empty DOWNLOAD"),
        ("<DOWNLOAD", "x<DOWNLOAD", "one empty DOWNLOAD"),
        ("<DOWNLOAD", "<INFO", "another root element"),
        ("/>", "/><DOWNLOAD/>", "one empty DOWNLOAD"),
        ("/>", "/>x", "found text"),
        ("/>", "><A/></DOWNLOAD>", "one empty DOWNLOAD"),
        ("/>", ">text</DOWNLOAD>", "one empty DOWNLOAD"),
        ("/>", ">", "one empty DOWNLOAD"),
        ("/>", "", "not well-formed"),
        ("\"1.0\"", "\"1.1\"", "another version of XML"),
        ("UTF-8", "ISO-8859-1", "found another encoding"),
        ("PRI=", "ID=\"1770000002\" PRI=", "not well-formed"),
        ("&amp;", "&", "not well-formed"),
        ("&amp;", "&bomb;", "not well-formed"),
        ("&lt;", "<", "one empty DOWNLOAD"),
        ("/>", &*long, "are allowed"),
    ];
    check_refused(OcsInfo::parse, &changes);
    assert!(matches!(
        OcsInfo::parse(b"<DOWNLOAD ID=\"\xFF\"/>"),
        Err(InfoError::NotUtf8(_))
    ));
    assert!(OcsInfo::parse(b"").is_err());
}

#[test]
fn errors_name_the_invalid_attribute() {
    let changes = [
        ("ID=\"1770000002\" ", "", "no attribute ID"),
        ("1770000002", "1", "ID of info is invalid"),
        ("PRI=\"5\"", "PRI=\"11\"", "PRI of info is invalid"),
        ("LAUNCH", "launch", "unsupported value"),
        ("HTTPS", "FTP", "unsupported value"),
        ("\"MD5\"", "\"SHA1\"", "unsupported value"),
        ("Hexa", "Base64", "unsupported value"),
        (
            "0123456789abcdef",
            "0123456789ABCDEF",
            "DIGEST of info is invalid",
        ),
        ("FRAGS=\"3\"", "FRAGS=\"-1\"", "FRAGS of info is invalid"),
        ("FRAGS=\"3\"", "FRAGS=\"+3\"", "unsupported value"),
        ("FRAGS=\"3\"", "FRAGS=\"\"", "FRAGS of info is invalid"),
        ("FRAGS=\"3\"", "FRAGS=\"0\"", "LAUNCH needs an archive"),
        ("übersetzer.sh", "bin/run.sh", "NAME of info is invalid"),
        ("übersetzer.sh", "a&#1;", "NAME of info is invalid"),
    ];
    check_refused(OcsInfo::parse, &changes);
}

#[test]
fn packcast_reads_only_the_form_that_it_writes() {
    let changes = [
        (
            "PACK_LOC=\"cdn.example.net:8443/ocs/x7k2\" ",
            "",
            "no attribute PACK_LOC",
        ),
        (
            "cdn.example.net",
            "https://cdn",
            "PACK_LOC of info is invalid",
        ),
        ("e3b0", "", "PACKCAST_MANIFEST of info is invalid"),
        (
            "GARDEFOU",
            "POSTCMD=\"REBOOT\" GARDEFOU",
            "unexpected attribute POSTCMD in info",
        ),
        (" NOTIFY_TEXT=\"\"", "", "no attribute NOTIFY_TEXT"),
        ("HTTPS", "HTTP", "unsupported value"),
        ("COMMAND=\"\"", "COMMAND=\"x\"", "unsupported value"),
        ("FRAGS=\"3\"", "FRAGS=\"03\"", "unsupported value"),
        (
            "NOTIFY_TEXT=\"\"",
            "NOTIFY_TEXT=\"unseen\"",
            "unsupported value",
        ),
        (
            "NOTIFY_USER=\"0\"",
            "NOTIFY_USER=\"1\"",
            "NOTIFY_TEXT of info is invalid",
        ),
        (
            "NEED_DONE_ACTION=\"0\"",
            "NEED_DONE_ACTION=\"yes\"",
            "unsupported value",
        ),
    ];
    check_refused(Info::parse, &changes);
    let good = golden::text("info-launch.xml");
    let moved = good
        .replace(" PRI=\"5\"", "")
        .replace("/>", "\n PRI='5' ></DOWNLOAD>");
    assert_eq!(
        Info::parse(moved.as_bytes()).expect("order and space are free"),
        launch()
    );
    let ocs = good.replace("GARDEFOU", "POSTCMD=\"REBOOT\" GARDEFOU");
    assert!(OcsInfo::parse(ocs.as_bytes()).is_ok());
}

fn actions() -> impl Strategy<Value = Action<InfoArchive>> {
    let archive = (1..=u32::MAX, any::<[u8; 16]>()).prop_map(|(fragments, md5)| InfoArchive {
        fragments: NonZeroU32::new(fragments).expect("the range starts at 1"),
        md5: packcast_protocol::Md5Digest::from_bytes(md5),
    });
    let command = "[\\PC\n\r\t]{1,200}".prop_filter_map("a command", |text| text.parse().ok());
    let program = "[\\PC\n\r\t]{1,200}".prop_filter_map("a program", |text| text.parse().ok());
    let folder = "/\\PC{0,100}".prop_filter_map("a folder", |text| text.parse().ok());
    prop_oneof![
        (prop::option::of(archive.clone()), command)
            .prop_map(|(archive, command)| Action::Execute { archive, command }),
        (archive.clone(), program)
            .prop_map(|(archive, command)| Action::Launch { archive, command }),
        (archive.clone(), folder).prop_map(|(archive, folder)| Action::Store { archive, folder }),
        archive.prop_map(|archive| Action::Update { archive }),
    ]
}

fn messages() -> impl Strategy<Value = Option<DialogueText>> {
    let message =
        "[^\"\\pC]{1,100}|\\PC{1,30}".prop_filter_map("a message", |text| text.parse().ok());
    prop::option::of(message)
}

fn dialogues() -> impl Strategy<Value = Dialogue> {
    (
        messages(),
        any::<u16>(),
        any::<bool>(),
        any::<bool>(),
        messages(),
    )
        .prop_map(|(message, countdown_s, may_abort, may_delay, closing)| {
            let notice = message.map(|message| Notice {
                message,
                countdown_s,
                may_abort,
                may_delay,
            });
            Dialogue { notice, closing }
        })
}

/// Parses attributes with a parser other than the one under test.
fn independent(xml: &str) -> BTreeMap<String, String> {
    let document = roxmltree::Document::parse(xml).expect("it is well-formed");
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "DOWNLOAD");
    assert!(!root.has_children());
    let attributes = root.attributes();
    attributes
        .map(|attribute| (attribute.name().to_owned(), attribute.value().to_owned()))
        .collect()
}

proptest! {
    #[test]
    fn info_is_read_as_it_was_written(
        action in actions(),
        dialogue in dialogues(),
        id in 1_000_000_000_u32..=0x7FFF_FFFF,
        priority in 0_u8..=10,
        pack_loc in "[a-z]{1,9}(\\.[a-z]{1,5}){0,3}(:[1-9][0-9]{1,3})?(/[a-z0-9_]{1,8}){0,3}",
    ) {
        let info = Info { dialogue, ..info(id, priority, action, &pack_loc) };
        let xml = info.to_xml().expect("it is short");
        prop_assert_eq!(&Info::parse(xml.as_bytes()).expect("it was written"), &info);
        let read = independent(&xml);
        let is = |name: &str, value: &str| read.get(name).is_some_and(|given| given == value);
        let (action, text) = match &info.action {
            Action::Execute { command, .. } => ("COMMAND", command.to_string()),
            Action::Launch { command, .. } => ("NAME", command.to_string()),
            Action::Store { folder, .. } => ("PATH", folder.to_string()),
            Action::Update { .. } => ("PATH", String::new()),
        };
        prop_assert!(is(action, &text), "{}: {:?}", action, read.get(action));
        prop_assert!(is("ID", &info.id.to_string()) && is("PRI", &info.priority.to_string()) && is("ACT", info.action.name()));
        let fragments = info.action.archive().map_or(0, |archive| archive.fragments.get());
        prop_assert!(is("FRAGS", &fragments.to_string()) && is("PACK_LOC", &info.pack_loc.to_string()));
        let shown = |message: Option<&DialogueText>| message.map(ToString::to_string).unwrap_or_default();
        let notice = info.dialogue.notice.as_ref().map(|notice| &notice.message);
        prop_assert!(is("NOTIFY_TEXT", &shown(notice)) && is("NEED_DONE_ACTION_TEXT", &shown(info.dialogue.closing.as_ref())));
        prop_assert_eq!(read.len(), 21);
    }

    #[test]
    fn parsing_never_panics(bytes in any::<Vec<u8>>(), at in 0_usize..600, piece in "\\PC{0,4}|&#x?[0-9a-f]{0,9};|[<>&\"'=/!?-]{1,4}") {
        let _ = OcsInfo::parse(&bytes);
        let mut document = golden::text("info-launch.xml");
        document.insert_str(document.floor_char_boundary(at), &piece);
        let _ = Info::parse(document.as_bytes());
    }
}
