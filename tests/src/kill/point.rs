//! The points at which the agent is killed.

use std::fmt;
use std::str::FromStr;

use super::effect::EffectKind;

/// A point in a run: before, during or after one effect. It is written the same way in every run:
/// `rename:files/journal.json#2:after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub kind: EffectKind,
    /// The object that the effect changes, named by `kill::labels`.
    pub object: String,
    /// The number of the effect among those of its kind on this object, from 1.
    pub ordinal: u32,
    pub moment: Moment,
}

/// The point at which the agent is killed, and the point at which the restarted agent is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub at: Point,
    pub then: Option<Point>,
}

/// The time of a kill, relative to an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    /// After only half of the bytes were written or sent.
    Torn,
    After,
}

impl Moment {
    const ALL: [Self; 3] = [Self::Before, Self::Torn, Self::After];

    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Torn => "torn",
            Self::After => "after",
        }
    }

    /// Returns the moments of an effect; `halves` means that half of it can be done.
    ///
    /// For most effects, the moment after an effect is equal to the moment before the next one. The
    /// exceptions are effects that are durable or that another process can see: another thread may
    /// act before the next effect.
    pub(super) fn of(kind: EffectKind, halves: bool) -> Vec<Self> {
        match kind {
            EffectKind::Receive => vec![Self::After],
            EffectKind::Rename
            | EffectKind::Sync
            | EffectKind::SyncVolume
            | EffectKind::Remove
            | EffectKind::Connect
            | EffectKind::Spawn
            | EffectKind::Release => {
                vec![Self::Before, Self::After]
            }
            EffectKind::Write if halves => vec![Self::Before, Self::Torn],
            EffectKind::Send if halves => vec![Self::Before, Self::Torn, Self::After],
            EffectKind::Send => vec![Self::Before, Self::After],
            _ => vec![Self::Before],
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            object,
            ordinal,
            moment,
        } = self;
        write!(f, "{kind}:{object}#{ordinal}:{}", moment.name())
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)?;
        self.then
            .iter()
            .try_for_each(|then| write!(f, ", then {then}"))
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (kind, rest) = text.split_once(':')?;
            let (rest, moment) = rest.rsplit_once(':')?;
            let (object, ordinal) = rest.rsplit_once('#')?;
            Some(Self {
                kind: kind.parse().ok()?,
                object: object.to_owned(),
                ordinal: ordinal.parse().ok()?,
                moment: Moment::ALL.into_iter().find(|one| one.name() == moment)?,
            })
        };
        parsed().ok_or_else(|| {
            format!("{text:?} is not a kill point: expected <kind>:<object>#<ordinal>:<moment>")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_point_can_be_parsed() {
        for text in [
            "rename:files/journal.json#2:after",
            "set-mode:home/a#b:c#1:before",
            "send:connection-1#12:torn",
        ] {
            let point: Point = text.parse().unwrap();
            assert_eq!(point.to_string(), text);
        }
        for text in [
            "",
            "rename",
            "rename:a#1",
            "rename:a#x:after",
            "break:a#1:after",
        ] {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }
}
