//! The admission of requests by their source: pure decisions on the head of a request.
//!
//! Cookies are shared between the ports of a host, and any web page can send requests to loopback. So
//! a console has a random host name of its own, and trusts no request that another page has caused.

use http::header::{COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};

/// The name of the cookie with the session.
pub(crate) const COOKIE_NAME: &str = "packcast-console";

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The path that accepts the token, also from the file that the browser opens.
pub(crate) const SIGN_IN: &str = "/sign-in";

/// The address of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    origin: String,
}

/// A request that is refused before anything else is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request names another host, as after a rebinding of a name in DNS.
    Host,
    /// Another page has caused the request.
    Origin,
}

/// The source of an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A page of the console, or the person.
    Own,
    /// A link of another page. The request has no session.
    Link,
}

impl Address {
    pub(crate) fn new(label: &str, port: u16) -> Self {
        let host = format!("{label}.localhost:{port}");
        let origin = format!("http://{host}");
        Self { host, origin }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Admits a request, or refuses it.
    pub(crate) fn admit(&self, head: &Parts) -> Result<Source, Refusal> {
        let headers = &head.headers;
        let is_host = only(headers, &HOST).is_some_and(|host| host == self.host);
        let authority = head.uri.authority();
        if !is_host || authority.is_some_and(|it| it.as_str() != self.host) {
            return Err(Refusal::Host);
        }
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        // The page in the file has the origin `null`. Its token protects this path.
        let is_sign_in = head.method == Method::POST && head.uri.path() == SIGN_IN;
        let is_own_origin = match only(headers, &ORIGIN) {
            Some(origin) => origin == self.origin || (is_sign_in && origin == "null"),
            // Browsers send no origin with a link, and always one with a form.
            None => is_read && !headers.contains_key(ORIGIN),
        };
        if !is_own_origin {
            return Err(Refusal::Origin);
        }
        match only(headers, &SITE) {
            Some("same-origin" | "none") => Ok(Source::Own),
            None if !headers.contains_key(SITE) => Ok(Source::Own),
            _ if is_sign_in => Ok(Source::Own),
            _ if is_read && only(headers, &MODE) == Some("navigate") => Ok(Source::Link),
            _ => Err(Refusal::Origin),
        }
    }
}

/// Returns the cookie of the session; `None` if the request has no cookie of this name, or several.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut found = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Returns the value of a header; `None` if it is absent, not unique, or not text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const OWN: &str = "abc.localhost:8470";

    /// Returns the answer to a request with these headers.
    fn admitted(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Source, Refusal> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Address::new("abc", 8470).admit(&head)
    }

    fn get(headers: &[(&str, &str)]) -> Result<Source, Refusal> {
        admitted("GET", "/", headers)
    }

    #[test]
    fn only_the_own_host_is_admitted() {
        assert_eq!(get(&[("host", OWN)]), Ok(Source::Own));
        for host in [
            "localhost:8470",
            "127.0.0.1:8470",
            "abc.localhost",
            "abc.localhost:80",
            "abc.localhost:8470.",
            "ABC.localhost:8470",
            "abc.localhost.evil.example:8470",
            "",
        ] {
            assert_eq!(get(&[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(get(&[]), Err(Refusal::Host));
        let twice = [("host", OWN), ("host", "evil.example")];
        assert_eq!(get(&twice), Err(Refusal::Host));
        let absolute = admitted("GET", "http://evil.example/", &[("host", OWN)]);
        assert_eq!(absolute, Err(Refusal::Host));
    }

    #[test]
    fn only_the_own_origin_is_admitted() {
        let origin =
            |method, path, origin| admitted(method, path, &[("host", OWN), ("origin", origin)]);
        let own = "http://abc.localhost:8470";
        assert_eq!(origin("GET", "/", own), Ok(Source::Own));
        assert_eq!(origin("POST", "/check", own), Ok(Source::Own));
        for other in [
            "null",
            "http://localhost:8470",
            "https://abc.localhost:8470",
            "http://abc.localhost:8471",
            "http://evil.example",
            "",
        ] {
            assert_eq!(origin("GET", "/", other), Err(Refusal::Origin), "{other}");
            assert_eq!(origin("POST", "/check", other), Err(Refusal::Origin));
        }
        assert_eq!(origin("POST", SIGN_IN, "null"), Ok(Source::Own));
        let evil = origin("POST", SIGN_IN, "http://evil.example");
        assert_eq!(evil, Err(Refusal::Origin));
        let without = admitted("POST", "/check", &[("host", OWN)]);
        assert_eq!(without, Err(Refusal::Origin));
    }

    #[test]
    fn requests_of_other_sites_are_refused_except_for_links() {
        let from = |site, mode| {
            get(&[
                ("host", OWN),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
            ])
        };
        assert_eq!(from("none", "navigate"), Ok(Source::Own));
        assert_eq!(from("same-origin", "cors"), Ok(Source::Own));
        assert_eq!(from("cross-site", "navigate"), Ok(Source::Link));
        for mode in ["no-cors", "cors", "websocket", "same-origin"] {
            assert_eq!(from("cross-site", mode), Err(Refusal::Origin), "{mode}");
            assert_eq!(from("same-site", mode), Err(Refusal::Origin), "{mode}");
        }
    }

    #[test]
    fn a_cookie_counts_only_if_it_is_unique() {
        let cookies = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, line.parse().unwrap());
            }
            cookie(&headers).map(ToOwned::to_owned)
        };
        assert_eq!(cookies(&["a=b; packcast-console=x"]).as_deref(), Some("x"));
        assert_eq!(cookies(&["packcast-console=x; packcast-console=y"]), None);
        assert_eq!(cookies(&["packcast-console=x", "packcast-console=y"]), None);
        assert_eq!(cookies(&["packcast-consolex=1"]), None);
        assert_eq!(cookies(&[]), None);
    }
}
