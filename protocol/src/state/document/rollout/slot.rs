//! Slots: the places of devices in the order of a rollout.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::device::DeviceId;
use crate::text_form::text_form;

/// Number of slots. A wave with a bound of 100 has about 1 % of the devices.
pub const SLOTS: u16 = 10_000;

/// 128 random bits, written as 32 lower-case hexadecimal digits.
///
/// The seed is new for each rollout, so that no device is always in the first wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutSeed([u8; 16]);

/// Text that is not the seed of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a rollout's seed: 32 lower-case hexadecimal digits")]
pub struct RolloutSeedError {
    given: String,
}

/// The place of a device in the order of one rollout, 0 to 9,999.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "u16", into = "u16")]
#[schemars(extend("maximum" = SLOTS - 1))]
pub struct Slot(u16);

/// A number that is not a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a slot below {SLOTS}, found {given}")]
pub struct SlotError {
    given: u16,
}

impl RolloutSeed {
    /// Returns the seed with these random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl Slot {
    /// Returns the slot of a device: the first eight bytes of SHA-256(seed ‖ device id as text),
    /// big-endian, modulo 10,000.
    pub fn of(seed: RolloutSeed, device: &DeviceId) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.0);
        hash.update(device.to_string());
        let digest: [u8; 32] = hash.finalize().into();
        let start = digest.first_chunk().expect("a digest has more bytes");
        let slot = u64::from_be_bytes(*start) % u64::from(SLOTS);
        Self(u16::try_from(slot).expect("the number of slots fits"))
    }

    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Slot {
    type Error = SlotError;

    fn try_from(given: u16) -> Result<Self, Self::Error> {
        if given < SLOTS {
            Ok(Self(given))
        } else {
            Err(SlotError { given })
        }
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

impl FromStr for RolloutSeed {
    type Err = RolloutSeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| RolloutSeedError {
            given: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for RolloutSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

text_form!(RolloutSeed, "RolloutSeed", "^[0-9a-f]{32}$");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("AA".repeat(16).parse::<RolloutSeed>().unwrap_err(), @r#""AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" is not a rollout's seed: 32 lower-case hexadecimal digits"#);
        insta::assert_snapshot!(Slot::try_from(10_000).unwrap_err(), @"expected a slot below 10000, found 10000");
        assert_eq!(serde_json::from_str::<Slot>("9999").unwrap().get(), 9_999);
        assert!(serde_json::from_str::<Slot>("10000").is_err());
    }

    proptest! {
        #[test]
        fn a_seed_has_one_text(bytes: [u8; 16]) {
            let seed = RolloutSeed::from_bytes(bytes);
            prop_assert_eq!(seed.to_string().parse(), Ok(seed));
        }
    }

    /// The largest deviation in 100 groups of slots is far below this limit for a fair order.
    #[test]
    fn devices_are_spread_over_all_slots() {
        let seed = RolloutSeed::from_bytes([7; 16]);
        let mut counts = [0_u32; 100];
        for n in 0..20_000 {
            let device = format!("ocs:host-{n}-2026-03-04-05-06-07");
            let slot = Slot::of(seed, &device.parse().unwrap());
            counts[usize::from(slot.get() / 100)] += 1;
        }
        assert!(counts.iter().all(|count| (120..280).contains(count)));
    }
}
