//! The file `info` of a package on an OCS server.
//!
//! The console writes `info` without escaping `&` and `<`, so the file may be no well-formed XML. The
//! reader accepts such files, and names each repair. OCS agents refuse them.

use packcast_protocol::windows::{Dialogue, DialogueText, DialogueTextError, Notice};
use packcast_protocol::{Md5Digest, PackageId, Priority};

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
    #[error("cannot read info: expected an element with attributes")]
    NoElement,
    #[error("cannot read info: expected NAME=\"value\" after attribute {after}")]
    Malformed { after: String },
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

/// Reads an `info`, also one that is not well-formed.
pub fn read_info(text: &str) -> Result<OcsInfo, OcsInfoError> {
    let attributes = Attributes::read(text)?;
    let id = attributes.parsed("ID")?;
    let priority = attributes.parsed("PRI")?;
    let action = action(&attributes)?;
    let fragments = attributes.parsed("FRAGS")?;
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
            Some(md5(&attributes)?)
        },
        dialogue: dialogue(&attributes)?,
        repairs: attributes.repairs,
    })
}

fn action(attributes: &Attributes) -> Result<ActionName, OcsInfoError> {
    match attributes.required("ACT")? {
        "LAUNCH" => Ok(ActionName::Launch),
        "EXECUTE" => Ok(ActionName::Execute),
        "STORE" => Ok(ActionName::Store),
        other => Err(unknown("ACT", other)),
    }
}

/// Returns the MD5 of the archive. The console of today always writes MD5 in hexadecimal digits.
fn md5(attributes: &Attributes) -> Result<Md5Digest, OcsInfoError> {
    let algorithm = attributes.required("DIGEST_ALGO")?;
    if !algorithm.eq_ignore_ascii_case("MD5") {
        return Err(unknown("DIGEST_ALGO", algorithm));
    }
    let digest = attributes.required("DIGEST")?;
    let encoding = attributes.required("DIGEST_ENCODE")?;
    let parsed = if encoding.eq_ignore_ascii_case("Hexa") {
        digest.to_ascii_lowercase().parse().ok()
    } else if encoding.eq_ignore_ascii_case("Base64") {
        let unpadded = digest.trim_end_matches('=').as_bytes();
        let bytes = data_encoding::BASE64_NOPAD.decode(unpadded).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Md5Digest::from_bytes)
    } else {
        return Err(unknown("DIGEST_ENCODE", encoding));
    };
    parsed.ok_or_else(|| unknown("DIGEST", digest))
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
                Some(_) => attributes.parsed("NOTIFY_COUNTDOWN")?,
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

fn unknown(attribute: &'static str, value: &str) -> OcsInfoError {
    OcsInfoError::Value {
        attribute,
        value: value.chars().take(80).collect(),
    }
}

/// The attributes of the first element of a document.
struct Attributes {
    values: Vec<(String, String)>,
    repairs: Vec<String>,
}

impl Attributes {
    fn read(text: &str) -> Result<Self, OcsInfoError> {
        let mut rest = element(text).ok_or(OcsInfoError::NoElement)?;
        let (mut values, mut repairs) = (Vec::new(), Vec::new());
        let mut after = String::from("(none)");
        loop {
            rest = rest.trim_start();
            if rest.starts_with('>') || rest.starts_with("/>") {
                return Ok(Self { values, repairs });
            }
            let (name, value, remaining) = attribute(rest).ok_or(OcsInfoError::Malformed {
                after: after.clone(),
            })?;
            let (value, repaired) = decoded(value);
            if let Some(repaired) = repaired {
                repairs.push(format!("{name}: {repaired}"));
            }
            name.clone_into(&mut after);
            values.push((name.to_owned(), value));
            rest = remaining;
        }
    }

    /// Returns the value of an attribute. `None` if the attribute is absent or empty.
    fn text(&self, name: &str) -> Option<String> {
        let mut values = self.values.iter();
        let (_, value) = values.find(|(key, _)| key == name)?;
        (!value.trim().is_empty()).then(|| value.clone())
    }

    fn required(&self, attribute: &'static str) -> Result<&str, OcsInfoError> {
        let mut values = self.values.iter();
        let found = values.find(|(key, value)| key == attribute && !value.is_empty());
        found
            .map(|(_, value)| value.as_str())
            .ok_or(OcsInfoError::Missing { attribute })
    }

    fn parsed<T: std::str::FromStr>(&self, attribute: &'static str) -> Result<T, OcsInfoError> {
        let value = self.required(attribute)?;
        value.parse().map_err(|_| unknown(attribute, value))
    }
}

/// Returns the text after the name of the first element.
fn element(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('\u{FEFF}').trim_start();
    if rest.starts_with("<?") {
        rest = rest.split_once("?>")?.1.trim_start();
    }
    let rest = rest.strip_prefix('<')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    (end > 0).then(|| &rest[end..])
}

/// Splits an attribute off: its name, its raw value, and the text after it.
fn attribute(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let rest = rest.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, rest) = rest[1..].split_once(quote)?;
    let is_end = |c: char| c.is_whitespace() || c == '/' || c == '>';
    rest.starts_with(is_end).then_some((name, value, rest))
}

/// Decodes a value as an XML parser does, and keeps characters that must be escaped but are not.
/// Returns the repair in words.
fn decoded(raw: &str) -> (String, Option<&'static str>) {
    let (mut value, mut rest) = (String::with_capacity(raw.len()), raw);
    let (mut ampersand, mut bracket) = (false, false);
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '&' => {
                if let Some((decoded, used)) = reference(rest) {
                    value.push(decoded);
                    length = used;
                } else {
                    ampersand = true;
                    value.push('&');
                }
            }
            // An XML parser reads line breaks in attributes as spaces.
            '\n' | '\r' | '\t' => value.push(' '),
            c => {
                bracket |= c == '<';
                value.push(c);
            }
        }
        rest = &rest[length..];
    }
    let repair = match (ampersand, bracket) {
        (false, false) => None,
        (true, false) => Some("'&' was not escaped"),
        (false, true) => Some("'<' was not escaped"),
        (true, true) => Some("'&' and '<' were not escaped"),
    };
    (value, repair)
}

/// Returns the character of a reference such as `&amp;` at the start of a text, and its length.
fn reference(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((character, end + 1))
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
        let base64 = "DIGEST=\"ASNFZ4mrze8BI0VniavN7w==\"";
        let text = LAUNCH.replace("DIGEST=\"0123456789abcdef0123456789ABCDEF\"", base64);
        let info = read_info(&text.replace("Hexa", "Base64")).unwrap();
        assert_eq!(
            info.md5.unwrap().to_string(),
            "0123456789abcdef0123456789abcdef"
        );
    }
}
