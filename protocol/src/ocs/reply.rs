//! Replies to OCS agents (protocol reference §2.2 to §2.4, §3, §5.5).

use std::io;
use std::num::{NonZeroU8, NonZeroU16};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::location::Location;
use crate::package::PackageId;
use crate::windows::{Afterwards, Schedule};

/// The reply to INVENTORY, which acknowledges it and changes nothing.
///
/// An empty reply stops a Unix agent before it deploys anything (protocol reference §0 rule 7).
/// [`INVENTORY_REFUSAL`] makes use of that.
pub const INVENTORY_REPLY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REPLY>\n  <RESPONSE>NO_ACCOUNT_UPDATE</RESPONSE>\n</REPLY>\n";

/// The reply to INVENTORY that ends a Unix agent before it forks a download process.
///
/// It follows [`DownloadMode::Off`]: the process that the agent would fork then has no
/// connection, and dies at its first report.
pub const INVENTORY_REFUSAL: &[u8] = b"";

/// The reply to any DOWNLOAD: no body at all (protocol reference §0 rule 5).
pub const DOWNLOAD_REPLY: &[u8] = b"";

/// The reply to PROLOG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrologReply {
    /// Hours until the next PROLOG, heeded by the Windows service and by Unix agents that run
    /// as daemons.
    pub prolog_freq_hours: NonZeroU8,
    /// Request for an inventory.
    pub response: InventoryAsk,
    /// Pacing of the downloads.
    pub conf: Conf,
    /// Mode of the agent's download process.
    pub deployment: DownloadMode,
}

/// Mode of the agent's download process (protocol reference §2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadMode {
    /// Deploy these packages, and the packages that the agent still has.
    On(Vec<Pack>),
    /// Stop. A Unix agent kills the process at once, and resumes with a later reply.
    Off,
    /// Drop every package that the agent has, of any age, with `ERR_TIMEOUT`.
    Drop,
}

/// Request for an inventory; the agent deploys packages in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InventoryAsk {
    Send,
    Stop,
}

/// The default of OCS servers, in minutes.
///
/// No agent obeys it, but an agent must find every value (protocol reference §2.3).
const EXECUTION_TIMEOUT_MIN: &str = "120";

/// Pacing of an agent's downloads (protocol reference §2.3).
///
/// A latency of zero between fragments or cycles would let a failing agent send hundreds of
/// requests a second (§0 rule 16). A timeout of zero days would drop every package, so only
/// [`DownloadMode::Drop`] sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Seconds between fragments.
    pub frag_latency_s: NonZeroU16,
    /// Seconds between cycles.
    pub cycle_latency_s: NonZeroU16,
    /// Seconds between periods.
    pub period_latency_s: u16,
    /// Cycles in a period.
    pub period_length: PeriodLength,
    /// Days until the agent drops a package, counted from its first sight of the package.
    pub timeout_days: NonZeroU16,
}

/// Number of cycles in a period: at least 10.
///
/// An agent never deploys a package whose priority is greater than this number (protocol
/// reference §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeriodLength(u32);

/// A number that is not the length of a period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a period has 10 to 2147483647 cycles, not {cycles}")]
pub struct PeriodLengthError {
    cycles: u32,
}

impl PeriodLength {
    /// Just long enough for each of the eleven priorities.
    pub const MIN: Self = Self(10);

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for PeriodLength {
    type Error = PeriodLengthError;

    fn try_from(cycles: u32) -> Result<Self, Self::Error> {
        if (Self::MIN.0..=0x7FFF_FFFF).contains(&cycles) {
            Ok(Self(cycles))
        } else {
            Err(PeriodLengthError { cycles })
        }
    }
}

/// A package to deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// Id of the package.
    pub id: PackageId,
    /// Location of `<id>/info`, always over HTTPS.
    pub info_loc: Location,
    /// Location of the fragments `<id>/<id>-<n>`, over the scheme that `info` names.
    pub pack_loc: Location,
    /// True if the agent must deploy the package even if its history has the package.
    pub force: bool,
    /// Earliest time of the action on Windows agents; other agents act at once.
    pub schedule: Option<Schedule>,
    /// Restart or shutdown after the action, on Windows agents only.
    pub afterwards: Option<Afterwards>,
}

impl PrologReply {
    /// Returns the document.
    ///
    /// It has every element and attribute, and RESPONSE and NAME are never empty, because
    /// Windows agents crash otherwise (protocol reference §1.4).
    pub fn to_xml(&self) -> String {
        let mut xml = Vec::new();
        self.write(&mut Writer::new_with_indent(&mut xml, b' ', 2))
            .unwrap_or_else(|error| unreachable!("writing to memory cannot fail: {error}"));
        xml.push(b'\n');
        String::from_utf8(xml)
            .unwrap_or_else(|error| unreachable!("the writer was given strings only: {error}"))
    }

    fn write(&self, writer: &mut Writer<&mut Vec<u8>>) -> io::Result<()> {
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        writer
            .create_element("REPLY")
            .write_inner_content(|reply| {
                text(reply, "PROLOG_FREQ", &self.prolog_freq_hours.to_string())?;
                text(reply, "INVENTORY_ON_STARTUP", "1")?;
                text(reply, "RESPONSE", self.response.as_str())?;
                reply
                    .create_element("OPTION")
                    .write_inner_content(|option| {
                        text(option, "NAME", "DOWNLOAD")?;
                        param(option, &self.conf.attributes(&self.deployment))?;
                        self.deployment
                            .packs()
                            .iter()
                            .try_for_each(|pack| param(option, &pack.attributes()))
                    })?;
                Ok(())
            })?;
        Ok(())
    }
}

fn text(writer: &mut Writer<&mut Vec<u8>>, name: &str, text: &str) -> io::Result<()> {
    writer
        .create_element(name)
        .write_text_content(BytesText::new(text))
        .map(drop)
}

fn param(writer: &mut Writer<&mut Vec<u8>>, attributes: &[(&str, String)]) -> io::Result<()> {
    let attributes = attributes
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    writer
        .create_element("PARAM")
        .with_attributes(attributes)
        .write_empty()
        .map(drop)
}

impl InventoryAsk {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "SEND",
            Self::Stop => "STOP",
        }
    }
}

impl DownloadMode {
    fn packs(&self) -> &[Pack] {
        match self {
            Self::On(packs) => packs,
            Self::Off | Self::Drop => &[],
        }
    }
}

impl Conf {
    fn attributes(&self, deployment: &DownloadMode) -> [(&'static str, String); 8] {
        let timeout_days = match deployment {
            DownloadMode::On(_) | DownloadMode::Off => self.timeout_days.get(),
            DownloadMode::Drop => 0,
        };
        [
            ("TYPE", "CONF".to_owned()),
            ("ON", flag(*deployment != DownloadMode::Off)),
            ("FRAG_LATENCY", self.frag_latency_s.to_string()),
            ("CYCLE_LATENCY", self.cycle_latency_s.to_string()),
            ("PERIOD_LATENCY", self.period_latency_s.to_string()),
            ("PERIOD_LENGTH", self.period_length.get().to_string()),
            ("TIMEOUT", timeout_days.to_string()),
            ("EXECUTION_TIMEOUT", EXECUTION_TIMEOUT_MIN.to_owned()),
        ]
    }
}

impl Pack {
    fn attributes(&self) -> [(&'static str, String); 9] {
        [
            ("TYPE", "PACK".to_owned()),
            ("ID", self.id.to_string()),
            ("INFO_LOC", self.info_loc.to_string()),
            ("PACK_LOC", self.pack_loc.to_string()),
            ("CERT_PATH", "INSTALL_PATH".to_owned()),
            ("CERT_FILE", "INSTALL_PATH/cacert.pem".to_owned()),
            (
                "SCHEDULE",
                self.schedule.map_or_else(String::new, |at| at.to_string()),
            ),
            (
                "POSTCMD",
                self.afterwards.map_or("", Afterwards::as_str).to_owned(),
            ),
            ("FORCE", flag(self.force)),
        ]
    }
}

fn flag(set: bool) -> String {
    u8::from(set).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_on_zero_and_drop_is_timeout_zero() {
        let seconds = |s| NonZeroU16::new(s).unwrap();
        let conf = Conf {
            frag_latency_s: seconds(1),
            cycle_latency_s: seconds(1),
            period_latency_s: 1,
            period_length: PeriodLength::MIN,
            timeout_days: seconds(30),
        };
        let check = |deployment: &DownloadMode, expected: [&str; 2]| {
            let attributes = conf.attributes(deployment);
            let values = ["ON", "TIMEOUT"].map(|name| {
                let found = attributes.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| value.as_str()).unwrap()
            });
            assert_eq!(values, expected, "{deployment:?}");
        };
        check(&DownloadMode::On(Vec::new()), ["1", "30"]);
        check(&DownloadMode::Off, ["0", "30"]);
        check(&DownloadMode::Drop, ["1", "0"]);
    }

    #[test]
    fn a_period_serves_every_priority() {
        assert_eq!(PeriodLength::try_from(10), Ok(PeriodLength::MIN));
        for bad in [0, 9, 0x8000_0000] {
            assert!(PeriodLength::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(PeriodLength::try_from(9).unwrap_err(), @"a period has 10 to 2147483647 cycles, not 9");
    }
}
