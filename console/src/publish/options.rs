//! The options of a package: texts as they were typed, and their values.

use std::collections::BTreeSet;

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::windows::{Afterwards, Dialogue, Notice, Schedule};
use packcast_protocol::{
    FragmentSize, PackageName, PackageVersion, Priority, WindowsTerms, with_causes,
};
use packcast_publisher::publish::name_encoding::NameEncoding;
use packcast_publisher::publish::plan::PackageTerms;
use packcast_publisher::values::{duration, local_time, size};

use super::fields::{Field, Fields, Refusal, read, refused};

/// The options as they were typed. Texts stay, also those that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) priority: String,
    /// Empty for the automatic size.
    pub(crate) fragment_size: String,
    pub(crate) encoding: String,
    pub(crate) timeout: String,
    /// Exit codes, separated by commas.
    pub(crate) success_codes: String,
    pub(crate) reboot_codes: String,
    /// Empty if the package does not expire.
    pub(crate) expires_in: String,
    pub(crate) rerun: bool,
    pub(crate) notify: String,
    pub(crate) countdown: String,
    pub(crate) may_abort: bool,
    pub(crate) may_delay: bool,
    pub(crate) notify_done: String,
    pub(crate) not_before: String,
    /// Empty, `reboot` or `shutdown`.
    pub(crate) afterwards: String,
}

impl Default for Options {
    fn default() -> Self {
        let empty = String::new;
        Self {
            name: empty(),
            version: empty(),
            priority: Priority::DEFAULT.to_string(),
            fragment_size: empty(),
            encoding: empty(),
            timeout: TIMEOUT.to_owned(),
            success_codes: SUCCESS.to_owned(),
            reboot_codes: empty(),
            expires_in: empty(),
            rerun: false,
            notify: empty(),
            countdown: COUNTDOWN.to_owned(),
            may_abort: false,
            may_delay: false,
            notify_done: empty(),
            not_before: empty(),
            afterwards: empty(),
        }
    }
}

/// The texts of the values that the command line uses, too.
pub(crate) const TIMEOUT: &str = "2h";
pub(crate) const SUCCESS: &str = "0";
pub(crate) const COUNTDOWN: &str = "2min";

/// The fields of the page.
pub(crate) mod field {
    use super::Field;

    const fn named(name: &'static str, label: &'static str) -> Field {
        Field { name, label }
    }

    pub(crate) const NAME: Field = named("name", "Name");
    pub(crate) const VERSION: Field = named("version", "Version");
    pub(crate) const PRIORITY: Field = named("priority", "Priority");
    pub(crate) const FRAGMENT_SIZE: Field = named("fragment_size", "Fragment size");
    pub(crate) const ENCODING: Field = named("encoding", "Encoding of names in the archive");
    pub(crate) const TIMEOUT: Field = named("timeout", "Time limit");
    pub(crate) const SUCCESS: Field = named("success_codes", "Exit codes of a success");
    pub(crate) const REBOOT: Field =
        named("reboot_codes", "Exit codes of a success after a restart");
    pub(crate) const EXPIRES: Field = named("expires_in", "Expires in");
    pub(crate) const NOTIFY: Field = named("notify", "Text before the action");
    pub(crate) const COUNTDOWN: Field = named("countdown", "Countdown");
    pub(crate) const DONE: Field = named("notify_done", "Text after the action");
    pub(crate) const NOT_BEFORE: Field = named("not_before", "Not before");
    pub(crate) const AFTERWARDS: Field = named("afterwards", "Afterwards");
}

impl Options {
    /// Reads the fields of the page. Fields of Windows are absent for other systems, and then empty.
    pub(crate) fn of_form(fields: &Fields) -> Self {
        let text = |name| fields.text(name);
        let or = |name, default: &str| {
            let text = fields.text(name);
            if text.is_empty() {
                default.to_owned()
            } else {
                text
            }
        };
        Self {
            name: text("name"),
            version: text("version"),
            priority: or("priority", &Priority::DEFAULT.to_string()),
            fragment_size: text("fragment_size"),
            encoding: text("encoding"),
            timeout: or("timeout", TIMEOUT),
            success_codes: or("success_codes", SUCCESS),
            reboot_codes: text("reboot_codes"),
            expires_in: text("expires_in"),
            rerun: fields.is_set("rerun"),
            notify: text("notify"),
            countdown: or("countdown", COUNTDOWN),
            may_abort: fields.is_set("may_abort"),
            may_delay: fields.is_set("may_delay"),
            notify_done: text("notify_done"),
            not_before: text("not_before"),
            afterwards: text("afterwards"),
        }
    }

    pub(crate) fn name(&self) -> Result<PackageName, Refusal> {
        read(field::NAME, &self.name)
    }

    pub(crate) fn version(&self) -> Result<PackageVersion, Refusal> {
        read(field::VERSION, &self.version)
    }

    pub(crate) fn priority(&self) -> Result<Priority, Refusal> {
        read(field::PRIORITY, &self.priority)
    }

    /// Returns the size of the fragments; `None` for the automatic size.
    pub(crate) fn fragment_size(&self) -> Result<Option<FragmentSize>, Refusal> {
        let field = field::FRAGMENT_SIZE;
        filled(&self.fragment_size)
            .map(|text| {
                let bytes = size::parse(text).map_err(|error| refused(field, error))?;
                FragmentSize::try_from(bytes).map_err(|error| refused(field, error))
            })
            .transpose()
    }

    pub(crate) fn encoding(&self) -> Result<Option<NameEncoding>, Refusal> {
        filled(&self.encoding)
            .map(|text| read(field::ENCODING, text))
            .transpose()
    }

    /// Returns the terms of the package.
    pub(crate) fn terms(&self, platform: Platform) -> Result<PackageTerms, Refusal> {
        let timeout = duration::seconds(1, 7 * duration::DAY_S)(&self.timeout);
        let timeout = timeout.map_err(|error| refused(field::TIMEOUT, error))?;
        let success_codes = codes(field::SUCCESS, &self.success_codes)?;
        if success_codes.is_empty() {
            return Err(refused(
                field::SUCCESS,
                "expected at least one code, such as 0",
            ));
        }
        Ok(PackageTerms {
            platform,
            success_codes,
            reboot_codes: codes(field::REBOOT, &self.reboot_codes)?,
            timeout_s: u32::try_from(timeout).unwrap_or(u32::MAX),
            validity_s: self.validity()?,
            rerun_after_interruption: self.rerun,
            audience: Audience::Any,
            windows: self.windows()?,
        })
    }

    fn validity(&self) -> Result<Option<u64>, Refusal> {
        let parse = duration::days(1, 3_650);
        filled(&self.expires_in)
            .map(|text| parse(text).map_err(|error| refused(field::EXPIRES, error)))
            .transpose()
    }

    fn windows(&self) -> Result<WindowsTerms, Refusal> {
        let text = |field, text| filled(text).map(|text| read(field, text)).transpose();
        let notice = text(field::NOTIFY, &self.notify)?;
        let notice = notice.map(|message| -> Result<Notice, Refusal> {
            let seconds = duration::seconds(0, u64::from(u16::MAX))(&self.countdown);
            let seconds = seconds.map_err(|error| refused(field::COUNTDOWN, error))?;
            Ok(Notice {
                message,
                countdown_s: u16::try_from(seconds).unwrap_or(u16::MAX),
                may_abort: self.may_abort,
                may_delay: self.may_delay,
            })
        });
        Ok(WindowsTerms {
            dialogue: Dialogue {
                notice: notice.transpose()?,
                closing: text(field::DONE, &self.notify_done)?,
            },
            schedule: self.schedule()?,
            afterwards: self.afterwards()?,
        })
    }

    fn schedule(&self) -> Result<Option<Schedule>, Refusal> {
        filled(&self.not_before)
            .map(|text| {
                local_time::parse(text)
                    .map_err(|error| refused(field::NOT_BEFORE, with_causes(&error)))
            })
            .transpose()
    }

    fn afterwards(&self) -> Result<Option<Afterwards>, Refusal> {
        match self.afterwards.as_str() {
            "" => Ok(None),
            "reboot" => Ok(Some(Afterwards::Reboot)),
            "shutdown" => Ok(Some(Afterwards::Shutdown)),
            _ => Err(refused(field::AFTERWARDS, "expected reboot or shutdown")),
        }
    }
}

/// Returns a text that is not empty.
fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Reads exit codes that are separated by commas or spaces.
pub(crate) fn codes(field: Field, text: &str) -> Result<BTreeSet<i32>, Refusal> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let read = |word: &str| {
        word.parse().map_err(|_| {
            refused(
                field,
                format!("expected numbers such as 0, 3010, found {word:?}"),
            )
        })
    };
    words.map(read).collect()
}

#[cfg(test)]
mod tests {
    use packcast_publisher::publish::ocs_limits::WINDOWS_MINUTES;

    use super::*;

    fn typed(change: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options::default();
        change(&mut options);
        options
    }

    #[test]
    fn defaults_are_those_of_the_command_line() {
        let terms = Options::default().terms(Platform::Any).unwrap();
        assert_eq!(terms.timeout_s, WINDOWS_MINUTES * 60);
        assert_eq!(terms.success_codes, BTreeSet::from([0]));
        assert!(terms.windows.is_none() && terms.validity_s.is_none());
        let options = typed(|it| it.notify = "Soon".to_owned());
        let terms = options.terms(Platform::Any).unwrap();
        let notice = terms.windows.dialogue.notice.unwrap();
        assert_eq!(notice.countdown_s, Notice::DEFAULT_COUNTDOWN_S);
        assert_eq!(Options::of_form(&Fields::default()), Options::default());
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        let terms = |change: fn(&mut Options)| {
            let failure = typed(change).terms(Platform::Any).unwrap_err();
            failure.failure.message()
        };
        let name = typed(|it| it.name = "-x".to_owned()).name().unwrap_err();
        let size = |text: &str| {
            let options = typed(|it| it.fragment_size = text.to_owned());
            options.fragment_size().unwrap_err().failure.message()
        };
        let encoding = typed(|it| it.encoding = "klingon".to_owned());
        let lines = [
            name.failure.message(),
            Options::default().version().unwrap_err().failure.message(),
            size("much"),
            size("1"),
            encoding.encoding().unwrap_err().failure.message(),
            terms(|it| it.timeout = "2 weeks".to_owned()),
            terms(|it| it.success_codes = "0, ok".to_owned()),
            terms(|it| it.success_codes = " , ".to_owned()),
            terms(|it| it.expires_in = "5h".to_owned()),
            terms(|it| it.notify = "say \"yes\"".to_owned()),
            terms(|it| it.not_before = "tomorrow".to_owned()),
            terms(|it| it.afterwards = "explode".to_owned()),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        cannot use the field Name: "-x" is not a package name: 1 to 64 letters, digits or any of ._+-, the first a letter or digit
        cannot use the field Version: "" is not a package version: 1 to 64 letters, digits or any of ._+-~:, the first a letter or digit
        cannot use the field Fragment size: expected a size such as 1MiB, 64KiB, 1MB or 1048576
        cannot use the field Fragment size: expected a fragment size from 1KiB to 4GiB, found 1 bytes
        cannot use the field Encoding of names in the archive: unknown encoding "klingon": expected a name such as shift_jis, gbk, big5, euc-kr, windows-1252 or ibm866
        cannot use the field Time limit: expected a time from 1s to 7d, in whole seconds
        cannot use the field Exit codes of a success: expected numbers such as 0, 3010, found "ok"
        cannot use the field Exit codes of a success: expected at least one code, such as 0
        cannot use the field Expires in: expected a time from 1d to 3650d, in whole days
        cannot use the field Text before the action: the text has a double quote, which would end the text: use single quotes, or &quot;
        cannot use the field Not before: expected a date and time such as 2026-12-01 22:00, or a date such as 2026-12-01
        cannot use the field Afterwards: expected reboot or shutdown
        "#);
    }
}
