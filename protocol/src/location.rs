//! Locations: addresses that serve published objects.

use std::fmt;
use std::str::FromStr;

use crate::text_form::text_form;

/// An address that serves published objects: `host[:port][/path]`, always over HTTPS.
///
/// It has no scheme, because OCS agents put `https://` before it themselves. It has no query,
/// because they append a path (protocol reference §2.4, §4.4). It has at most 343 characters of
/// `A-Z a-z 0-9 . _ - / :`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(String);

/// Errors in the text of a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    #[error("location {given:?} has a scheme: write host[:port]/path; HTTPS is always used")]
    Scheme { given: String },
    #[error("location {given:?} has an empty, '.' or '..' path segment, or a slash at its end")]
    Segment { given: String },
    #[error("location {given:?} has no host name before its path")]
    Host { given: String },
    #[error("location {given:?} has a port that is not a number from 1 to 65535")]
    Port { given: String },
    #[error(
        "location {given:?} may only hold letters, digits and . _ - / : and at most 343 of them"
    )]
    Characters { given: String },
}

impl Location {
    /// Length of the longest location: 200 characters of the administrator, an object path, and
    /// a segment of the package.
    const MAX_BYTES: usize = 200 + 1 + 100 + 1 + 41;

    /// Returns a location of the greatest length, to test whether every location would fit.
    pub fn longest() -> Self {
        Self("x".repeat(Self::MAX_BYTES))
    }

    /// Returns the location of a path below this location.
    #[must_use]
    pub fn join(&self, path: &ObjectPath) -> Self {
        Self(format!("{}/{path}", self.0))
    }

    /// Returns the HTTPS address of a path below this location.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let given = || text.chars().take(80).collect::<String>();
        if text.contains("://") {
            return Err(LocationError::Scheme { given: given() });
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/:".contains(&b);
        if text.len() > Self::MAX_BYTES || !text.bytes().all(allowed) {
            return Err(LocationError::Characters { given: given() });
        }
        let (authority, path) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let (host, port) = authority
            .split_once(':')
            .map_or((authority, None), |(h, p)| (h, Some(p)));
        let label =
            |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
        if !host.split('.').all(label) {
            return Err(LocationError::Host { given: given() });
        }
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err(LocationError::Port { given: given() });
        }
        let segment = |segment: &str| {
            !segment.is_empty() && segment != "." && segment != ".." && !segment.contains(':')
        };
        if path.is_some_and(|path| !path.split('/').all(segment)) {
            return Err(LocationError::Segment { given: given() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(
    Location,
    "Location",
    "^[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._-]+)*$"
);

/// A relative path below a location: segments of `A-Z a-z 0-9 . _ -`, at most 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(String);

/// Text that is not a relative path of plain segments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a path such as d or pub/packcast: letters, digits and . _ - between single slashes"
)]
pub struct ObjectPathError {
    given: String,
}

impl ObjectPath {
    /// Returns the path of a segment below this path.
    pub fn join(&self, segment: &str) -> Result<Self, ObjectPathError> {
        format!("{}/{segment}", self.0).parse()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectPath {
    type Err = ObjectPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let segment = |segment: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
        };
        if text.len() <= 100 && text.split('/').all(segment) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ObjectPathError {
                given: text.chars().take(80).collect(),
            })
        }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(
    ObjectPath,
    "ObjectPath",
    "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"
);

/// The name that administrators give a location: 1 to 32 lower-case letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocationName(String);

/// Text that is not the name of a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a location's name: 1 to 32 lower-case letters, digits and '-'")]
pub struct LocationNameError {
    given: String,
}

impl FromStr for LocationName {
    type Err = LocationNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(LocationNameError {
                given: text.chars().take(64).collect(),
            })
        }
    }
}

impl fmt::Display for LocationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(LocationName, "LocationName", "^[a-z0-9-]{1,32}$");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn a_location_is_a_host_with_optional_port_and_path() {
        for good in [
            "cdn.example.net",
            "cdn.example.net/ocs",
            "127.0.0.1:8443/a/b.c",
            "depot",
        ] {
            assert_eq!(good.parse::<Location>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn locations_that_would_break_an_agent_are_refused() {
        for bad in [
            "https://cdn.example.net/ocs",
            "http://x",
            "",
            "/ocs",
            "cdn.example.net/",
            "cdn/a//b",
            "cdn/../x",
            "cdn/./x",
            "cdn:0/x",
            "cdn:70000",
            "cdn:/x",
            "user@cdn/x",
            "cdn/x?token=1",
            "cdn/a b",
            "cdn/a:b",
            ".cdn",
            "-cdn",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn error_messages() {
        let error = |text: &str| text.parse::<Location>().unwrap_err();
        insta::assert_snapshot!(messages([
            error("https://cdn"),
            error("cdn/../x"),
            error("/ocs"),
            error("cdn:0/x"),
            error("cdn/a b"),
        ]), @r#"
        location "https://cdn" has a scheme: write host[:port]/path; HTTPS is always used
        location "cdn/../x" has an empty, '.' or '..' path segment, or a slash at its end
        location "/ocs" has no host name before its path
        location "cdn:0/x" has a port that is not a number from 1 to 65535
        location "cdn/a b" may only hold letters, digits and . _ - / : and at most 343 of them
        "#);
        insta::assert_snapshot!("/x".parse::<ObjectPath>().unwrap_err(), @r#""/x" is not a path such as d or pub/packcast: letters, digits and . _ - between single slashes"#);
        insta::assert_snapshot!("CDN".parse::<LocationName>().unwrap_err(), @r#""CDN" is not a location's name: 1 to 32 lower-case letters, digits and '-'"#);
    }
}
