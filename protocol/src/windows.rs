//! Terms that only Windows agents heed: messages, a schedule and a restart.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::text_form::text_form;
use crate::time::UnixTime;

/// Terms for Windows agents in addition to the action; by default none.
///
/// Unix agents and Packcast agents ignore them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowsTerms {
    /// Messages, sent in `info`.
    #[serde(skip_serializing_if = "Dialogue::is_silent")]
    pub dialogue: Dialogue,
    /// Start of the action, sent with the announcement. The agent downloads at once, and waits
    /// to act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Restart or shutdown after the action, sent with the announcement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub afterwards: Option<Afterwards>,
}

impl WindowsTerms {
    /// Returns whether there are no terms.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Messages to the person at the device (protocol reference §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialogue {
    /// A message before the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// A message after the action, shown until the person closes it; [`Afterwards`] waits for
    /// that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<DialogueText>,
}

impl Dialogue {
    /// Returns whether there are no messages.
    pub const fn is_silent(&self) -> bool {
        self.notice.is_none() && self.closing.is_none()
    }
}

/// A message before the action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Text of the message.
    pub message: DialogueText,
    /// Seconds until the agent continues by itself; with 0 it waits for the person.
    pub countdown_s: u16,
    /// True if the person may refuse the package, which the agent reports as `ERR_ABORTED`.
    pub may_abort: bool,
    /// True if the person may delay the package until the agent's next run.
    pub may_delay: bool,
}

impl Notice {
    /// The countdown that agents use if the attribute is empty.
    pub const DEFAULT_COUNTDOWN_S: u16 = 120;
}

/// Text that the agent shows, which may be HTML: 1 to 2,048 bytes.
///
/// The agent puts the text between double quotes on a command line, unescaped. So the text has
/// no double quotes, no line breaks, and no backslash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DialogueText(String);

/// Errors in a text for a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialogueTextError {
    #[error("the text is empty")]
    Empty,
    #[error(
        "the text has {bytes} bytes; at most {} are shown",
        DialogueText::MAX_BYTES
    )]
    Long { bytes: usize },
    #[error("the text has a double quote, which would end the text: use single quotes, or &quot;")]
    Quote,
    #[error(
        "the text ends in a backslash, which would escape the quote after it: remove the backslash"
    )]
    Backslash,
    #[error("the text holds the control character {character:?}: break lines with <br>")]
    Control { character: char },
}

impl DialogueText {
    pub const MAX_BYTES: usize = 2048;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DialogueText {
    type Err = DialogueTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let banned = |c: &char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
        if text.trim().is_empty() {
            Err(DialogueTextError::Empty)
        } else if text.len() > Self::MAX_BYTES {
            Err(DialogueTextError::Long { bytes: text.len() })
        } else if text.contains('"') {
            Err(DialogueTextError::Quote)
        } else if text.ends_with('\\') {
            Err(DialogueTextError::Backslash)
        } else if let Some(character) = text.chars().find(banned) {
            Err(DialogueTextError::Control { character })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for DialogueText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(DialogueText, "DialogueText", r#"^[^"]{1,2048}$"#);

/// The earliest time of the action: a minute in the device's own time, as `2026/12/01 22:00`.
///
/// Agents read only this form in every language (protocol reference §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schedule(DateTime);

/// Text that is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a date and time such as 2026/12/01 22:00")]
pub struct ScheduleError {
    given: String,
}

impl Schedule {
    const FORM: &str = "%Y/%m/%d %H:%M";

    /// Largest difference of a local time from UTC, in hours.
    const WIDEST_OFFSET_H: u64 = 14;

    /// Returns the time from which no device waits any longer, in any time zone.
    pub fn has_come_everywhere(self) -> UnixTime {
        self.in_utc().plus(Self::WIDEST_OFFSET_H * 3600)
    }

    /// Returns the time of the schedule on a device whose clock shows UTC.
    pub fn in_utc(self) -> UnixTime {
        let seconds = TimeZone::UTC
            .to_timestamp(self.0)
            .map_or(0, jiff::Timestamp::as_second);
        UnixTime(u64::try_from(seconds).unwrap_or_default())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The parser accepts shorter numbers, which agents do not read: only the written form
        // counts.
        DateTime::strptime(Self::FORM, text)
            .ok()
            .map(Self)
            .filter(|schedule| schedule.to_string() == text)
            .ok_or_else(|| ScheduleError {
                given: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime(Self::FORM).fmt(f)
    }
}

text_form!(
    Schedule,
    "Schedule",
    "^[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}$"
);

/// Restart or shutdown 120 seconds after the action, with any result.
///
/// Open programs lose unsaved work (protocol reference §2.4). The agent would accept any
/// command here. Commands belong into the package instead, because its digest is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Afterwards {
    Reboot,
    Shutdown,
}

impl Afterwards {
    /// Returns the value of `POSTCMD`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "REBOOT",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;

    /// Traps of OCS agents (protocol reference) and the tests that guard against them.
    const _: &[(&str, fn())] = &[(
        "§4.1: Windows agents put a message on a command line unescaped",
        a_message_cannot_leave_its_quotes,
    )];

    #[test]
    fn a_message_cannot_leave_its_quotes() {
        let refused = |text: &str| text.parse::<DialogueText>().unwrap_err();
        assert_eq!(refused(" "), DialogueTextError::Empty);
        assert_eq!(refused("say \"yes\""), DialogueTextError::Quote);
        assert_eq!(refused("C:\\"), DialogueTextError::Backslash);
        let control = DialogueTextError::Control { character: '\n' };
        assert_eq!(refused("one\ntwo"), control);
        let bytes = DialogueText::MAX_BYTES + 1;
        assert_eq!(
            refused(&"x".repeat(bytes)),
            DialogueTextError::Long { bytes }
        );
        for good in ["Größe <b>C:\\x</b> & 'more'", "100 %", "&quot;"] {
            assert_eq!(good.parse::<DialogueText>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_schedule_is_a_minute_that_exists() {
        let schedule: Schedule = "2026/12/01 22:00".parse().unwrap();
        assert_eq!(schedule.in_utc(), UnixTime(1_796_162_400));
        assert_eq!(
            schedule.has_come_everywhere(),
            UnixTime(1_796_162_400 + 14 * 3600)
        );
        for bad in [
            "",
            "now",
            "2026/02/30 10:00",
            "2026/12/01 24:00",
            "2026/12/01",
            "2026/12/01 22:00:00",
            "2026/12/1 22:00",
            "2026-12-01 22:00",
            "01/12/2026 22:00",
            "+2026/12/01 22:00",
            " 2026/12/01 22:00",
        ] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn absent_terms_are_not_written() {
        let none = WindowsTerms::default();
        assert_eq!(serde_json::to_string(&none).unwrap(), "{}");
        let terms = WindowsTerms {
            dialogue: Dialogue {
                notice: Some(Notice {
                    message: "Soon".parse().unwrap(),
                    countdown_s: 0,
                    may_abort: true,
                    may_delay: false,
                }),
                closing: None,
            },
            schedule: "2026/12/01 22:00".parse().ok(),
            afterwards: Some(Afterwards::Reboot),
        };
        let json = serde_json::to_string(&terms).unwrap();
        assert_eq!(
            json,
            r#"{"dialogue":{"notice":{"message":"Soon","countdown_s":0,"may_abort":true,"may_delay":false}},"schedule":"2026/12/01 22:00","afterwards":"reboot"}"#
        );
        assert_eq!(serde_json::from_str::<WindowsTerms>(&json).unwrap(), terms);
        assert_eq!(serde_json::from_str::<WindowsTerms>("{}").unwrap(), none);
    }

    #[test]
    fn error_messages() {
        let error = |text: &str| text.parse::<DialogueText>().unwrap_err();
        insta::assert_snapshot!(messages([
            error(""),
            error(&"x".repeat(3000)),
            error("say \"yes\""),
            error("C:\\"),
            error("one\ntwo"),
        ]), @r"
        the text is empty
        the text has 3000 bytes; at most 2048 are shown
        the text has a double quote, which would end the text: use single quotes, or &quot;
        the text ends in a backslash, which would escape the quote after it: remove the backslash
        the text holds the control character '\n': break lines with <br>
        ");
        insta::assert_snapshot!("tomorrow".parse::<Schedule>().unwrap_err(), @r#""tomorrow" is not a date and time such as 2026/12/01 22:00"#);
    }

    proptest! {
        #[test]
        fn schedules_are_written_as_they_were_read(text in "[0-9/ :]{16}|20[0-9]{2}/[01][0-9]/[0-3][0-9] [0-2][0-9]:[0-5][0-9]|\\PC{0,20}") {
            if let Ok(schedule) = text.parse::<Schedule>() {
                prop_assert_eq!(schedule.to_string(), text);
            }
        }
    }
}
