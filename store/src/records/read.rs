//! Reading by key and by range.

use std::collections::HashSet;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::de::DeserializeOwned;

use super::backoff::Backoff;
use super::error::TableFault;
use super::item::{self, Item, PK, SK, text};
use super::key::{Key, Range};
use super::{Records, RecordsError};

/// Maximum number of items that one request can read.
const BATCH: usize = 100;

/// Number of these requests at a time.
const BATCHES_AT_ONCE: usize = 4;

/// Items that a Query found, with the consumed read units.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) items: Vec<Item>,
    pub(super) consumed_units: f64,
}

impl Records {
    /// Reads one record, strongly consistent.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<T>, RecordsError> {
        self.get_item(key).await?.map(item::read).transpose()
    }

    /// Reads one item, strongly consistent.
    pub(super) async fn get_item(&self, key: &Key) -> Result<Option<Item>, RecordsError> {
        let output = self
            .client
            .get_item()
            .table_name(self.table())
            .set_key(Some(key.attributes()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        Ok(output.item)
    }

    /// Reads a range of one partition, strongly consistent, in the order of the sort keys.
    pub(super) async fn range(&self, range: &Range) -> Result<Found, RecordsError> {
        let (mut found, mut start) = (Found::default(), None);
        loop {
            // Nearly every range is one page, for which a paginator would cost a task of its own.
            let query = self.query(range).set_exclusive_start_key(start);
            // Boxed, because the future of a request is large, and those of all callers contain it.
            let page = Box::pin(query.send()).await;
            let page = page.map_err(|error| self.failed(error))?;
            found.items.append(&mut page.items.unwrap_or_default());
            found.consumed_units += page
                .consumed_capacity
                .and_then(|consumed| consumed.capacity_units)
                .unwrap_or_default();
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// Returns a strongly consistent Query for a range.
    pub(super) fn query(&self, range: &Range) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(self.table())
            .consistent_read(true)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :first AND :last")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":pk", text(&range.pk))
            .expression_attribute_values(":first", text(&range.first))
            .expression_attribute_values(":last", text(&range.last))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// Reads a range of records of one kind.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        range: &Range,
    ) -> Result<Vec<T>, RecordsError> {
        let found = self.range(range).await?;
        found.items.into_iter().map(item::read).collect()
    }

    /// Reads the first `most` records of a range, in the order of the sort keys.
    pub(super) async fn first<T: DeserializeOwned>(
        &self,
        range: &Range,
        most: usize,
    ) -> Result<Vec<T>, RecordsError> {
        self.some(self.query(range), most).await
    }

    /// Reads the last `most` records of a range, in reverse order.
    pub(super) async fn last<T: DeserializeOwned>(
        &self,
        range: &Range,
        most: usize,
    ) -> Result<Vec<T>, RecordsError> {
        let query = self.query(range).scan_index_forward(false);
        self.some(query, most).await
    }

    async fn some<T: DeserializeOwned>(
        &self,
        query: QueryFluentBuilder,
        most: usize,
    ) -> Result<Vec<T>, RecordsError> {
        let page = i32::try_from(most).unwrap_or(i32::MAX).max(1);
        let mut pages = query.limit(page).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(error))?;
            found.extend(page.items.unwrap_or_default());
            // A page may end early, at 1 MB, so one page is not always enough.
            if found.len() >= most {
                break;
            }
        }
        found.truncate(most);
        found.into_iter().map(item::read).collect()
    }

    /// Reads the items with these keys, strongly consistent and in no particular order. Keys
    /// without an item are left out, and an item whose key is given twice is returned once.
    pub(super) async fn batch(&self, keys: &[Key]) -> Result<Vec<Item>, RecordsError> {
        self.batch_of(keys, true).await
    }

    /// Reads the items with these keys like [`Records::batch`], for a list or a count.
    ///
    /// A handle for display reads them eventually consistent, for half of the units: see
    /// [`Records::for_display`].
    pub(super) async fn listed_batch(&self, keys: &[Key]) -> Result<Vec<Item>, RecordsError> {
        self.batch_of(keys, !self.is_for_display).await
    }

    /// Reads the items with these keys like [`Records::batch`]. The key of each item is the digest of its
    /// content, so an item that is found is never old.
    ///
    /// A handle for display reads them eventually consistent at first, for half of the units, and
    /// strongly consistent if some are missing.
    pub(super) async fn unchanging_batch(&self, keys: &[Key]) -> Result<Vec<Item>, RecordsError> {
        let found = self.listed_batch(keys).await?;
        if self.is_for_display && found.len() < keys.len() {
            return self.batch(keys).await;
        }
        Ok(found)
    }

    async fn batch_of(&self, keys: &[Key], is_consistent: bool) -> Result<Vec<Item>, RecordsError> {
        // DynamoDB refuses a request with the same key twice.
        let mut seen = HashSet::with_capacity(keys.len());
        let keys: Vec<&Key> = keys.iter().filter(|key| seen.insert(*key)).collect();
        let batches: Vec<KeysAndAttributes> = keys
            .chunks(BATCH)
            .map(|keys| wanted(keys, is_consistent))
            .collect();
        stream::iter(batches)
            .map(|batch| self.one_batch(batch))
            .buffered(BATCHES_AT_ONCE)
            .try_concat()
            .await
    }

    /// Reads the items of one batch.
    async fn one_batch(&self, batch: KeysAndAttributes) -> Result<Vec<Item>, RecordsError> {
        let mut items = Vec::with_capacity(batch.keys().len());
        let mut left = Some(batch);
        let mut backoff = Backoff::default();
        while let Some(wanted) = left {
            let output = self
                .client
                .batch_get_item()
                .request_items(self.table(), wanted)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| self.failed(error))?;
            let found = output.responses.into_iter().flatten();
            items.extend(found.flat_map(|(_, items)| items));
            left = output
                .unprocessed_keys
                .and_then(|mut keys| keys.remove(self.table()));
            if left.is_some() && !backoff.pause().await {
                let incomplete = "the service did not complete a batch of reads";
                return Err(self.fault(TableFault::Throttled, incomplete));
            }
        }
        Ok(items)
    }
}

fn wanted(keys: &[&Key], is_consistent: bool) -> KeysAndAttributes {
    KeysAndAttributes::builder()
        .consistent_read(is_consistent)
        .set_keys(Some(keys.iter().map(|key| key.attributes()).collect()))
        .build()
        .expect("the keys are set")
}
