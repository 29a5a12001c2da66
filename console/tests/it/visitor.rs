//! A person who goes through the wizard without JavaScript.

use std::path::Path;

use packcast_protocol::Sha256Digest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::browser::{Answer, Browser};

/// A person with an open session.
pub(crate) struct Visitor {
    pub(crate) browser: Browser,
    pub(crate) form: String,
}

/// The field with the package that a summary shows.
const CONTENT: &str = "content";

/// Returns the package that a summary shows.
pub(crate) fn shown_content(page: &Answer) -> Option<&str> {
    let (_, rest) = page.body.split_once("name=\"content\" value=\"")?;
    rest.split('"').next()
}

/// A boundary of a form with files.
const BOUNDARY: &str = "packcast-test-boundary";

impl Visitor {
    pub(crate) async fn new(browser: &Browser) -> Self {
        let form = browser.get("/publish").await.form_token();
        Self {
            browser: browser.clone(),
            form,
        }
    }

    /// Sends a form, and returns the address that follows.
    pub(crate) async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        answer.header("location").expect("a redirect").to_owned()
    }

    /// Sends a form. The form of a summary says which package was shown.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut pairs = vec![format!("form={}", self.form)];
        if path.ends_with("/summary") && !fields.iter().any(|(name, _)| *name == CONTENT) {
            let (page, _) = self.open(path).await;
            pairs.extend(shown_content(&page).map(|shown| format!("{CONTENT}={shown}")));
        }
        let fields = fields.iter();
        pairs.extend(fields.map(|(name, value)| {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            format!("{name}={value}")
        }));
        self.browser.post(path, &pairs.join("&")).await
    }

    /// Opens a page, waits for work in the background, and follows redirects. Returns the page and its
    /// address.
    pub(crate) async fn open(&self, path: &str) -> (Answer, String) {
        let mut path = path.to_owned();
        loop {
            let answer = self.browser.get(&path).await;
            if answer.status == 303 {
                answer
                    .header("location")
                    .expect("a redirect")
                    .clone_into(&mut path);
            } else if path.contains("/reading") || path.ends_with("/progress") {
                let (wizard, _) = path.rsplit_once('/').expect("an address has a folder");
                let events = format!("{wizard}/live");
                let events = self.browser.read_until(&events, "event: reload").await;
                assert!(events.contains("event: reload"), "{events}");
            } else {
                return (answer, path);
            }
        }
    }

    /// Begins a package until its step with the file. Returns the address of the package.
    pub(crate) async fn until_file(&self, system: &str, task: &str) -> String {
        let next = self.submit("/publish", &[("system", system)]).await;
        let wizard = next.strip_suffix("/task").expect("the second step");
        let next = self.submit(&next, &[("task", task)]).await;
        assert!(next.starts_with(wizard), "{next}");
        wizard.to_owned()
    }

    /// Sends a file in a form, as a browser without JavaScript does.
    pub(crate) async fn send(&self, wizard: &str, name: &str, content: &[u8]) -> Answer {
        self.send_cut(wizard, name, content, 0).await
    }

    /// Sends a file, and goes away before the last bytes.
    pub(crate) async fn send_cut(
        &self,
        wizard: &str,
        name: &str,
        content: &[u8],
        missing: usize,
    ) -> Answer {
        let body = multipart(&[
            ("form", None, self.form.as_bytes()),
            ("file", Some(name), content),
        ]);
        let length = body.len();
        self.send_form(wizard, &body[..length - missing], length)
            .await
    }

    pub(crate) async fn send_form(&self, wizard: &str, body: &[u8], length: usize) -> Answer {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let origin = self.browser.origin();
        let headers = [("origin", origin.as_str()), ("content-type", &kind)];
        let path = format!("{wizard}/send");
        self.browser
            .ask_with_body("POST", &path, &headers, body, length)
            .await
    }

    /// Begins an upload in parts, as the script does.
    pub(crate) async fn begin(&self, wizard: &str, name: &str, content: &[u8]) -> Answer {
        self.compare(wizard, name, content, 0).await
    }

    /// Asks the console to compare its bytes with the first `bytes` of a file.
    pub(crate) async fn compare(
        &self,
        wizard: &str,
        name: &str,
        content: &[u8],
        bytes: usize,
    ) -> Answer {
        let [size, start] = [content.len(), bytes].map(|it| it.to_string());
        let digest = start_digest(&content[..bytes]);
        let fields = [
            ("name", name),
            ("size", &size),
            ("modified", "1795000000000"),
            ("start", &start),
            ("digest", &digest),
        ];
        self.post(&format!("{wizard}/upload"), &fields).await
    }

    /// Sends a part of an upload.
    pub(crate) async fn part(&self, wizard: &str, offset: usize, part: &[u8]) -> Answer {
        self.part_of(wizard, offset, part, part.len()).await
    }

    pub(crate) async fn part_of(
        &self,
        wizard: &str,
        offset: usize,
        part: &[u8],
        length: usize,
    ) -> Answer {
        let origin = self.browser.origin();
        let headers = [("origin", origin.as_str()), ("x-packcast-form", &self.form)];
        let path = format!("{wizard}/upload?offset={offset}");
        self.browser
            .ask_with_body("PUT", &path, &headers, part, length)
            .await
    }
}

/// Returns the digest of the start of a file: that of the digests of its blocks.
pub(crate) fn start_digest(start: &[u8]) -> String {
    const BLOCK: usize = 8 << 20;
    let blocks = start.chunks(BLOCK).map(Sha256Digest::of);
    let digests: Vec<u8> = blocks.flat_map(|digest| *digest.as_bytes()).collect();
    Sha256Digest::of(&digests).to_string()
}

/// Writes a form with files.
pub(crate) fn multipart(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map_or(String::new(), |it| {
            format!("; filename=\"{it}\"\r\nContent-Type: application/octet-stream")
        });
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Returns all files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files.sort();
    files
}
