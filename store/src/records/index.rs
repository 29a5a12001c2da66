//! The index of a package's devices and their states.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::try_join_all;
use packcast_protocol::{DeviceId, PackageId};

use super::item::{Item, text};
use super::key::{INDEX, INDEX_PK, INDEX_SHARDS, INDEX_SK, index_partition};
use super::{Records, RecordsError};

/// State of a package's deployment on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// A group of the device has the package, and the device has not checked in since. There is
    /// no task yet, so the index does not contain this state.
    Unreached,
    /// The task is not announced yet.
    #[serde(rename = "held")]
    Pending,
    Announced,
    Withdrawn,
    Succeeded,
    Failed,
    Cancelled,
    /// The device runs another system than the package is for.
    #[serde(rename = "not-applicable")]
    NotApplicable,
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unreached => "not checked in since the assignment",
            Self::Pending => "waiting",
            Self::Announced => "announced",
            Self::Withdrawn => "withdrawn",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotApplicable => "not applicable",
        })
    }
}

impl Records {
    /// Returns the devices with a task or a result of a package, with their states.
    ///
    /// The index lags behind: the answer may be some seconds old. Use it only for display.
    pub async fn devices_of(
        &self,
        package: PackageId,
    ) -> Result<BTreeMap<DeviceId, DeploymentState>, RecordsError> {
        let shards = (0..INDEX_SHARDS).map(|shard| self.devices_of_shard(package, shard));
        let shards = try_join_all(shards).await?;
        Ok(shards.into_iter().flatten().collect())
    }

    async fn devices_of_shard(
        &self,
        package: PackageId,
        shard: u16,
    ) -> Result<Vec<(DeviceId, DeploymentState)>, RecordsError> {
        let query = self
            .client
            .query()
            .table_name(self.table())
            .index_name(INDEX)
            .key_condition_expression("#ipk = :ipk")
            .expression_attribute_names("#ipk", INDEX_PK)
            .expression_attribute_values(":ipk", text(index_partition(package, shard)));
        let mut pages = query.into_paginator().send();
        let mut devices = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(error))?;
            for item in page.items.unwrap_or_default() {
                devices.push(device_state(&item)?);
            }
        }
        Ok(devices)
    }
}

fn device_state(item: &Item) -> Result<(DeviceId, DeploymentState), RecordsError> {
    let key = item.get(INDEX_SK).and_then(|key| key.as_s().ok());
    let (state, device) = key.and_then(|key| key.split_once('#')).unwrap_or_default();
    let corrupt = |source| RecordsError::Corrupt {
        key: format!("{INDEX} {state}#{device}"),
        source,
    };
    let state = match state {
        "held" => DeploymentState::Pending,
        "announced" => DeploymentState::Announced,
        "withdrawn" => DeploymentState::Withdrawn,
        "succeeded" => DeploymentState::Succeeded,
        "failed" => DeploymentState::Failed,
        "cancelled" => DeploymentState::Cancelled,
        "not_applicable" => DeploymentState::NotApplicable,
        _ => return Err(corrupt("unknown state".into())),
    };
    let device = device.parse().map_err(|error| corrupt(Box::new(error)))?;
    Ok((device, state))
}
