//! Settings of the check-in function for tests.

use packcast_check_in::{FunctionSettings, PassKey};
use packcast_protocol::api::Secret;
use packcast_rollout::Pacing;
use packcast_testing::commits::trust;
use packcast_testing::peer::{ENROLMENT_TOKEN, PATH_TOKEN};

/// Returns the settings of a function that admits every peer.
pub fn settings() -> FunctionSettings {
    let digest = |token: &str| {
        let token: Secret = token.parse().expect("a token");
        token.digest()
    };
    FunctionSettings {
        origin_secrets: Vec::new(),
        path_tokens: vec![digest(PATH_TOKEN)],
        enrolment_tokens: vec![digest(ENROLMENT_TOKEN)],
        pass_key: PassKey::new([9; 32]),
        trust: trust(),
        check_in_interval_s: FunctionSettings::DEFAULT_INTERVAL_S,
        pace: Pacing::default(),
        group_cache_s: FunctionSettings::DEFAULT_GROUP_CACHE_S,
    }
}
