//! Copies of a small value that every announcement checks.
//!
//! DynamoDB cancels transactions that meet on one item. So announcements do not check the source of
//! the value, but one of its copies: the device determines the copy. A change of the value writes the
//! source first, and then each copy by itself, all at once: one transaction over many copies would
//! nearly always meet an announcement. A change that stops announcements returns only after each copy
//! is acknowledged.
//!
//! The source has a number, which rises with each change. A copy carries the number of the change that
//! it follows from, and is never written over a later one. So a slow command cannot undo a later
//! change. A missing copy refuses its announcements, and the next change of the same value writes it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;

use super::backoff::Backoff;
use super::item::{self, Item, PK};
use super::key::Key;
use super::write::Terms;
use super::{Records, RecordsError};

/// Maximum number of tries to write one copy.
const TRIES: u32 = 500;

/// Longest pause after a conflict with an announcement, in milliseconds: about as long as two
/// transactions take.
const LONGEST_PAUSE_MS: u64 = 20;

/// The value of all copies.
#[derive(Clone, Debug)]
pub(super) struct CopiedValue {
    /// Name of the attribute of the number.
    pub(super) number_name: &'static str,
    pub(super) number: u64,
    /// The other attributes of the value.
    pub(super) attributes: Vec<(&'static str, AttributeValue)>,
}

/// The write of one copy.
#[derive(Clone, Debug)]
struct CopyWrite<'a> {
    key: &'a Key,
    condition: String,
    terms: Terms,
}

impl CopiedValue {
    /// Returns the number of a copy. `None` if the number is unreadable.
    pub(super) fn number_of(&self, copy: &Item) -> Option<u64> {
        let number = copy.get(self.number_name)?;
        number.as_n().ok()?.parse().ok()
    }

    fn has_value(&self, copy: &Item) -> bool {
        let mut attributes = self.attributes.iter();
        attributes.all(|(name, value)| copy.get(*name) == Some(value))
    }

    /// Returns the condition under which a copy is written; `None` if the copy follows from this
    /// change or from a later one. No genuine copy has a number above `highest`.
    fn condition(&self, copy: Option<&Item>, highest: u64) -> Option<Condition> {
        let Some(stored) = copy.and_then(|copy| copy.get(self.number_name)) else {
            return Some(Condition::NotLater);
        };
        let is_current = || copy.is_some_and(|copy| self.has_value(copy));
        match copy.and_then(|copy| self.number_of(copy)) {
            Some(number) if number < self.number => Some(Condition::NotLater),
            Some(number) if number == self.number && is_current() => None,
            Some(number) if number > self.number && number <= highest => None,
            // The copy is unreadable or forged.
            _ => Some(Condition::Same(stored.clone())),
        }
    }

    fn write<'a>(&self, key: &'a Key, copy: Option<&Item>, highest: u64) -> Option<CopyWrite<'a>> {
        let name = self.number_name;
        let terms = Terms::default()
            .named("number", name)
            .value("number", item::number(&self.number));
        let (condition, terms) = match self.condition(copy, highest)? {
            Condition::NotLater => {
                let condition = "attribute_not_exists(#number) OR #number < :number";
                (condition.to_owned(), terms)
            }
            Condition::Same(stored) => (
                "#number = :stored".to_owned(),
                terms.value("stored", stored),
            ),
        };
        let terms = self.attributes.iter().fold(terms, |terms, (name, value)| {
            terms.name(name).value(name, value.clone())
        });
        Some(CopyWrite {
            key,
            condition,
            terms,
        })
    }

    fn expression(&self) -> String {
        let attributes = self.attributes.iter();
        let sets = attributes.map(|(name, _)| format!(", #{name} = :{name}"));
        format!("SET #number = :number{}", sets.collect::<String>())
    }
}

/// The condition of writing a copy.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// The copy is missing, or follows from an earlier change.
    NotLater,
    /// The number on record is still this one.
    Same(AttributeValue),
}

impl Records {
    /// Writes all copies, and returns after the last of them is acknowledged. `read` are the copies on
    /// record. No genuine copy has a number above `highest`.
    ///
    /// Returns false if a copy has changed since its read. Copies that follow from a later change stay.
    pub(super) async fn write_copies(
        &self,
        keys: &[Key],
        value: &CopiedValue,
        read: &[Item],
        highest: u64,
    ) -> Result<bool, RecordsError> {
        let read: HashMap<&String, &Item> = read
            .iter()
            .filter_map(|copy| Some((copy.get(PK)?.as_s().ok()?, copy)))
            .collect();
        let writes = keys.iter().filter_map(|key| {
            let copy = read.get(&key.pk).copied();
            value.write(key, copy, highest)
        });
        let expression = &value.expression();
        let writes = writes.map(|write| async move { self.write_copy(expression, &write).await });
        // Each copy is written, even if others fail: each stops the announcements that check it.
        let written = join_all(writes).await;
        let written: Result<Vec<bool>, RecordsError> = written.into_iter().collect();
        Ok(!written?.contains(&false))
    }

    /// Writes one copy. Returns false if the condition does not hold.
    ///
    /// The pauses do not grow after conflicts: they are announcements of other devices, which do not
    /// become fewer.
    async fn write_copy(
        &self,
        expression: &str,
        write: &CopyWrite<'_>,
    ) -> Result<bool, RecordsError> {
        let mut backoff = Backoff::default();
        let mut tries = 0;
        loop {
            let CopyWrite {
                key,
                condition,
                terms,
            } = write;
            let changed = self
                .change_once(key, expression, Some(condition), terms)
                .await;
            match changed {
                Ok(changed) => return Ok(changed.is_some()),
                Err(RecordsError::Conflict { .. }) if tries < TRIES => {
                    tries += 1;
                    let pause = fastrand::u64(0..=LONGEST_PAUSE_MS);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(error) if error.is_contention() && backoff.pause().await => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> CopiedValue {
        CopiedValue {
            number_name: "activation",
            number: 7,
            attributes: vec![("active", AttributeValue::Bool(false))],
        }
    }

    fn copy(number: AttributeValue, active: bool) -> Item {
        HashMap::from([
            ("activation".to_owned(), number),
            ("active".to_owned(), AttributeValue::Bool(active)),
        ])
    }

    fn at(number: u64) -> AttributeValue {
        item::number(&number)
    }

    #[test]
    fn a_copy_is_written_unless_it_follows_from_this_change_or_a_later_one() {
        let not_later = Some(Condition::NotLater);
        let same = |number: AttributeValue| Some(Condition::Same(number));
        let unreadable = item::text("seven");
        for (copy, condition) in [
            (None, not_later.clone()),
            (Some(HashMap::new()), not_later.clone()),
            (Some(copy(at(6), true)), not_later.clone()),
            (Some(copy(at(6), false)), not_later),
            (Some(copy(at(7), false)), None),
            // Nobody has written another value with the same number.
            (Some(copy(at(7), true)), same(at(7))),
            (Some(copy(at(8), true)), None),
            (Some(copy(at(9), true)), None),
            // No change has reached this number.
            (Some(copy(at(10), true)), same(at(10))),
            (Some(copy(unreadable.clone(), true)), same(unreadable)),
        ] {
            let found = value().condition(copy.as_ref(), 9);
            assert_eq!(found, condition, "{copy:?}");
        }
    }
}
