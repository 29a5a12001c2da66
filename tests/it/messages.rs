//! Every error message of the workspace is in a snapshot, so that somebody has read it completely.
//!
//! The messages are the strings of `#[error("…")]`. A message is in a snapshot if a line of an
//! inline snapshot contains it, with any text in place of its placeholders such as `{path}`.

use std::fs;
use std::path::{Path, PathBuf};

/// The reason for messages that only Windows has.
const ON_WINDOWS: &str = "the tests of this code are compiled on Windows only";

/// Messages that need no snapshot, each with the reason.
const EXCEPTIONS: [(&str, &str); 8] = [
    (
        "cannot make configuration folder {} private: remove files of other users from it",
        ON_WINDOWS,
    ),
    (
        "cannot write log file {}: run the command as administrator",
        ON_WINDOWS,
    ),
    (
        "cannot write a configuration from {option}: pass both --server and --trust",
        ON_WINDOWS,
    ),
    ("cannot read the value of {option}", ON_WINDOWS),
    (
        "cannot copy enrolment token {}: pass the absolute path of a file that the system account can read",
        ON_WINDOWS,
    ),
    (
        "cannot write {}: run the command as administrator",
        ON_WINDOWS,
    ),
    (
        "cannot read the log file of the service: run the command as administrator",
        ON_WINDOWS,
    ),
    (
        "cannot connect to the service control manager: only the manager can run this command; start the service with `{}`",
        ON_WINDOWS,
    ),
];

/// The crates that no program contains: their errors appear in tests only.
const ONLY_TESTS: [&str; 2] = ["testing", "tests"];

#[test]
fn every_error_message_stands_in_a_snapshot() {
    let mut sources = Sources::default();
    for file in rust_files(root()) {
        let text = fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(root()).unwrap();
        let is_shipped = !ONLY_TESTS.iter().any(|name| place.starts_with(name));
        sources.read(&place.display().to_string(), &text, is_shipped);
    }
    assert!(sources.messages.len() > 300, "{}", sources.messages.len());
    let mut missing = sources.missing();
    for (message, reason) in EXCEPTIONS {
        let before = missing.len();
        missing.retain(|at| at.text != message);
        assert!(
            missing.len() < before,
            "{message:?} needs no exception ({reason})"
        );
    }
    let list: Vec<String> = missing
        .iter()
        .map(|at| format!("{}: {:?}", at.place, at.text))
        .collect();
    assert!(
        list.is_empty(),
        "{} messages are in no snapshot:\n{}",
        list.len(),
        list.join("\n")
    );
}

#[test]
fn a_planted_message_is_found() {
    let mut sources = Sources::default();
    sources.read("sample.rs", SAMPLE, true);
    let missing = sources.missing();
    let texts: Vec<&str> = missing.iter().map(|at| at.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "planted: {0}",
            "planted over two lines",
            "no \"such\" {thing}"
        ]
    );
    let places: Vec<&str> = missing.iter().map(|at| at.place.as_str()).collect();
    assert_eq!(places, ["sample.rs:4", "sample.rs:6", "sample.rs:9"]);
}

const SAMPLE: &str = r##"
// #[error("in a comment")]
enum Planted<'a> {
    #[error("planted: {0}")]
    Plain(char),
    #[error("planted \
             over two lines")]
    Long(&'a str),
    #[error(r#"no "such" {thing}"#)]
    Raw { thing: String },
    #[error(transparent)]
    Transparent(#[from] io::Error),
    #[error("{0}")]
    OnlyAHole(String),
    #[error("cannot read {}: {{braces}}", path.display())]
    Shown { path: PathBuf },
    #[error("SHA-256 mismatch: expected {expected}, found {actual}")]
    Cause { expected: char, actual: char },
}

#[test]
fn shown() {
    let quote = ['"', '\''];
    assert_eq!(text, "planted: not in a snapshot");
    assert_snapshot!(lines, @"
    cannot read /tmp/x: {braces}
    fragment 3: SHA-256 mismatch: expected a, found b
    an unplanted: message
    ");
    insta::assert_snapshot!(text, @r#"no "such one"#);
}
"##;

/// A message with its place in the sources.
#[derive(Debug)]
struct Message {
    /// The file and the line.
    place: String,
    text: String,
}

/// The messages of source files, and the lines of their snapshots.
#[derive(Default)]
struct Sources {
    messages: Vec<Message>,
    snapshots: Vec<String>,
}

impl Sources {
    /// Reads a file; its messages count if it `is_shipped`.
    fn read(&mut self, place: &str, text: &str, is_shipped: bool) {
        let tokens = tokens(text);
        for (index, token) in tokens.iter().enumerate() {
            let after = &tokens[index + 1..];
            if is_shipped
                && token.is("error")
                && is_attribute(&tokens[..index], after)
                && let Some(text) = after.get(1).and_then(Token::literal)
            {
                self.messages.push(Message {
                    place: format!("{place}:{}", token.line),
                    text: text.to_owned(),
                });
            }
            if token.is("assert_snapshot") {
                let snapshot = inline_snapshot(after).unwrap_or_default();
                let lines = snapshot.lines().map(|line| line.trim().to_owned());
                self.snapshots.extend(lines);
            }
        }
    }

    /// Returns the messages that are in no snapshot.
    fn missing(&self) -> Vec<&Message> {
        let stands = |pattern: &Pattern| self.snapshots.iter().any(|line| pattern.is_in(line));
        self.messages
            .iter()
            .filter(|message| {
                let pattern = Pattern::new(&message.text);
                pattern.has_words() && !stands(&pattern)
            })
            .collect()
    }
}

/// Returns whether the tokens around `error` make it the attribute `#[error(…)]`.
fn is_attribute(before: &[Token], after: &[Token]) -> bool {
    let opens = |tokens: &[Token]| tokens.iter().map(Token::text).eq(["#", "["]);
    before.last_chunk::<2>().is_some_and(|last| opens(last))
        && after.first().is_some_and(|token| token.is("("))
}

/// Returns the literal after `@` in the arguments of a macro.
fn inline_snapshot(after: &[Token]) -> Option<&str> {
    let mut depth = 0_usize;
    for (index, token) in after.iter().enumerate() {
        match token.text() {
            "(" => depth += 1,
            ")" if depth <= 1 => return None,
            ")" => depth -= 1,
            "@" if depth == 1 => return after.get(index + 1).and_then(Token::literal),
            _ => {}
        }
    }
    None
}

/// A message as a pattern: its words, with any text between them.
struct Pattern(Vec<String>);

impl Pattern {
    fn new(message: &str) -> Self {
        let mut words = vec![String::new()];
        let mut chars = message.chars().peekable();
        while let Some(c) = chars.next() {
            let is_doubled = chars.peek() == Some(&c);
            match c {
                '{' | '}' if is_doubled => {
                    chars.next();
                    words.last_mut().unwrap().push(c);
                }
                '{' => {
                    chars.by_ref().find(|c| *c == '}');
                    words.push(String::new());
                }
                c => words.last_mut().unwrap().push(c),
            }
        }
        Self(words)
    }

    /// Returns whether the message has words of its own: `{0}` has none.
    fn has_words(&self) -> bool {
        self.0.concat().contains(char::is_alphabetic)
    }

    /// Returns whether a line contains the whole message, alone or as a part of another message.
    fn is_in(&self, line: &str) -> bool {
        let words = line.split_inclusive(|c: char| !c.is_alphanumeric());
        let mut start = 0;
        words.into_iter().any(|word| {
            let is_found = matches(&self.0, &line[start..]);
            start += word.len();
            is_found
        })
    }
}

/// Returns whether `text` begins with these words, with any text between them, and whether the
/// message or the line ends there.
fn matches(words: &[String], text: &str) -> bool {
    let Some((first, rest)) = words.split_first() else {
        return true;
    };
    let Some(after) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    if rest.is_empty() {
        return after.is_empty() || after.starts_with([':', ';', ',', '.', ')', '"', '\'']);
    }
    // A hole at the end takes all that is left.
    if rest.len() == 1 && rest[0].is_empty() {
        return true;
    }
    let mut starts = after.char_indices().map(|(index, _)| index);
    starts.any(|index| matches(rest, &after[index..])) || matches(rest, "")
}

/// A piece of source code that is neither a comment nor white space.
struct Token {
    line: usize,
    kind: Kind,
}

enum Kind {
    /// A word, or one other character.
    Text(String),
    /// A string literal, with its escapes resolved.
    Literal(String),
}

impl Token {
    fn is(&self, text: &str) -> bool {
        self.text() == text
    }

    fn text(&self) -> &str {
        match &self.kind {
            Kind::Text(text) => text,
            Kind::Literal(_) => "",
        }
    }

    fn literal(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(_) => None,
            Kind::Literal(text) => Some(text),
        }
    }
}

/// Splits source code into tokens.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(c) = rest.chars().next() {
        let (length, kind) = token(rest, c);
        if let Some(kind) = kind {
            tokens.push(Token { line, kind });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// Returns the length of the first token, and the token unless it is a comment or white space.
fn token(rest: &str, c: char) -> (usize, Option<Kind>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |end| end + 2), None);
    }
    if let Some((length, text)) = raw_string(rest) {
        return (length, Some(Kind::Literal(text)));
    }
    if c == '"' {
        let (length, text) = string(rest);
        return (length, Some(Kind::Literal(text)));
    }
    if c == '\'' {
        return (character(rest), None);
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let length = length.max(c.len_utf8());
    let text = rest[..length].to_owned();
    (length, (!c.is_whitespace()).then_some(Kind::Text(text)))
}

/// Reads a literal such as `r#"…"#`.
fn raw_string(rest: &str) -> Option<(usize, String)> {
    let after = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    let opening = after.find(|c| c != '#')?;
    let content = after[opening..].strip_prefix('"')?;
    let closing = format!("\"{}", &after[..opening]);
    let end = content.find(&closing)?;
    let length = rest.len() - content.len() + end + closing.len();
    Some((length, content[..end].to_owned()))
}

/// Reads a literal such as `"…"`.
fn string(rest: &str) -> (usize, String) {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return (index + 1, text),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                // A line break after a backslash is left out, with the blanks that follow.
                Some('\n') => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                Some(c) => text.push(c),
                None => {}
            },
            c => text.push(c),
        }
    }
    (rest.len(), text)
}

/// Returns the length of a character literal, or of the quote before a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars
                .find(|(_, c)| *c == '\'')
                .map_or(rest.len(), |(index, _)| index + 1)
        }
        _ => match chars.next() {
            Some((index, '\'')) => index + 1,
            _ => 1,
        },
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Returns the Rust files in a folder, without hidden folders and build results.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
