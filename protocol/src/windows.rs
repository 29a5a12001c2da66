//! What stock Windows agents do around a package, and no other agent does.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::text_form::text_form;
use crate::time::UnixTime;

/// What a stock Windows agent is asked beside its action; by default nothing.
///
/// Unix agents and Packcast's own ignore all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowsTerms {
    /// Said in `info`.
    #[serde(skip_serializing_if = "Dialogue::is_silent")]
    pub dialogue: Dialogue,
    /// Told with the package: the agent downloads at once, and acts from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Told with the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub afterwards: Option<Afterwards>,
}

impl WindowsTerms {
    /// Tells whether nothing is asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What the agent says to the person at the device (protocol reference §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialogue {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// Shown after the action, until the person closes it; [`Afterwards`] waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<Message>,
}

impl Dialogue {
    /// Tells whether nothing is said.
    pub const fn is_silent(&self) -> bool {
        self.notice.is_none() && self.closing.is_none()
    }
}

/// What is shown before the action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub message: Message,
    /// Seconds until the agent goes on by itself; with 0 it waits for the person.
    pub countdown_s: u16,
    /// Lets the person refuse the package, which is reported as `ERR_ABORTED`.
    pub may_abort: bool,
    /// Lets the person put it off until the agent's next run.
    pub may_delay: bool,
}

impl Notice {
    /// What agents take an empty countdown for.
    pub const DEFAULT_COUNTDOWN_S: u16 = 120;
}

/// A text that the agent shows, which may be HTML: 1 to 2,048 bytes.
///
/// The agent puts it between double quotes on a command line, unescaped. So it has none of
/// them, no line breaks, and no backslash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message(String);

/// Text that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the text is empty")]
    Empty,
    #[error("the text has {bytes} bytes; at most {} are shown", Message::MAX_BYTES)]
    Long { bytes: usize },
    #[error("the text has a double quote, which would end it: use single quotes, or &quot;")]
    Quote,
    #[error("the text ends in a backslash, which would run it into what follows: leave it out")]
    Backslash,
    #[error("the text holds the control character {character:?}: break lines with <br>")]
    Control { character: char },
}

impl Message {
    pub const MAX_BYTES: usize = 2048;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Message {
    type Err = MessageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let banned = |c: &char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
        if text.trim().is_empty() {
            Err(MessageError::Empty)
        } else if text.len() > Self::MAX_BYTES {
            Err(MessageError::Long { bytes: text.len() })
        } else if text.contains('"') {
            Err(MessageError::Quote)
        } else if text.ends_with('\\') {
            Err(MessageError::Backslash)
        } else if let Some(character) = text.chars().find(banned) {
            Err(MessageError::Control { character })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(Message, "Message", r#"^[^"]{1,2048}$"#);

/// When the agent may act: a minute in the device's own time, as `2026/12/01 22:00`.
///
/// The only form that the agent reads whatever its language (protocol reference §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schedule(DateTime);

/// Text that is no minute of a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no date and time of the form 2026/12/01 22:00")]
pub struct ScheduleError {
    given: String,
}

impl Schedule {
    const FORM: &str = "%Y/%m/%d %H:%M";

    /// The hours by which the clocks of two places differ at most from UTC.
    const WIDEST_OFFSET_H: u64 = 14;

    /// Returns the time from which on no device waits, wherever it is.
    pub fn has_come_everywhere(self) -> UnixTime {
        self.in_utc().plus(Self::WIDEST_OFFSET_H * 3600)
    }

    /// Returns the time at which it would come to a device whose clock shows UTC.
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

/// What the agent does to the machine 120 seconds after the action, whatever came of that.
///
/// Programs that are open then lose what was not saved (protocol reference §2.4). The agent
/// would run any command instead; that belongs into the package, which is digested.
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

    /// Traps of OCS agents (protocol reference) and the tests that guard against them.
    const _: &[(&str, fn())] = &[(
        "§4.1: what Windows agents show is put on a command line unescaped",
        a_message_cannot_leave_its_quotes,
    )];

    #[test]
    fn a_message_cannot_leave_its_quotes() {
        let refused = |text: &str| text.parse::<Message>().unwrap_err();
        assert_eq!(refused(" "), MessageError::Empty);
        assert_eq!(refused("say \"yes\""), MessageError::Quote);
        assert_eq!(refused("C:\\"), MessageError::Backslash);
        let control = MessageError::Control { character: '\n' };
        assert_eq!(refused("one\ntwo"), control);
        let bytes = Message::MAX_BYTES + 1;
        assert_eq!(refused(&"x".repeat(bytes)), MessageError::Long { bytes });
        for good in ["Größe <b>C:\\x</b> & 'more'", "100 %", "&quot;"] {
            assert_eq!(good.parse::<Message>().unwrap().as_str(), good);
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
    fn what_is_not_asked_is_not_written() {
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

    proptest! {
        #[test]
        fn a_schedule_is_written_as_it_was_read(text in "[0-9/ :]{16}|20[0-9]{2}/[01][0-9]/[0-3][0-9] [0-2][0-9]:[0-5][0-9]|\\PC{0,20}") {
            if let Ok(schedule) = text.parse::<Schedule>() {
                prop_assert_eq!(schedule.to_string(), text);
            }
        }
    }
}
