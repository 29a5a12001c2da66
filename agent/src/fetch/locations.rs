//! The order in which the agent tries a package's locations.

/// After its first failure, a location regains its place at this many requests later.
const FIRST_REST: u64 = 8;

/// The greatest number of requests after which a location regains its place.
const MAX_REST: u64 = 1024;

/// The order of a package's locations, which depends on their failures during one deployment.
///
/// The agent tries a failed location after the others for a while, and for twice as long after each
/// further failure in a row. So an unreachable location costs little time, and a recovered location
/// is used again. No location is ever left out.
#[derive(Clone, Debug)]
pub(crate) struct LocationOrder {
    latest: Turn,
    locations: Vec<LocationScore>,
}

/// The number of a request of the deployment, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(u64);

#[derive(Clone, Copy, Debug, Default)]
struct LocationScore {
    failed_in_a_row: u32,
    /// The latest request that had begun at the time of the failure.
    failed_at: Turn,
    rests_until: Turn,
}

impl LocationOrder {
    /// Creates the order for this number of locations. It begins as the order of the task.
    pub(crate) fn of(count: usize) -> Self {
        Self {
            latest: Turn::default(),
            locations: vec![LocationScore::default(); count],
        }
    }

    /// Begins a request, and returns the indices of the locations in their order.
    pub(crate) fn begin(&mut self) -> (Turn, Vec<usize>) {
        self.latest.0 += 1;
        let turn = self.latest;
        let mut order: Vec<usize> = (0..self.locations.len()).collect();
        order.sort_by_key(|index| {
            let until = self.locations[*index].rests_until;
            // `None` sorts first, so locations that are not resting keep the order of
            // the task.
            (until > turn).then_some(until)
        });
        (turn, order)
    }

    /// Records that a location failed in the request of this turn.
    ///
    /// Failures of parallel requests count once.
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

    /// Records that a location sent a correct file.
    pub(crate) fn succeeded(&mut self, index: usize) {
        let location = &mut self.locations[index];
        location.failed_in_a_row = 0;
        location.rests_until = Turn::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indices(order: &mut LocationOrder) -> Vec<usize> {
        order.begin().1
    }

    /// Lets a location fail in a separate request.
    fn fail(order: &mut LocationOrder, index: usize) {
        let (turn, _) = order.begin();
        order.failed(index, turn);
    }

    /// Counts the requests in which another location comes before location 0.
    fn rest(order: &mut LocationOrder) -> usize {
        (0..5000).take_while(|_| indices(order)[0] != 0).count()
    }

    #[test]
    fn locations_are_tried_in_the_order_of_the_task() {
        assert_eq!(indices(&mut LocationOrder::of(3)), [0, 1, 2]);
        assert_eq!(indices(&mut LocationOrder::of(0)), [] as [usize; 0]);
    }

    #[test]
    fn a_failed_location_rests_twice_as_long_each_time() {
        let mut order = LocationOrder::of(2);
        for expected in [7, 15, 31] {
            fail(&mut order, 0);
            assert_eq!(rest(&mut order), expected);
        }
        for _ in 0..20 {
            fail(&mut order, 0);
        }
        assert_eq!(rest(&mut order), 1023);
        order.succeeded(0);
        fail(&mut order, 0);
        assert_eq!(
            rest(&mut order),
            7,
            "a success resets the length of the rest"
        );
    }

    #[test]
    fn failed_locations_come_last_in_the_order_of_their_remaining_rest() {
        let mut order = LocationOrder::of(3);
        fail(&mut order, 1);
        fail(&mut order, 1);
        fail(&mut order, 0);
        assert_eq!(indices(&mut order), [2, 0, 1]);
        order.succeeded(1);
        assert_eq!(indices(&mut order), [1, 2, 0]);
    }

    #[test]
    fn failures_of_parallel_requests_count_once() {
        let mut order = LocationOrder::of(2);
        let turns: Vec<Turn> = (0..4).map(|_| order.begin().0).collect();
        for turn in turns {
            order.failed(0, turn);
        }
        assert_eq!(rest(&mut order), 7);
    }

    proptest! {
        #[test]
        fn no_location_is_ever_left_out(events in proptest::collection::vec((0_usize..4, any::<bool>()), 0..200)) {
            let mut order = LocationOrder::of(4);
            for (index, succeeded) in events {
                let (turn, mut indices) = order.begin();
                indices.sort_unstable();
                prop_assert_eq!(indices, [0, 1, 2, 3]);
                if succeeded {
                    order.succeeded(index);
                } else {
                    order.failed(index, turn);
                }
            }
        }
    }
}
