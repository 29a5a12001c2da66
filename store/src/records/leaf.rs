//! The condition that the records of a device still follow from the same leaf.

use super::item;
use super::names::{LEAF, ORDER};
use super::write::Terms;

/// Returns the condition that a device's records follow from a leaf of this order, 0 for none, with
/// its terms.
pub(super) fn unchanged_leaf(order: u64, terms: Terms) -> (&'static str, Terms) {
    let terms = terms.name(LEAF);
    if order == 0 {
        return ("attribute_not_exists(#leaf)", terms);
    }
    let terms = terms.name(ORDER).value("leaf_order", item::number(&order));
    ("#leaf.#order = :leaf_order", terms)
}
