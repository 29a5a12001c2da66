//! Items that are found by a digest of their content.
//!
//! A writer may store such an item again, so writes need no condition: under one key there is only
//! one content, or in the case of pages one set of leaves.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{PutRequest, ReturnConsumedCapacity, WriteRequest};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::backoff::Backoff;
use super::super::error::TableFault;
use super::super::item::Item;
use super::super::{Records, RecordsError};

/// Maximum number of items that one request can write.
const BATCH: usize = 25;

/// Number of requests at a time.
const AT_ONCE: usize = 4;

impl Records {
    /// Writes items, in no particular order.
    ///
    /// If the function fails, some of the items may be written. The caller can write all of them
    /// again.
    pub(super) async fn put_all(&self, items: Vec<Item>) -> Result<(), RecordsError> {
        let batches: Vec<Vec<Item>> = items.chunks(BATCH).map(<[Item]>::to_vec).collect();
        stream::iter(batches)
            .map(|batch| self.put_batch(batch))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn put_batch(&self, items: Vec<Item>) -> Result<(), RecordsError> {
        let mut left: Vec<WriteRequest> = items.into_iter().map(request).collect();
        let mut backoff = Backoff::default();
        while !left.is_empty() {
            let requests = &left;
            let output = self
                .persevere(|| async move {
                    self.client
                        .batch_write_item()
                        .set_request_items(Some(HashMap::from([(
                            self.table().to_owned(),
                            requests.clone(),
                        )])))
                        .return_consumed_capacity(ReturnConsumedCapacity::Total)
                        .send()
                        .await
                        .map_err(|error| self.failed(error))
                })
                .await?;
            let unprocessed = output.unprocessed_items.unwrap_or_default();
            left = unprocessed.into_values().flatten().collect();
            if !left.is_empty() && !backoff.pause().await {
                let incomplete = "the service did not complete a batch of writes";
                return Err(self.fault(TableFault::Throttled, incomplete));
            }
        }
        Ok(())
    }
}

fn request(item: Item) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item));
    WriteRequest::builder()
        .put_request(put.build().expect("the item is set"))
        .build()
}
