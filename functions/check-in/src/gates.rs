//! Cache of the gates of rollouts that a warm function has read.
//!
//! A cached gate is only a hint: each change of a gate is written under conditions that fail if the
//! decision would be different today.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packcast_protocol::UnixTime;
use packcast_protocol::state::RolloutId;
use packcast_rollout::rollout::{AnnouncedAhead, Gate, GateChange};
use packcast_store::{Records, RecordsError};

use crate::answer;

/// Capacity of the cache, in gates of at most 1 KiB. A full cache is emptied.
const MAX_GATES: usize = 1000;

/// Cached gates.
#[derive(Debug)]
pub(crate) struct Gates {
    /// Age up to which a gate is used without a read, in seconds.
    max_age_s: u64,
    cached: Mutex<HashMap<RolloutId, CachedGate>>,
    /// Devices that were told, and have no place yet. The count of a rollout stays when its gate is
    /// read again.
    ahead: Mutex<HashMap<RolloutId, AnnouncedAhead>>,
}

#[derive(Clone, Debug)]
struct CachedGate {
    read_at: UnixTime,
    /// `None` if the rollout had no gate.
    gate: Option<Gate>,
}

/// A gate, and the age of its read.
#[derive(Clone, Debug)]
pub(crate) struct KnownGate {
    /// `None` if the rollout has no gate, or an unreadable one.
    pub(crate) gate: Option<Gate>,
    /// The gate was read for this request.
    pub(crate) is_fresh: bool,
}

impl Gates {
    /// Creates an empty cache whose gates are used for `max_age_s` seconds.
    pub(crate) fn new(max_age_s: u64) -> Self {
        Self {
            max_age_s,
            cached: Mutex::default(),
            ahead: Mutex::default(),
        }
    }

    /// Returns the gate of a rollout, as of the last minute.
    pub(crate) async fn one(
        &self,
        records: &Records,
        rollout: RolloutId,
        now: UnixTime,
    ) -> Result<KnownGate, RecordsError> {
        self.one_within(records, rollout, self.max_age_s, now).await
    }

    /// Returns the gate of a rollout. A cached gate is used if it is younger than `max_age_s`
    /// seconds.
    pub(crate) async fn one_within(
        &self,
        records: &Records,
        rollout: RolloutId,
        max_age_s: u64,
        now: UnixTime,
    ) -> Result<KnownGate, RecordsError> {
        let max_age_s = max_age_s.min(self.max_age_s);
        if let Some(cached) = self.lock().get(&rollout)
            && now.since(cached.read_at) < max_age_s
        {
            return Ok(KnownGate {
                gate: cached.gate.clone(),
                is_fresh: false,
            });
        }
        let gate = match records.gate(rollout).await {
            Err(error @ RecordsError::Corrupt { .. }) => {
                answer::log_records_error(&error);
                None
            }
            gate => gate?,
        };
        let mut cached = self.lock();
        // Emptying is rare and cheap: each rollout is read again.
        if cached.len() >= MAX_GATES {
            cached.clear();
            self.ahead().clear();
        }
        let read = CachedGate {
            read_at: now,
            gate: gate.clone(),
        };
        cached.insert(rollout, read);
        Ok(KnownGate {
            gate,
            is_fresh: true,
        })
    }

    /// Returns the gate that was read last, however old.
    pub(crate) fn last(&self, rollout: RolloutId) -> Option<Gate> {
        self.lock().get(&rollout)?.gate.clone()
    }

    /// Makes a change in the cache that is on record.
    pub(crate) fn apply(&self, rollout: RolloutId, change: &GateChange) {
        let mut cached = self.lock();
        if let Some(gate) = cached.get_mut(&rollout).and_then(|it| it.gate.as_mut()) {
            // A gate that the change does not fit is older than the one on record.
            change.apply(gate);
        }
    }

    /// Removes the gate of a rollout from the cache.
    pub(crate) fn invalidate(&self, rollout: RolloutId) {
        self.lock().remove(&rollout);
    }

    /// Returns true if a Packcast agent may be told of a package whose gate has `free` places.
    pub(crate) fn has_room(&self, rollout: RolloutId, free: u32, now: UnixTime) -> bool {
        let mut ahead = self.ahead();
        ahead.entry(rollout).or_default().has_room(free, now)
    }

    /// Notes that a Packcast agent was told of the package of a rollout.
    pub(crate) fn told(&self, rollout: RolloutId, now: UnixTime) {
        self.ahead().entry(rollout).or_default().told(now);
    }

    /// Notes that a Packcast agent has taken a place.
    pub(crate) fn begun(&self, rollout: RolloutId) {
        if let Some(ahead) = self.ahead().get_mut(&rollout) {
            ahead.begun();
        }
    }

    fn ahead(&self) -> MutexGuard<'_, HashMap<RolloutId, AnnouncedAhead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RolloutId, CachedGate>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
