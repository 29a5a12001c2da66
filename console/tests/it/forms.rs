//! Forms of changes, as a browser without scripts sends them.

use crate::browser::{Answer, Browser};

/// The answers on the way through a change.
#[derive(Debug)]
pub(crate) struct Made {
    /// The page with the effect.
    pub(crate) effect: Answer,
    /// The page with the result.
    pub(crate) result: Answer,
}

/// Encodes fields as a browser does.
pub(crate) fn encoded(fields: &[(String, String)]) -> String {
    let text = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", text(name), text(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Returns the hidden fields of the form of a change.
pub(crate) fn hidden(page: &Answer) -> Vec<(String, String)> {
    let (_, form) = page
        .body
        .split_once("<form class=\"change\"")
        .unwrap_or_else(|| panic!("the page has no form of a change: {page:?}"));
    let (form, _) = form.split_once("</form>").expect("a form ends");
    let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
    let fields = inputs.map(|input| {
        let (name, rest) = input
            .split_once("\" value=\"")
            .expect("a field has a value");
        let (value, _) = rest.split_once('"').expect("a value ends");
        (name.to_owned(), unescaped(value))
    });
    fields.collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

/// Fills the form of a change: the fields that it begins with, and these ones.
pub(crate) async fn filled(
    browser: &Browser,
    path: &str,
    fields: &[(&str, &str)],
) -> Vec<(String, String)> {
    let form = browser.get(path).await;
    assert_eq!(form.status, 200, "{path}: {form:?}");
    let mut filled = hidden(&form);
    let typed = fields.iter();
    filled.extend(typed.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    filled
}

/// Asks for the effect of a change.
pub(crate) async fn plan(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut fields = filled(browser, path, fields).await;
    fields.push(("step".to_owned(), "plan".to_owned()));
    browser.post(path, &encoded(&fields)).await
}

/// Confirms an effect, and returns the answer.
pub(crate) async fn confirm(browser: &Browser, path: &str, effect: &Answer) -> Answer {
    assert_eq!(effect.status, 200, "{path}: {effect:?}");
    let mut fields = hidden(effect);
    fields.push(("step".to_owned(), "perform".to_owned()));
    browser.post(path, &encoded(&fields)).await
}

/// Makes a change, from its form to its result.
pub(crate) async fn make(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Made {
    let effect = plan(browser, path, fields).await;
    let confirmed = confirm(browser, path, &effect).await;
    assert_eq!(confirmed.status, 303, "{path}: {confirmed:?}");
    let location = confirmed
        .header("location")
        .expect("a redirect has a place");
    let result = browser.result(location).await;
    assert_eq!(result.status, 200, "{path}: {result:?}");
    Made { effect, result }
}

/// Checks that a page has these texts.
pub(crate) fn has(page: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(
            page.body.contains(text),
            "{text:?} is missing: {}",
            page.body
        );
    }
}
