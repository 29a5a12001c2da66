//! Configuration of the function, from environment variables.

use std::ops::RangeInclusive;
use std::str::FromStr;

use packcast_protocol::Sha256Digest;
use packcast_protocol::digest::DigestError;
use packcast_protocol::state::TrustedRoots;
use packcast_protocol::state::target::TrustedRootsError;
use packcast_rollout::Pacing;
use packcast_rollout::pacing::{UpTo, UpToError};

use crate::pass_key::PassKey;

/// The settings of one target. Secrets that are only compared are kept as digests.
#[derive(Clone)]
pub struct FunctionSettings {
    /// Digests of the secrets that the CDN sends; any of them is admitted. Empty if the target
    /// has no CDN: then no secret is needed.
    pub origin_secrets: Vec<Sha256Digest>,
    /// Digests of the path tokens of OCS agents (`/ocsinventory/<token>`); any of them is
    /// admitted.
    pub path_tokens: Vec<Sha256Digest>,
    /// Digests of the enrolment tokens of Packcast agents; any of them is admitted.
    pub enrolment_tokens: Vec<Sha256Digest>,
    /// Key of the passes of Packcast agents.
    pub pass_key: PassKey,
    /// Target id and root keys, from which the function follows the key lists.
    pub trust: TrustedRoots,
    /// Seconds between the check-ins of a Packcast agent.
    pub check_in_interval_s: u32,
    /// Pacing of OCS agents, unless a group or a device has its own.
    pub pace: Pacing,
    /// Age up to which a cached group state is used, in seconds. A group's new package may be
    /// announced that much later.
    pub group_cache_s: u64,
}

/// Name and address of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSettings {
    pub table: String,
    pub region: String,
    /// Address of the table, if it is not in the region.
    pub endpoint: Option<String>,
}

/// Errors in an environment variable.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    #[error(
        "environment variable PACKCAST_PASS_KEY is not 64 lower-case hexadecimal digits, or all are zeros"
    )]
    PassKey,
    #[error("environment variable {variable} is not a comma-separated list of SHA-256 digests")]
    Digests {
        variable: &'static str,
        source: DigestError,
    },
    #[error(
        "environment variable {0} is empty: remove it if there is no CDN in front of the function"
    )]
    Empty(&'static str),
    #[error(
        "environment variable {variable} is not a whole number of {unit} from {least} to {most}"
    )]
    OutOfBounds {
        variable: &'static str,
        unit: &'static str,
        least: u64,
        most: u64,
    },
    #[error("environment variable {0} is neither true nor false")]
    Switch(&'static str),
    #[error("environment variable PACKCAST_TRUST is invalid")]
    Trust(#[source] TrustedRootsError),
}

impl FunctionSettings {
    pub const DEFAULT_INTERVAL_S: u32 = 3600;
    pub const DEFAULT_GROUP_CACHE_S: u64 = 60;

    /// Reads the settings from environment variables, which `variable` looks up.
    ///
    /// Required: `PACKCAST_PASS_KEY`, and `PACKCAST_TRUST`, the trust line of the target, as
    /// `packcast keys show` prints it.
    ///
    /// Lists of digests: `PACKCAST_ORIGIN_SECRETS` (absent if there is no CDN in front of the
    /// function), `PACKCAST_PATH_TOKENS` and `PACKCAST_ENROLMENT_TOKENS` (if absent, no agent
    /// is admitted by them).
    ///
    /// Numbers: `PACKCAST_CHECK_IN_INTERVAL_S` and `PACKCAST_GROUP_CACHE_S`.
    ///
    /// Pacing: `PACKCAST_FRAGMENT_PAUSE_S`, `PACKCAST_CYCLE_PAUSE_S`,
    /// `PACKCAST_PERIOD_PAUSE_S`, `PACKCAST_CONTACT_EVERY_H`, `PACKCAST_TIMEOUT_DAYS` and
    /// `PACKCAST_STRICT`.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let key = required(&variable, "PACKCAST_PASS_KEY")?;
        Ok(Self {
            origin_secrets: origin_secrets(&variable, "PACKCAST_ORIGIN_SECRETS")?,
            path_tokens: digests(&variable, "PACKCAST_PATH_TOKENS")?,
            enrolment_tokens: digests(&variable, "PACKCAST_ENROLMENT_TOKENS")?,
            pass_key: PassKey::from_hex(&key).ok_or(SettingsError::PassKey)?,
            trust: trust(&variable)?,
            check_in_interval_s: seconds(
                &variable,
                "PACKCAST_CHECK_IN_INTERVAL_S",
                60..=604_800,
                Self::DEFAULT_INTERVAL_S,
            )?,
            pace: pacing(&variable)?,
            group_cache_s: seconds(
                &variable,
                "PACKCAST_GROUP_CACHE_S",
                0..=3600,
                Self::DEFAULT_GROUP_CACHE_S,
            )?,
        })
    }
}

impl TableSettings {
    /// Reads name and address of the table from environment variables, which `variable` looks
    /// up.
    ///
    /// `PACKCAST_TABLE`; `AWS_REGION`, which Lambda sets; `PACKCAST_TABLE_ENDPOINT`, or else
    /// `AWS_ENDPOINT_URL`, which engines that replace AWS set.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            table: required(&variable, "PACKCAST_TABLE")?,
            region: required(&variable, "AWS_REGION")?,
            endpoint: variable("PACKCAST_TABLE_ENDPOINT").or_else(|| variable("AWS_ENDPOINT_URL")),
        })
    }
}

fn required(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<String, SettingsError> {
    variable(name).ok_or(SettingsError::Missing(name))
}

/// Reads the digests of one secret or, during a rotation, of two.
///
/// An empty variable is an error, because the function would then admit everybody.
fn origin_secrets(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<Vec<Sha256Digest>, SettingsError> {
    let secrets = digests(&variable, name)?;
    if secrets.is_empty() && variable(name).is_some() {
        return Err(SettingsError::Empty(name));
    }
    Ok(secrets)
}

fn digests(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<Vec<Sha256Digest>, SettingsError> {
    let text = variable(name).unwrap_or_default();
    text.split(',')
        .map(str::trim)
        .filter(|digest| !digest.is_empty())
        .map(|digest| {
            digest.parse().map_err(|source| SettingsError::Digests {
                variable: name,
                source,
            })
        })
        .collect()
}

fn trust(variable: impl Fn(&str) -> Option<String>) -> Result<TrustedRoots, SettingsError> {
    let text = required(variable, "PACKCAST_TRUST")?;
    text.trim().parse().map_err(SettingsError::Trust)
}

fn seconds<T: FromStr + PartialOrd + Copy + Into<u64>>(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    bounds: RangeInclusive<T>,
    default: T,
) -> Result<T, SettingsError> {
    let Some(text) = variable(name) else {
        return Ok(default);
    };
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| bounds.contains(seconds))
        .ok_or(SettingsError::OutOfBounds {
            variable: name,
            unit: "seconds",
            least: (*bounds.start()).into(),
            most: (*bounds.end()).into(),
        })
}

/// Reads the pacing of OCS agents; each variable may be absent.
fn pacing(variable: impl Fn(&str) -> Option<String>) -> Result<Pacing, SettingsError> {
    let default = Pacing::default();
    let pause = |name, default| up_to(&variable, name, "seconds", default);
    Ok(Pacing {
        fragment_pause_s: pause("PACKCAST_FRAGMENT_PAUSE_S", default.fragment_pause_s)?,
        cycle_pause_s: pause("PACKCAST_CYCLE_PAUSE_S", default.cycle_pause_s)?,
        period_pause_s: pause("PACKCAST_PERIOD_PAUSE_S", default.period_pause_s)?,
        contact_every_h: up_to(
            &variable,
            "PACKCAST_CONTACT_EVERY_H",
            "hours",
            default.contact_every_h,
        )?,
        timeout_days: up_to(
            &variable,
            "PACKCAST_TIMEOUT_DAYS",
            "days",
            default.timeout_days,
        )?,
        strict: switch(&variable, "PACKCAST_STRICT")?,
    })
}

fn up_to<const MOST: u16>(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    unit: &'static str,
    default: UpTo<MOST>,
) -> Result<UpTo<MOST>, SettingsError> {
    variable(name).map_or(Ok(default), |text| {
        text.parse()
            .map_err(|UpToError { most }| SettingsError::OutOfBounds {
                variable: name,
                unit,
                least: 1,
                most: most.into(),
            })
    })
}

fn switch(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<bool, SettingsError> {
    variable(name).map_or(Ok(false), |text| {
        text.parse().map_err(|_| SettingsError::Switch(name))
    })
}

impl std::fmt::Debug for FunctionSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("origin_secrets", &self.origin_secrets.len())
            .field("path_tokens", &self.path_tokens.len())
            .field("enrolment_tokens", &self.enrolment_tokens.len())
            .field("trust", &self.trust)
            .field("check_in_interval_s", &self.check_in_interval_s)
            .field("pace", &self.pace)
            .field("group_cache_s", &self.group_cache_s)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packcast_protocol::with_causes;

    const ROOT: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    /// Reads these variables; the trust line is valid unless it is among them.
    fn read(variables: &[(&str, &str)]) -> Result<FunctionSettings, SettingsError> {
        FunctionSettings::from_environment(|name| {
            let trust = || (name == "PACKCAST_TRUST").then(trust_line);
            look_up(variables, name).or_else(trust)
        })
    }

    fn trust_line() -> String {
        format!("{}:{ROOT}", "a".repeat(26))
    }

    fn look_up(variables: &[(&str, &str)], name: &str) -> Option<String> {
        let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    }

    #[test]
    fn only_pass_key_and_trust_have_no_default() {
        let key = "1".repeat(64);
        let settings = read(&[("PACKCAST_PASS_KEY", &key)]).unwrap();
        assert!(
            settings.origin_secrets.is_empty()
                && settings.path_tokens.is_empty()
                && settings.enrolment_tokens.is_empty()
                && settings.pace == Pacing::default()
        );
        assert!(matches!(read(&[]), Err(SettingsError::Missing(_))));
    }

    #[test]
    fn the_table_needs_a_name_and_a_region_and_may_have_an_endpoint() {
        let given = [
            ("PACKCAST_TABLE", "packages"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("PACKCAST_TABLE_ENDPOINT", "http://127.0.0.1:8000"),
        ];
        let with = |count| TableSettings::from_environment(|name| look_up(&given[..count], name));
        let endpoint = |count| with(count).unwrap().endpoint;
        assert_eq!(endpoint(2), None);
        assert_eq!(endpoint(3).as_deref(), Some("http://127.0.0.1:4566"));
        assert_eq!(endpoint(4).as_deref(), Some("http://127.0.0.1:8000"));
        for (count, missing) in [(0, "PACKCAST_TABLE"), (1, "AWS_REGION")] {
            let error = with(count).unwrap_err();
            assert!(matches!(error, SettingsError::Missing(name) if name == missing));
        }
    }

    #[test]
    fn an_empty_origin_secret_is_refused() {
        let key = "1".repeat(64);
        let with = |secrets: &str| {
            read(&[
                ("PACKCAST_PASS_KEY", &key),
                ("PACKCAST_ORIGIN_SECRETS", secrets),
            ])
        };
        for empty in ["", " ", ","] {
            assert!(matches!(with(empty), Err(SettingsError::Empty(_))));
        }
        let digest = "0".repeat(64);
        let rotating = with(&format!("{digest},{digest}")).unwrap();
        assert_eq!(rotating.origin_secrets.len(), 2);
    }

    #[test]
    fn the_trust_line_is_required() {
        let key = "1".repeat(64);
        let with = |line: &str| read(&[("PACKCAST_PASS_KEY", &key), ("PACKCAST_TRUST", line)]);
        let line = trust_line();
        let expected = line.parse().unwrap();
        assert_eq!(with(&format!(" {line}\n")).unwrap().trust, expected);
        for invalid in ["", " \n", ROOT] {
            assert!(matches!(with(invalid), Err(SettingsError::Trust(_))));
        }
        let only_key = |name: &str| look_up(&[("PACKCAST_PASS_KEY", &key)], name);
        let absent = FunctionSettings::from_environment(only_key);
        assert!(matches!(
            absent,
            Err(SettingsError::Missing("PACKCAST_TRUST"))
        ));
    }

    #[test]
    fn an_error_names_the_variable_and_hides_its_value() {
        let key = "1".repeat(64);
        for (name, value) in [
            ("PACKCAST_PASS_KEY", "secret-secret"),
            ("PACKCAST_ORIGIN_SECRETS", "secret-secret"),
            ("PACKCAST_PATH_TOKENS", "secret-secret"),
            ("PACKCAST_CHECK_IN_INTERVAL_S", "59"),
            ("PACKCAST_FRAGMENT_PAUSE_S", "0.5"),
            ("PACKCAST_CYCLE_PAUSE_S", "3601"),
            ("PACKCAST_PERIOD_PAUSE_S", "-1"),
            ("PACKCAST_CONTACT_EVERY_H", "169"),
            ("PACKCAST_TIMEOUT_DAYS", "3651"),
            ("PACKCAST_STRICT", "perhaps"),
            ("PACKCAST_GROUP_CACHE_S", "3601"),
        ] {
            let error = read(&[(name, value), ("PACKCAST_PASS_KEY", &key)])
                .unwrap_err()
                .to_string();
            assert!(error.contains(name) && !error.contains(value), "{error}");
        }
    }

    #[test]
    fn error_messages() {
        let key = "1".repeat(64);
        let error = |name: &str, value: &str| {
            let error = read(&[(name, value), ("PACKCAST_PASS_KEY", &key)]);
            with_causes(&error.unwrap_err())
        };
        let lines = [
            with_causes(&read(&[]).unwrap_err()),
            error("PACKCAST_PASS_KEY", "abc"),
            error("PACKCAST_PATH_TOKENS", "abc"),
            error("PACKCAST_ORIGIN_SECRETS", ""),
            error("PACKCAST_CHECK_IN_INTERVAL_S", "59"),
            error("PACKCAST_CONTACT_EVERY_H", "169"),
            error("PACKCAST_STRICT", "perhaps"),
            error("PACKCAST_TRUST", ROOT),
            error("PACKCAST_TRUST", &format!("target:{ROOT}")),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        environment variable PACKCAST_PASS_KEY is not set
        environment variable PACKCAST_PASS_KEY is not 64 lower-case hexadecimal digits, or all are zeros
        environment variable PACKCAST_PATH_TOKENS is not a comma-separated list of SHA-256 digests: "abc" is not a digest of 64 lower-case hexadecimal digits
        environment variable PACKCAST_ORIGIN_SECRETS is empty: remove it if there is no CDN in front of the function
        environment variable PACKCAST_CHECK_IN_INTERVAL_S is not a whole number of seconds from 60 to 604800
        environment variable PACKCAST_CONTACT_EVERY_H is not a whole number of hours from 1 to 168
        environment variable PACKCAST_STRICT is neither true nor false
        environment variable PACKCAST_TRUST is invalid: "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3" is not a trust line: write <target id>:<root key>[,<root key>...]
        environment variable PACKCAST_TRUST is invalid: cannot read the trust line: "target" is not a target id: 26 letters a-z and digits 2-7
        "#);
    }
}
