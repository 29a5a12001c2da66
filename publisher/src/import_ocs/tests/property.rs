use super::*;

/// A small generator of random numbers, so that each server can be made again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        let Self(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % limit
    }

    fn value(&mut self) -> Option<&'static str> {
        let values = [
            None,
            Some("NOTIFIED"),
            Some("SUCCESS"),
            Some("ERR_EXECUTE"),
            Some("SUCCESS_3"),
        ];
        values[usize::try_from(self.below(5)).unwrap()]
    }

    /// Adds random rows to a server.
    fn extend(&mut self, database: &mut OcsDatabase) {
        let packages = u32::try_from(database.packages.len()).unwrap();
        let computers = database.computers.len() as u64;
        for _ in 0..self.below(8) {
            let (computer, group) = (self.below(computers), self.below(2));
            let computer = 1 + i64::try_from(computer).unwrap();
            let group = 1_001 + i64::try_from(group).unwrap();
            let number = 1 + u32::try_from(self.below(packages.into())).unwrap();
            match self.below(4) {
                0 => database.members.push(MemberRow { group, computer }),
                1 => database.history.push(history(computer, number)),
                2 => database.assignments.push(assigned(group, number, None)),
                _ => {
                    let value = self.value();
                    database.assignments.push(assigned(computer, number, value));
                }
            }
        }
    }
}

/// Acceptance: importing twice changes nothing, and importing after a change imports the change.
#[tokio::test]
async fn an_import_is_complete_and_a_second_one_changes_nothing() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let story = Story::start(720 + seed).await;
        for number in 1..=3 {
            write_execute(&story.downloads(), id(number), "true");
        }
        let mut server = inactive(3, 4);
        server.groups.push(group(1_002, "Office", None));
        for _ in 0..3 {
            random.extend(&mut server);
            let expected = story.plan(&server).await;
            let imported = story.import(&server).await;
            assert_eq!(imported.assignments, expected.assignments.len(), "{seed}");
            assert_eq!(imported.devices, expected.devices.len(), "{seed}");
            let left = story.plan(&server).await;
            assert!(left.is_empty(), "seed {seed}: {left:?}");
            let again = story.import(&server).await;
            assert_eq!((again.commit, again.results), (None, 0), "seed {seed}");
        }
    }
}
