//! The points at which the agent is killed.

use std::fmt;
use std::str::FromStr;

use super::effect::Kind;

/// A moment of one effect. It means the same in every run: `rename:files/journal.json#2:after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub kind: Kind,
    /// What the effect changes, as `kill::labels` names it.
    pub object: String,
    /// Counts the effects of this kind on this object, from 1.
    pub ordinal: u32,
    pub moment: Moment,
}

/// Where an agent is killed, and where the one that is started after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub at: Point,
    pub then: Option<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    /// After a write of which only half was done.
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

    /// Returns the moments of an effect; `halves` tells whether half of it can be done.
    ///
    /// Where nothing is said of the moment after an effect, the one before the next effect is
    /// as good. With what others see, or what is to last, more than one thread has a part.
    pub(super) fn of(kind: Kind, halves: bool) -> Vec<Self> {
        match kind {
            Kind::Receive => vec![Self::After],
            Kind::Rename | Kind::Sync | Kind::Remove | Kind::Connect | Kind::Spawn => {
                vec![Self::Before, Self::After]
            }
            Kind::Write if halves => vec![Self::Before, Self::Torn],
            Kind::Send if halves => vec![Self::Before, Self::Torn, Self::After],
            Kind::Send => vec![Self::Before, Self::After],
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
            format!("{text:?} is no point: write it as the matrix does, <kind>:<object>#<ordinal>:<moment>")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_reads_as_it_is_written() {
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
