//! Published objects, as a CDN would serve them.

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

/// A directory of objects, of which only those below the prefix are served.
#[derive(Debug)]
pub(super) struct PublishedObjects {
    pub(super) root: PathBuf,
    pub(super) prefix: ObjectPath,
}

struct Object {
    file: std::fs::File,
    bytes: u64,
}

impl PublishedObjects {
    /// Tells whether a request is for objects rather than for the check-in handler.
    pub(super) fn own(&self, path: &str) -> bool {
        path.strip_prefix('/')
            .and_then(|path| path.strip_prefix(self.prefix.as_str()))
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Answers with the whole object.
    ///
    /// Conditions and ranges are not looked at: a stock agent that is told 304 for a fragment
    /// never gets past it (protocol reference §8), and 200 is right for both.
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
                tracing::warn!("object {key} cannot be read: {error}");
                plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the object cannot be read",
                )
            }
        }
    }
}

/// Reads a request path as that of an object.
///
/// The paths of objects need no percent-encoding, so that a path with an escape in it names
/// none. Names with a dot in front are those of unfinished objects.
fn key(path: &str) -> Option<ObjectPath> {
    let key: ObjectPath = path.strip_prefix('/')?.parse().ok()?;
    let hidden = key.as_str().split('/').any(|name| name.starts_with('.'));
    (!hidden).then_some(key)
}

/// Opens a regular file; links that lead out of the directory are not followed.
fn open(root: &Path, path: &str) -> io::Result<Option<Object>> {
    let found = Dir::open_ambient_dir(root, ambient_authority()).and_then(|directory| {
        // Asked first, because opening a pipe would wait for its other end.
        if !directory.metadata(path)?.is_file() {
            return Ok(None);
        }
        let file = directory.open(path)?.into_std();
        let bytes = file.metadata()?.len();
        Ok(Some(Object { file, bytes }))
    });
    match found {
        Err(error) if is_absence(&error) => Ok(None),
        found => found,
    }
}

/// Permission is also what a link that leads out is refused with.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

fn respond(object: Object, key: &ObjectPath, method: &Method) -> Response<Body> {
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

/// Streams what was promised and not a byte more, should the file have grown since.
fn stream(object: Object) -> BoxBody<Bytes, io::Error> {
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
    fn plain_paths_are_keys_and_nothing_else_is() {
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
        assert!(objects.own("/d/x"));
        for other in ["/d", "/dx/y", "/v1/check-in", "/", "d/x"] {
            assert!(!objects.own(other), "{other:?}");
        }
    }
}
