//! Announcements ahead of places: devices that download while they have no place yet.

use std::collections::VecDeque;

use packcast_protocol::UnixTime;

/// Time in which a device that was told of a package is expected to ask for its place, in seconds.
const EXPECTED_S: u64 = 15 * 60;

/// The devices that one function has told of a package, and that are expected to ask for a place.
///
/// A cached gate with free places is a hint that a device may be told. Without this count, a function
/// would tell each device that checks in until the first one has downloaded the package and taken its
/// place, and the gate would refuse most of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedAhead(VecDeque<UnixTime>);

impl AnnouncedAhead {
    /// Returns true if fewer devices are expected than places are free.
    pub fn has_room(&mut self, free: u32, now: UnixTime) -> bool {
        let is_expected = |told: &UnixTime| *told <= now && now.since(*told) < EXPECTED_S;
        // A clock that was set back expects nobody.
        self.0.retain(is_expected);
        self.0.len() < usize::try_from(free).unwrap_or(usize::MAX)
    }

    /// Notes that a device was told.
    pub fn told(&mut self, now: UnixTime) {
        self.0.push_back(now);
    }

    /// Notes that a device has taken a place.
    pub fn begun(&mut self) {
        self.0.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn as_many_devices_are_told_as_places_are_free() {
        let mut ahead = AnnouncedAhead::default();
        assert!(!ahead.has_room(0, NOW));
        for _ in 0..3 {
            assert!(ahead.has_room(3, NOW));
            ahead.told(NOW);
        }
        assert!(!ahead.has_room(3, NOW));
        assert!(ahead.has_room(4, NOW));
        ahead.begun();
        assert!(!ahead.has_room(2, NOW) && ahead.has_room(3, NOW));
    }

    #[test]
    fn a_device_that_does_not_ask_is_replaced_after_a_while() {
        let mut ahead = AnnouncedAhead::default();
        ahead.told(NOW);
        ahead.told(NOW.plus(1));
        let later = NOW.plus(EXPECTED_S);
        assert!(!ahead.has_room(1, later) && ahead.has_room(2, later));
        assert!(ahead.has_room(1, later.plus(1)));
        // The clock was set back.
        ahead.told(later);
        assert!(ahead.has_room(1, NOW));
        ahead.begun();
    }
}
