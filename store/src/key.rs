//! Paths of published objects, and the headers with which they are served.

use packcast_protocol::device::BASE32_LOWER;
use packcast_protocol::location::ObjectPathError;
use packcast_protocol::{FragmentNumber, Location, ObjectPath, PackageId, Sha256Digest};
use packcast_rollout::LocationRecord;

/// Headers of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    pub content_type: &'static str,
    pub cache_control: &'static str,
}

/// The path of an object below a location, with its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectKey {
    path: String,
    headers: Headers,
}

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A neutral type, so that no proxy between origin and device unpacks or transforms a fragment.
const FRAGMENT: Headers = Headers {
    content_type: "application/octet-stream",
    cache_control: IMMUTABLE,
};
const MANIFEST: Headers = Headers {
    content_type: "application/json",
    cache_control: IMMUTABLE,
};
const SIGNATURE: Headers = Headers {
    content_type: "text/plain",
    cache_control: IMMUTABLE,
};
const INFO: Headers = Headers {
    content_type: "application/xml",
    cache_control: IMMUTABLE,
};

const MANIFEST_NAME: &str = "manifest.json";
const SIGNATURE_NAME: &str = "manifest.json.minisig";
const INFO_NAME: &str = "info";

impl ObjectKey {
    pub fn fragment(folder: &ObjectPath, id: PackageId, number: FragmentNumber) -> Self {
        Self {
            path: format!("{folder}/{id}/{id}-{}", number.get()),
            headers: FRAGMENT,
        }
    }

    pub fn manifest(folder: &ObjectPath, id: PackageId) -> Self {
        Self {
            path: format!("{folder}/{id}/{MANIFEST_NAME}"),
            headers: MANIFEST,
        }
    }

    pub fn signature(folder: &ObjectPath, id: PackageId) -> Self {
        Self {
            path: format!("{folder}/{id}/{SIGNATURE_NAME}"),
            headers: SIGNATURE,
        }
    }

    /// Returns the key of the `info` document for one location.
    pub fn info(folder: &ObjectPath, at: &LocationRecord, id: PackageId) -> Self {
        Self {
            path: format!("{folder}/{}/{id}/{INFO_NAME}", segment(at)),
            headers: INFO,
        }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub const fn headers(&self) -> Headers {
        self.headers
    }
}

/// Returns the headers of the object at a path, for an edge that serves a directory.
pub fn headers_of(path: &str) -> Headers {
    match path.rsplit('/').next() {
        Some(MANIFEST_NAME) => MANIFEST,
        Some(SIGNATURE_NAME) => SIGNATURE,
        Some(INFO_NAME) => INFO,
        _ => FRAGMENT,
    }
}

/// Returns the default folder of all packages, for a target that names no other.
pub fn default_prefix() -> ObjectPath {
    "d".parse().expect("one letter is a path")
}

/// Returns the folder of a new package: the target's prefix and a segment that cannot be guessed.
///
/// The 16 bytes must be random, because ids can be guessed and OCS agents cannot authenticate to
/// a CDN.
///
/// # Errors
/// The prefix is longer than 73 characters.
pub fn package_folder(
    prefix: &ObjectPath,
    segment: [u8; 16],
) -> Result<ObjectPath, ObjectPathError> {
    prefix.join(&BASE32_LOWER.encode(&segment))
}

/// Returns the `INFO_LOC` of an OCS agent, to which the agent appends `/<id>/info`.
pub fn info_location(at: &LocationRecord, folder: &ObjectPath) -> Location {
    at.location.join(folder).join(&segment(at))
}

/// Returns the path segment of a location: its name and eight characters derived from its address.
///
/// `info` contains the address and never changes, so a location with a new address needs a new
/// path for `info`.
fn segment(at: &LocationRecord) -> ObjectPath {
    let digest = Sha256Digest::of(at.location.as_str().as_bytes());
    format!(
        "{}-{}",
        at.name,
        BASE32_LOWER.encode(&digest.as_bytes()[..5])
    )
    .parse()
    .expect("a location's name and base32 are a path of one segment")
}

/// Returns the `PACK_LOC` of an OCS agent, to which the agent appends `/<id>/<id>-<n>`.
pub fn pack_location(location: &Location, folder: &ObjectPath) -> Location {
    location.join(folder)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn site() -> LocationRecord {
        LocationRecord {
            name: "site-1".parse().unwrap(),
            location: "cdn.example.net/ocs".parse().unwrap(),
        }
    }

    #[test]
    fn a_location_with_a_new_address_has_a_new_path_for_info() {
        let (folder, id) = ("d/x".parse().unwrap(), "1795327754".parse().unwrap());
        let moved = LocationRecord {
            location: "cdn.example.org/ocs".parse().unwrap(),
            ..site()
        };
        assert_ne!(
            ObjectKey::info(&folder, &site(), id),
            ObjectKey::info(&folder, &moved, id)
        );
    }

    #[test]
    fn every_key_with_its_headers() {
        let folder = package_folder(&default_prefix(), [0xa5; 16]).unwrap();
        let id: PackageId = "1795327754".parse().unwrap();
        let keys = [
            ObjectKey::fragment(&folder, id, FragmentNumber::from_index(0)),
            ObjectKey::manifest(&folder, id),
            ObjectKey::signature(&folder, id),
            ObjectKey::info(&folder, &site(), id),
        ];
        let shown = keys.map(|key| {
            assert_eq!(headers_of(key.path()), key.headers());
            let Headers {
                content_type,
                cache_control,
            } = key.headers();
            format!("{}\n  {content_type}; {cache_control}", key.path())
        });
        assert_snapshot!(shown.join("\n"), @r#"
        d/uws2ljnfuws2ljnfuws2ljnfuu/1795327754/1795327754-1
          application/octet-stream; public, max-age=31536000, immutable
        d/uws2ljnfuws2ljnfuws2ljnfuu/1795327754/manifest.json
          application/json; public, max-age=31536000, immutable
        d/uws2ljnfuws2ljnfuws2ljnfuu/1795327754/manifest.json.minisig
          text/plain; public, max-age=31536000, immutable
        d/uws2ljnfuws2ljnfuws2ljnfuu/site-1-riihsnhy/1795327754/info
          application/xml; public, max-age=31536000, immutable
        "#);
    }

    #[test]
    fn agents_find_the_objects_below_the_announced_locations() {
        let at = site();
        let folder = "d/x".parse().unwrap();
        let id: PackageId = "1795327754".parse().unwrap();
        let below = |location: &Location, path: &str| location.url(path);
        let info = info_location(&at, &folder);
        assert_eq!(
            below(&info, "1795327754/info"),
            below(&at.location, ObjectKey::info(&folder, &at, id).path())
        );
        let pack = pack_location(&at.location, &folder);
        let first = ObjectKey::fragment(&folder, id, FragmentNumber::from_index(0));
        assert_eq!(
            below(&pack, "1795327754/1795327754-1"),
            below(&at.location, first.path())
        );
    }
}
