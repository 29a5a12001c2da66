//! The capacity of check-ins with few records; `just bench-scale` fills the table with many.

use packcast_tests::scale::{Scale, measure};

#[tokio::test]
async fn a_check_in_costs_the_same_with_more_records() {
    let few = Scale {
        finished: 0,
        packages: 10,
        devices: 1,
    };
    let many = Scale {
        finished: 50,
        packages: 200,
        devices: 1_000,
    };
    let (few, many) = (measure(few).await, measure(many).await);
    for (many, few) in many.iter().zip(&few) {
        assert_eq!((many.idle.calls, many.idle.read_units), (1, 1.0));
        assert!(many.is_at_most(few), "{many:#?} and {few:#?}");
    }
}
