//! Published objects, served as a CDN would serve them.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use futures_util::TryStreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use packcast_protocol::ObjectPath;
use packcast_store::key::headers_of;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::response::{Body, plain};

const READ_BYTES: usize = 64 * 1024;

/// A directory of objects; only those below the prefix are served.
#[derive(Debug)]
pub(super) struct PublishedObjects {
    pub(super) root: PathBuf,
    pub(super) prefix: ObjectPath,
}

struct StoredObject {
    file: std::fs::File,
    bytes: u64,
}

impl PublishedObjects {
    /// Returns whether a path is for objects, and not for the check-in handler.
    pub(super) fn owns(&self, path: &str) -> bool {
        path.strip_prefix('/')
            .and_then(|path| path.strip_prefix(self.prefix.as_str()))
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Answers with the whole object.
    ///
    /// Conditions and ranges are ignored: an OCS agent that gets 304 for a fragment never
    /// completes the download (protocol reference §8), and 200 is a valid answer to both.
    pub(super) async fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let Some(key) = key(path) else {
            return not_found();
        };
        let (root, path) = (self.root.clone(), key.to_string());
        let opened = tokio::task::spawn_blocking(move || open(&root, &path)).await;
        match opened.map_err(io::Error::other).flatten() {
            Ok(Some(object)) => respond(object, &key, method),
            Ok(None) => not_found(),
            Err(error) => {
                tracing::warn!("cannot read object {key}: {error}");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "cannot read the object")
            }
        }
    }
}

/// Returns the path of the object that a request path names, or `None` if it names no object.
///
/// The paths of objects need no percent-encoding, so a path with an escape names no object.
/// Names that begin with a dot belong to unfinished objects.
fn key(path: &str) -> Option<ObjectPath> {
    let key: ObjectPath = path.strip_prefix('/')?.parse().ok()?;
    let hidden = key.as_str().split('/').any(|name| name.starts_with('.'));
    (!hidden).then_some(key)
}

/// Opens a regular file; links that lead out of the directory are not followed.
fn open(root: &Path, path: &str) -> io::Result<Option<StoredObject>> {
    let found = Dir::open_ambient_dir(root, ambient_authority()).and_then(|directory| {
        // Checked first, because opening a named pipe would block until its other end is opened.
        if !directory.metadata(path)?.is_file() {
            return Ok(None);
        }
        let file = directory.open(path)?.into_std();
        let bytes = file.metadata()?.len();
        Ok(Some(StoredObject { file, bytes }))
    });
    match found {
        Err(error) if is_absence(&error) => Ok(None),
        found => found,
    }
}

/// Returns whether an error means that there is no such object.
///
/// A link that leads out of the directory is refused with `PermissionDenied`.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

fn respond(object: StoredObject, key: &ObjectPath, method: &Method) -> Response<Body> {
    let headers = headers_of(key.as_str());
    let length = HeaderValue::from(object.bytes);
    let body = if method == Method::HEAD {
        Empty::new().map_err(|never| match never {}).boxed()
    } else {
        stream(object)
    };
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(CONTENT_LENGTH, length);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(headers.content_type));
    fields.insert(
        CACHE_CONTROL,
        HeaderValue::from_static(headers.cache_control),
    );
    response
}

/// Streams as many bytes as `Content-Length` announced, even if the file has grown since.
fn stream(object: StoredObject) -> BoxBody<Bytes, io::Error> {
    let file = tokio::fs::File::from_std(object.file).take(object.bytes);
    let chunks = ReaderStream::with_capacity(file, READ_BYTES);
    StreamBody::new(chunks.map_ok(Frame::data)).boxed()
}

fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "there is no such object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_keys() {
        assert_eq!(key("/d/a/b-1").unwrap().as_str(), "d/a/b-1");
        for bad in [
            "/d/../secrets.json",
            "/d/./a",
            "/d//a",
            "/d/",
            "/d/%2e%2e/a",
            "/d/a%2fb",
            "/d/.partial-x",
            "/d/.hidden/a",
            "/d/a\\b",
            "/d/a\0b",
            "d/a",
        ] {
            assert!(key(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_prefix_is_a_whole_segment() {
        let objects = PublishedObjects {
            root: PathBuf::new(),
            prefix: "d".parse().unwrap(),
        };
        assert!(objects.owns("/d/x"));
        for other in ["/d", "/dx/y", "/v1/check-in", "/", "d/x"] {
            assert!(!objects.owns(other), "{other:?}");
        }
    }
}
