//! The file `info` of a package on an OCS server.
//!
//! The console writes `info` without escaping `&` and `<`, so the file may be no well-formed XML. The
//! reader accepts such files, and names each repair. OCS agents refuse them.

use packcast_protocol::windows::{Dialogue, DialogueText, DialogueTextError, Notice};
use packcast_protocol::{Md5Digest, PackageId, Priority};

use super::markup::{Attributes, AttributesError, text_of};
use crate::publish::plan::ActionName;

/// The largest `info` that is read, in bytes.
pub const MAX_INFO_BYTES: u64 = 64 << 10;

/// The content of an `info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcsInfo {
    pub id: PackageId,
    pub priority: Priority,
    pub action: ActionName,
    /// The command of LAUNCH or EXECUTE.
    pub command: Option<String>,
    /// The folder of STORE.
    pub folder: Option<String>,
    pub fragments: u32,
    /// MD5 of the archive. `None` if the package has no archive.
    pub md5: Option<Md5Digest>,
    pub dialogue: Dialogue,
    /// Repairs of malformed values, in words.
    pub repairs: Vec<String>,
}

/// Errors from reading an `info`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcsInfoError {
    #[error(transparent)]
    Attributes(#[from] AttributesError),
    #[error("cannot read info: attribute {attribute} is missing")]
    Missing { attribute: &'static str },
    #[error("cannot read info: attribute {attribute} has the unknown value {value:?}")]
    Value {
        attribute: &'static str,
        value: String,
    },
    #[error("cannot use the text in attribute {attribute} of info")]
    Text {
        attribute: &'static str,
        source: DialogueTextError,
    },
}

/// Reads the bytes of an `info`, also those of one that is not well-formed.
pub fn read_info_bytes(bytes: &[u8]) -> Result<OcsInfo, OcsInfoError> {
    let (text, is_repaired) = text_of(bytes);
    let mut info = read_info(&text)?;
    if is_repaired {
        let repair = "the text was not UTF-8: it is read as Windows-1252";
        info.repairs.push(repair.to_owned());
    }
    Ok(info)
}

/// Reads an `info`, also one that is not well-formed.
pub fn read_info(text: &str) -> Result<OcsInfo, OcsInfoError> {
    let mut attributes = Attributes::read(text)?;
    let id = parsed(&attributes, "ID")?;
    let priority = parsed(&attributes, "PRI")?;
    let action = action(&attributes)?;
    let fragments = parsed(&attributes, "FRAGS")?;
    let (command, folder) = match action {
        ActionName::Store => (None, attributes.text("PATH")),
        ActionName::Launch => (attributes.text("NAME"), None),
        ActionName::Execute | ActionName::Update => (attributes.text("COMMAND"), None),
    };
    Ok(OcsInfo {
        id,
        priority,
        action,
        command,
        folder,
        fragments,
        md5: if fragments == 0 {
            None
        } else {
            Some(md5(&mut attributes)?)
        },
        dialogue: dialogue(&attributes)?,
        repairs: attributes.repairs,
    })
}

fn action(attributes: &Attributes) -> Result<ActionName, OcsInfoError> {
    match required(attributes, "ACT")? {
        "LAUNCH" => Ok(ActionName::Launch),
        "EXECUTE" => Ok(ActionName::Execute),
        "STORE" => Ok(ActionName::Store),
        other => Err(unknown("ACT", other)),
    }
}

/// Returns the MD5 of the archive.
///
/// The console of today always writes MD5 in hexadecimal digits. An older one wrote the Base64 form of
/// these digits, which agents refuse.
fn md5(attributes: &mut Attributes) -> Result<Md5Digest, OcsInfoError> {
    let algorithm = required(attributes, "DIGEST_ALGO")?;
    if !algorithm.eq_ignore_ascii_case("MD5") {
        return Err(unknown("DIGEST_ALGO", algorithm));
    }
    let digest = required(attributes, "DIGEST")?;
    let encoding = required(attributes, "DIGEST_ENCODE")?;
    let hexadecimal = |text: &str| text.to_ascii_lowercase().parse().ok();
    let (parsed, is_repaired) = if encoding.eq_ignore_ascii_case("Hexa") {
        (hexadecimal(digest), false)
    } else if encoding.eq_ignore_ascii_case("Base64") {
        let unpadded = digest.trim_end_matches('=').as_bytes();
        let bytes = data_encoding::BASE64_NOPAD.decode(unpadded);
        let bytes = bytes.unwrap_or_default();
        if let Ok(bytes) = <[u8; 16]>::try_from(bytes.as_slice()) {
            (Some(Md5Digest::from_bytes(bytes)), false)
        } else {
            let digits = std::str::from_utf8(&bytes).ok();
            (digits.and_then(hexadecimal), true)
        }
    } else {
        return Err(unknown("DIGEST_ENCODE", encoding));
    };
    let parsed = parsed.ok_or_else(|| unknown("DIGEST", digest))?;
    if is_repaired {
        let repair = "DIGEST: it was the Base64 form of hexadecimal digits";
        attributes.repairs.push(repair.to_owned());
    }
    Ok(parsed)
}

fn dialogue(attributes: &Attributes) -> Result<Dialogue, OcsInfoError> {
    let is_set = |name| attributes.text(name).as_deref() == Some("1");
    let text = |attribute: &'static str| -> Result<DialogueText, OcsInfoError> {
        let text = attributes.text(attribute).unwrap_or_default();
        let source = |source| OcsInfoError::Text { attribute, source };
        text.parse().map_err(source)
    };
    let notice = if is_set("NOTIFY_USER") {
        Some(Notice {
            message: text("NOTIFY_TEXT")?,
            countdown_s: match attributes.text("NOTIFY_COUNTDOWN") {
                Some(_) => parsed(attributes, "NOTIFY_COUNTDOWN")?,
                None => Notice::DEFAULT_COUNTDOWN_S,
            },
            may_abort: is_set("NOTIFY_CAN_ABORT"),
            may_delay: is_set("NOTIFY_CAN_DELAY"),
        })
    } else {
        None
    };
    let closing = if is_set("NEED_DONE_ACTION") {
        Some(text("NEED_DONE_ACTION_TEXT")?)
    } else {
        None
    };
    Ok(Dialogue { notice, closing })
}

fn required<'a>(
    attributes: &'a Attributes,
    attribute: &'static str,
) -> Result<&'a str, OcsInfoError> {
    let value = attributes.get(attribute);
    value.ok_or(OcsInfoError::Missing { attribute })
}

fn parsed<T: std::str::FromStr>(
    attributes: &Attributes,
    attribute: &'static str,
) -> Result<T, OcsInfoError> {
    let value = required(attributes, attribute)?;
    value.parse().map_err(|_| unknown(attribute, value))
}

fn unknown(attribute: &'static str, value: &str) -> OcsInfoError {
    OcsInfoError::Value {
        attribute,
        value: value.chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAUNCH: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DOWNLOAD ID="1795000000" PRI="5" ACT="LAUNCH" DIGEST="0123456789abcdef0123456789ABCDEF" PROTO="HTTP" FRAGS="2" DIGEST_ALGO="MD5" DIGEST_ENCODE="Hexa" NAME="setup.exe /S" NOTIFY_USER="0" NOTIFY_TEXT="" NOTIFY_COUNTDOWN="" NOTIFY_CAN_ABORT="0" NOTIFY_CAN_DELAY="0" NEED_DONE_ACTION="0" NEED_DONE_ACTION_TEXT="" GARDEFOU="rien" />"#;

    fn with(from: &str, to: &str) -> Result<OcsInfo, OcsInfoError> {
        assert!(LAUNCH.contains(from));
        read_info(&LAUNCH.replace(from, to))
    }

    #[test]
    fn an_info_of_the_console_is_read() {
        let info = read_info(LAUNCH).unwrap();
        assert_eq!(info.command.as_deref(), Some("setup.exe /S"));
        assert_eq!((info.fragments, info.repairs.len()), (2, 0));
        assert_eq!(info.dialogue, Dialogue::default());
        assert_eq!(
            info.md5.unwrap().to_string(),
            "0123456789abcdef0123456789abcdef"
        );
    }

    #[test]
    fn characters_that_the_console_does_not_escape_are_kept_and_the_repair_is_named() {
        let command = |text: &str| {
            let execute = format!("ACT=\"EXECUTE\" COMMAND=\"{text}\"");
            let info = with("ACT=\"LAUNCH\"", &execute).unwrap();
            (info.command.unwrap(), info.repairs)
        };
        let cases = [
            "a && b < c",
            "a &amp;&amp; b",
            "a &amp b; &copy; &#38;&#x26;",
            "echo 'x'\n  y",
        ];
        let read = cases.map(|text| format!("{:?}", command(text)));
        insta::assert_snapshot!(read.join("\n"), @r#"
        ("a && b < c", ["COMMAND: '&' and '<' were not escaped"])
        ("a && b", [])
        ("a &amp b; &copy; &&", ["COMMAND: '&' was not escaped"])
        ("echo 'x'   y", [])
        "#);
    }

    #[test]
    fn notices_are_read() {
        let notices = r#"NOTIFY_USER="1" NOTIFY_TEXT="Save your work" NOTIFY_COUNTDOWN="60" NOTIFY_CAN_ABORT="1" NEED_DONE_ACTION="1" NEED_DONE_ACTION_TEXT="Done""#;
        let old = &LAUNCH[LAUNCH.find("NOTIFY_USER").unwrap()..LAUNCH.find(" GARDEFOU").unwrap()];
        let info = with(old, notices).unwrap();
        let notice = info.dialogue.notice.unwrap();
        assert_eq!(notice.message.as_str(), "Save your work");
        assert_eq!(
            (notice.countdown_s, notice.may_abort, notice.may_delay),
            (60, true, false)
        );
        assert_eq!(info.dialogue.closing.unwrap().as_str(), "Done");
    }

    #[test]
    fn unusable_infos_are_refused() {
        let errors = [
            read_info("").unwrap_err(),
            read_info("<html").unwrap_err(),
            with("/S\"", "/S \"x\"\"").unwrap_err(),
            with(" PRI=\"5\"", "").unwrap_err(),
            with("ACT=\"LAUNCH\"", "ACT=\"RUN\"").unwrap_err(),
            with("DIGEST_ALGO=\"MD5\"", "DIGEST_ALGO=\"SHA1\"").unwrap_err(),
            with("NOTIFY_USER=\"0\"", "NOTIFY_USER=\"1\"").unwrap_err(),
        ];
        let errors = errors.map(|error| error.to_string());
        insta::assert_snapshot!(errors.join("\n"), @r#"
        cannot read info: expected an element with attributes
        cannot read info: expected an element with attributes
        cannot read info: expected NAME="value" after attribute DIGEST_ENCODE
        cannot read info: attribute PRI is missing
        cannot read info: attribute ACT has the unknown value "RUN"
        cannot read info: attribute DIGEST_ALGO has the unknown value "SHA1"
        cannot use the text in attribute NOTIFY_TEXT of info
        "#);
    }

    #[test]
    fn a_digest_in_base64_is_read() {
        let hexadecimal = "0123456789abcdef0123456789abcdef";
        let of_bytes = "ASNFZ4mrze8BI0VniavN7w==".to_owned();
        let of_digits = data_encoding::BASE64.encode(hexadecimal.as_bytes());
        let read = |digest: &str| {
            let digest = format!("DIGEST=\"{digest}\"");
            let text = LAUNCH.replace("DIGEST=\"0123456789abcdef0123456789ABCDEF\"", &digest);
            let info = read_info(&text.replace("Hexa", "Base64")).unwrap();
            (info.md5.unwrap().to_string(), info.repairs)
        };
        assert_eq!(read(&of_bytes), (hexadecimal.to_owned(), Vec::new()));
        let (md5, repairs) = read(&of_digits);
        assert_eq!(md5, hexadecimal);
        assert_eq!(
            repairs,
            ["DIGEST: it was the Base64 form of hexadecimal digits"]
        );
    }

    #[test]
    fn an_info_in_latin_1_is_read_and_the_repair_is_named() {
        let text = LAUNCH.replace("setup.exe /S", "g\u{e9}rer.exe");
        let latin_1: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        let info = read_info_bytes(&latin_1).unwrap();
        assert_eq!(info.command.as_deref(), Some("g\u{e9}rer.exe"));
        assert_eq!(
            info.repairs,
            ["the text was not UTF-8: it is read as Windows-1252"]
        );
        let utf_8 = read_info_bytes(text.as_bytes()).unwrap();
        assert_eq!((utf_8.command, utf_8.repairs.len()), (info.command, 0));
    }
}
