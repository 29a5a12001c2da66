//! Which of a package's locations to ask first.

/// For how many requests a location that failed once is asked after the others.
const FIRST_REST: u64 = 8;

/// The longest rest, in requests.
const MAX_REST: u64 = 1024;

/// How the locations of a package have done during one deployment.
///
/// One that fails is asked after the others for a while, and for twice as long after each
/// further failure in a row: a dead location costs little, and the preferred one is found
/// again when it is back. A location is put off, but never left out.
#[derive(Clone, Debug)]
pub(crate) struct LocationOrder {
    latest: Turn,
    locations: Vec<Standing>,
}

/// Counts the requests of a deployment, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(u64);

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    failed_in_a_row: u32,
    /// The latest request that had begun when it failed.
    failed_at: Turn,
    rests_until: Turn,
}

impl LocationOrder {
    /// Prefers the locations in the order in which they were announced.
    pub(crate) fn of(count: usize) -> Self {
        Self {
            latest: Turn::default(),
            locations: vec![Standing::default(); count],
        }
    }

    /// Begins a request, and returns the indices of the locations in the order to ask them.
    pub(crate) fn begin(&mut self) -> (Turn, Vec<usize>) {
        self.latest.0 += 1;
        let turn = self.latest;
        let mut order: Vec<usize> = (0..self.locations.len()).collect();
        order.sort_by_key(|index| {
            let until = self.locations[*index].rests_until;
            (until > turn).then_some(until)
        });
        (turn, order)
    }

    /// Takes note that a location did not give what the request of this turn was for.
    ///
    /// Requests that ran side by side when it failed count as one.
    pub(crate) fn failed(&mut self, index: usize, turn: Turn) {
        let location = &mut self.locations[index];
        if turn <= location.failed_at {
            return;
        }
        let rest = FIRST_REST << location.failed_in_a_row.min(16);
        location.failed_in_a_row += 1;
        location.failed_at = self.latest;
        location.rests_until = Turn(self.latest.0 + rest.min(MAX_REST));
    }

    /// Takes note that a location gave what it was asked for.
    pub(crate) fn gave(&mut self, index: usize) {
        let location = &mut self.locations[index];
        location.failed_in_a_row = 0;
        location.rests_until = Turn::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(preference: &mut LocationOrder) -> Vec<usize> {
        preference.begin().1
    }

    /// Fails a location in a request of its own.
    fn fail(preference: &mut LocationOrder, index: usize) {
        let (turn, _) = preference.begin();
        preference.failed(index, turn);
    }

    /// Counts the requests for which another location is asked before the first.
    fn rest(preference: &mut LocationOrder) -> usize {
        (0..5000).take_while(|_| order(preference)[0] != 0).count()
    }

    #[test]
    fn locations_are_asked_as_announced() {
        assert_eq!(order(&mut LocationOrder::of(3)), [0, 1, 2]);
        assert_eq!(order(&mut LocationOrder::of(0)), [] as [usize; 0]);
    }

    #[test]
    fn one_that_failed_rests_twice_as_long_each_time() {
        let mut preference = LocationOrder::of(2);
        for expected in [7, 15, 31] {
            fail(&mut preference, 0);
            assert_eq!(rest(&mut preference), expected);
        }
        for _ in 0..20 {
            fail(&mut preference, 0);
        }
        assert_eq!(rest(&mut preference), 1023);
        preference.gave(0);
        fail(&mut preference, 0);
        assert_eq!(rest(&mut preference), 7, "it had given something since");
    }

    #[test]
    fn of_those_that_failed_the_one_that_rests_least_comes_first() {
        let mut preference = LocationOrder::of(3);
        fail(&mut preference, 1);
        fail(&mut preference, 1);
        fail(&mut preference, 0);
        assert_eq!(order(&mut preference), [2, 0, 1]);
        preference.gave(1);
        assert_eq!(order(&mut preference), [1, 2, 0]);
    }

    #[test]
    fn requests_side_by_side_fail_once() {
        let mut preference = LocationOrder::of(2);
        let turns: Vec<Turn> = (0..4).map(|_| preference.begin().0).collect();
        for turn in turns {
            preference.failed(0, turn);
        }
        assert_eq!(rest(&mut preference), 7);
    }

    proptest! {
        #[test]
        fn no_location_is_ever_left_out(events in proptest::collection::vec((0_usize..4, any::<bool>()), 0..200)) {
            let mut preference = LocationOrder::of(4);
            for (index, gave) in events {
                let (turn, mut order) = preference.begin();
                order.sort_unstable();
                prop_assert_eq!(order, [0, 1, 2, 3]);
                if gave {
                    preference.gave(index);
                } else {
                    preference.failed(index, turn);
                }
            }
        }
    }
}
