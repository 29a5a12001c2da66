//! Admission of requests, decided from path and headers alone. Before admission, the function reads
//! neither the body nor the records.

use http::HeaderMap;
use packcast_protocol::api::{Admission, Secret};
use packcast_protocol::enrolment::EnrolmentBatch;
use packcast_protocol::{AgentId, Sha256Digest, UnixTime};
use subtle::{Choice, ConstantTimeEq as _};

use crate::settings::FunctionSettings;

/// Header in which the CDN sends its secret to the function.
pub const ORIGIN_HEADER: &str = "x-packcast-origin";

/// Returns whether a request came through the CDN, if the target has one.
///
/// The function's own address is public. A CDN that spreads the load and hides the address is
/// useless if devices can bypass it.
pub(crate) fn admits_origin(settings: &FunctionSettings, headers: &HeaderMap) -> bool {
    settings.origin_secrets.is_empty()
        || headers
            .get(ORIGIN_HEADER)
            .and_then(|secret| secret.to_str().ok()?.parse::<Secret>().ok())
            .is_some_and(|secret| any_matches(&settings.origin_secrets, secret.digest()))
}

/// Returns whether a path ends in a valid path token of OCS agents.
pub(crate) fn admits_ocs_agent(settings: &FunctionSettings, path: &str) -> bool {
    path_token(path).is_some_and(|token| any_matches(&settings.path_tokens, token.digest()))
}

/// Returns the token at the end of a path such as `/ocsinventory/<token>`.
fn path_token(path: &str) -> Option<Secret> {
    let (_, token) = path.rsplit_once('/')?;
    token.parse().ok()
}

/// Compares with every digest, in a time that does not depend on the one that matches.
fn any_matches(digests: &[Sha256Digest], given: Sha256Digest) -> bool {
    let found = digests.iter().fold(Choice::from(0), |found, digest| {
        found | digest.as_bytes().ct_eq(given.as_bytes())
    });
    found.into()
}

/// Grounds on which a Packcast agent is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grounds {
    /// The agent has a valid pass.
    Pass,
    /// The agent has an enrolment token that the settings name.
    Token,
    /// The agent has the enrolment token of a batch. The table has the number of devices that the
    /// batch has enrolled.
    Batch(EnrolmentBatch),
}

/// Returns the grounds on which a Packcast agent may check in: its pass, or an enrolment token of
/// the target.
pub(crate) fn admits_check_in(
    settings: &FunctionSettings,
    agent: &AgentId,
    admission: &Admission,
    now: UnixTime,
) -> Option<Grounds> {
    let token = match admission {
        Admission::Pass(_) => return admits_report(settings, agent, admission, now),
        Admission::Token(token) => token,
    };
    if any_matches(&settings.enrolment_tokens, token.digest()) {
        return Some(Grounds::Token);
    }
    let batch = settings.pass_key.batch(token)?;
    (now < batch.expires()).then_some(Grounds::Batch(batch))
}

/// Returns the grounds on which a Packcast agent may report results, or ask if it may begin with a
/// package. For both it needs its pass.
pub(crate) fn admits_report(
    settings: &FunctionSettings,
    agent: &AgentId,
    admission: &Admission,
    _: UnixTime,
) -> Option<Grounds> {
    match admission {
        Admission::Pass(pass) => {
            let is_valid = settings.pass_key.verifies(agent, pass);
            is_valid.then_some(Grounds::Pass)
        }
        Admission::Token(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::enrolment::{BatchId, BatchKey};
    use packcast_rollout::Pacing;

    use super::*;
    use crate::pass_key::PassKey;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn settings() -> FunctionSettings {
        let digest = |token: &str| token.parse::<Secret>().unwrap().digest();
        FunctionSettings {
            origin_secrets: Vec::new(),
            path_tokens: vec![digest("path-token-one-1"), digest("path-token-two-2")],
            enrolment_tokens: vec![digest("enrolment-token-1")],
            pass_key: PassKey::new([9; 32]),
            trust: "aaaaaaaaaaaaaaaaaaaaaaaaaa:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
                .parse()
                .unwrap(),
            check_in_interval_s: 3600,
            pace: Pacing::default(),
            group_cache_s: 0,
        }
    }

    fn pass(settings: &FunctionSettings, agent: &AgentId) -> Admission {
        Admission::Pass(settings.pass_key.pass(agent))
    }

    fn token(text: &str) -> Admission {
        Admission::Token(text.parse().unwrap())
    }

    #[test]
    fn requests_that_bypass_the_cdn_are_refused() {
        let with_secret = |secret: &str| {
            HeaderMap::from_iter([(ORIGIN_HEADER.parse().unwrap(), secret.parse().unwrap())])
        };
        let open = settings();
        assert!(admits_origin(&open, &HeaderMap::new()));
        let digest = |secret: &str| secret.parse::<Secret>().unwrap().digest();
        let behind = FunctionSettings {
            origin_secrets: vec![digest("origin-secret-new"), digest("origin-secret-old")],
            ..open
        };
        for good in ["origin-secret-new", "origin-secret-old"] {
            assert!(admits_origin(&behind, &with_secret(good)), "{good}");
        }
        for bad in ["", "origin-secret", "origin-secret-new,origin-secret-new"] {
            assert!(!admits_origin(&behind, &with_secret(bad)), "{bad}");
        }
        assert!(!admits_origin(&behind, &HeaderMap::new()));
    }

    #[test]
    fn paths_need_a_valid_token() {
        let settings = settings();
        for good in [
            "/ocsinventory/path-token-one-1",
            "/path-token-two-2",
            "/a/b/path-token-two-2",
        ] {
            assert!(admits_ocs_agent(&settings, good), "{good}");
        }
        for bad in [
            "/ocsinventory",
            "/",
            "",
            "/ocsinventory/path-token-one-2",
            "/path-token-one-1/",
            "/path-token-one-1x",
        ] {
            assert!(!admits_ocs_agent(&settings, bad), "{bad}");
        }
    }

    #[test]
    fn a_target_without_tokens_admits_nobody() {
        let settings = FunctionSettings {
            path_tokens: Vec::new(),
            enrolment_tokens: Vec::new(),
            ..settings()
        };
        let path = "/ocsinventory/path-token-one-1";
        assert!(!admits_ocs_agent(&settings, path));
        let agent = AgentId::of_public_key(&[1; 32]);
        let token = token("enrolment-token-1");
        assert_eq!(admits_check_in(&settings, &agent, &token, NOW), None);
    }

    #[test]
    fn a_pass_is_valid_for_one_agent_and_one_target() {
        let (settings, agent) = (settings(), AgentId::of_public_key(&[1; 32]));
        let shown = pass(&settings, &agent);
        let other_agent = AgentId::of_public_key(&[2; 32]);
        let other_target = FunctionSettings {
            pass_key: PassKey::new([8; 32]),
            ..settings.clone()
        };
        for admits in [admits_check_in, admits_report] {
            let admits = |settings, agent| admits(settings, agent, &shown, NOW);
            assert_eq!(admits(&settings, &agent), Some(Grounds::Pass));
            assert_eq!(admits(&settings, &other_agent), None);
            assert_eq!(admits(&other_target, &agent), None);
        }
    }

    #[test]
    fn the_enrolment_token_admits_the_check_in_of_any_agent() {
        let (settings, agent) = (settings(), AgentId::of_public_key(&[1; 32]));
        let check_in = |token| admits_check_in(&settings, &agent, token, NOW);
        let good = token("enrolment-token-1");
        assert_eq!(check_in(&good), Some(Grounds::Token));
        assert_eq!(admits_report(&settings, &agent, &good, NOW), None);
        assert_eq!(check_in(&token("enrolment-token-2")), None);
    }

    #[test]
    fn the_token_of_a_batch_admits_check_ins_until_it_expires() {
        let (settings, agent) = (settings(), AgentId::of_public_key(&[1; 32]));
        let expires = NOW.plus(60);
        let batch = EnrolmentBatch::new(BatchId::new(None, [5; 16]), 3, expires).unwrap();
        let of_key = |key| Admission::Token(BatchKey::of_pass_key(key).token(&batch));
        let good = of_key(&[9; 32]);
        let check_in = |token, now| admits_check_in(&settings, &agent, token, now);
        assert_eq!(check_in(&good, NOW), Some(Grounds::Batch(batch.clone())));
        assert_eq!(check_in(&good, expires), None);
        assert_eq!(check_in(&of_key(&[8; 32]), NOW), None);
        assert_eq!(admits_report(&settings, &agent, &good, NOW), None);
    }

    #[test]
    fn a_secret_of_one_kind_is_worthless_as_another() {
        let (settings, agent) = (settings(), AgentId::of_public_key(&[1; 32]));
        let pass = settings.pass_key.pass(&agent);
        let token = "enrolment-token-1".parse().unwrap();
        for swapped in [Admission::Token(pass), Admission::Pass(token)] {
            assert_eq!(admits_check_in(&settings, &agent, &swapped, NOW), None);
            assert_eq!(admits_report(&settings, &agent, &swapped, NOW), None);
        }
    }
}
