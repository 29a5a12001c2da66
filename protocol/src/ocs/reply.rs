//! What stock agents are answered (protocol reference §2.2 to §2.4, §3, §5.5).

use std::io;
use std::num::{NonZeroU8, NonZeroU16};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::location::Location;
use crate::package::PackageId;
use crate::windows::{Afterwards, Schedule};

/// The reply to INVENTORY: seen, and nothing to change.
///
/// An empty one would stop a Unix agent before it deploys anything (protocol reference §0 rule
/// 7), which is what [`INVENTORY_REFUSAL`] is for.
pub const INVENTORY_REPLY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REPLY>\n  <RESPONSE>NO_ACCOUNT_UPDATE</RESPONSE>\n</REPLY>\n";

/// The reply to INVENTORY that ends a Unix agent before it forks a download process.
///
/// It follows [`Deployment::Off`]: the process that the agent would fork then has no connection,
/// and dies at its first report.
pub const INVENTORY_REFUSAL: &[u8] = b"";

/// The reply to DOWNLOAD, whatever was reported: no body at all (protocol reference §0 rule 5).
pub const DOWNLOAD_REPLY: &[u8] = b"";

/// The reply to PROLOG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrologReply {
    /// When to ask again: heeded by the Windows service, and by Unix agents that run as daemons.
    pub prolog_freq_hours: NonZeroU8,
    pub response: InventoryAsk,
    pub conf: Conf,
    pub deployment: Deployment,
}

/// What the agent's download process is to do (protocol reference §2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// To work on these packages, and on those that the agent still has.
    On(Vec<Pack>),
    /// To end: a Unix agent kills the process at once, and resumes with a later reply.
    Off,
    /// To drop every package that the agent has, however young, with `ERR_TIMEOUT`.
    Drop,
}

/// Whether the agent is to send an inventory now; packages are worked on either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InventoryAsk {
    Send,
    Stop,
}

/// The default of OCS servers, in minutes.
///
/// No agent obeys it, but an agent must find every value (protocol reference §2.3).
const EXECUTION_TIMEOUT_MIN: &str = "120";

/// How an agent paces its downloads (protocol reference §2.3).
///
/// A latency of zero between fragments or cycles lets a failing agent send hundreds of
/// requests a second (§0 rule 16), and a timeout of zero days drops every package: that is
/// said with [`Deployment::Drop`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conf {
    pub frag_latency_s: NonZeroU16,
    pub cycle_latency_s: NonZeroU16,
    pub period_latency_s: u16,
    pub period_length: PeriodLength,
    /// Counted from the device's first sight of a package.
    pub timeout_days: NonZeroU16,
}

/// How many cycles a period has: at least 10.
///
/// A package whose priority is beyond it is never served (protocol reference §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeriodLength(u32);

/// A number of cycles that a period cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cycles} cycles are not a period: it has from 10 to 2147483647")]
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

/// A package to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    pub id: PackageId,
    /// Where `<id>/info` is, always over HTTPS.
    pub info_loc: Location,
    /// Where `<id>/<id>-<n>` are, over what `info` says.
    pub pack_loc: Location,
    /// Installs the package even if the device's history has it.
    pub force: bool,
    /// Windows agents act from then on; the others at once.
    pub schedule: Option<Schedule>,
    /// Heeded by Windows agents only.
    pub afterwards: Option<Afterwards>,
}

impl PrologReply {
    /// Writes the document.
    ///
    /// Every element and attribute is there and none of RESPONSE and NAME is empty, as
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

impl Deployment {
    fn packs(&self) -> &[Pack] {
        match self {
            Self::On(packs) => packs,
            Self::Off | Self::Drop => &[],
        }
    }
}

impl Conf {
    fn attributes(&self, deployment: &Deployment) -> [(&'static str, String); 8] {
        let timeout_days = match deployment {
            Deployment::On(_) | Deployment::Off => self.timeout_days.get(),
            Deployment::Drop => 0,
        };
        [
            ("TYPE", "CONF".to_owned()),
            ("ON", flag(*deployment != Deployment::Off)),
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
    fn to_end_is_on_zero_and_to_drop_is_a_timeout_of_zero() {
        let seconds = |s| NonZeroU16::new(s).unwrap();
        let conf = Conf {
            frag_latency_s: seconds(1),
            cycle_latency_s: seconds(1),
            period_latency_s: 1,
            period_length: PeriodLength::MIN,
            timeout_days: seconds(30),
        };
        let check = |deployment: &Deployment, expected: [&str; 2]| {
            let attributes = conf.attributes(deployment);
            let values = ["ON", "TIMEOUT"].map(|name| {
                let found = attributes.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| value.as_str()).unwrap()
            });
            assert_eq!(values, expected, "{deployment:?}");
        };
        check(&Deployment::On(Vec::new()), ["1", "30"]);
        check(&Deployment::Off, ["0", "30"]);
        check(&Deployment::Drop, ["1", "0"]);
    }

    #[test]
    fn a_period_serves_every_priority() {
        assert_eq!(PeriodLength::try_from(10), Ok(PeriodLength::MIN));
        for bad in [0, 9, 0x8000_0000] {
            assert!(PeriodLength::try_from(bad).is_err(), "{bad}");
        }
    }
}
