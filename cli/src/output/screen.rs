//! The circumstances of one run that decide how results look.

use std::sync::OnceLock;

use packcast_protocol::UnixTime;

use super::Format;

/// The circumstances of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    pub(crate) format: Format,
    /// The path of the command, such as `device list`.
    pub(crate) command: String,
    /// The options that name the target, such as `--target prod`; empty for the default.
    pub(crate) target: String,
    /// The number of columns of the terminal; `None` if results are not printed on a terminal.
    pub(crate) columns: Option<u16>,
    /// The time of the run. Times in tables are relative to it; `None` prints absolute times.
    pub(crate) now: Option<UnixTime>,
}

static SCREEN: OnceLock<Screen> = OnceLock::new();

/// Sets the circumstances. A process has one run; later calls have no effect.
pub(crate) fn set(screen: Screen) {
    let _ = SCREEN.set(screen);
}

/// Returns the number of columns of the terminal; `None` if results are not printed on one.
pub(super) fn columns() -> Option<u16> {
    #[cfg(test)]
    if let Some(columns) = tests::COLUMNS.get() {
        return Some(columns);
    }
    get().columns
}

/// Returns the circumstances: by default text without a terminal.
pub(crate) fn get() -> &'static Screen {
    SCREEN.get_or_init(Screen::default)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    thread_local! {
        pub(super) static COLUMNS: Cell<Option<u16>> = const { Cell::new(None) };
    }

    /// Lays out the tables of a text for a terminal of 80 columns, and for one of 140.
    pub(crate) fn on_terminals(text: impl Fn() -> String) -> String {
        let texts = [80, 140].map(|columns| {
            COLUMNS.set(Some(columns));
            let text = crate::fixtures::plain(&text());
            COLUMNS.set(None);
            format!("{columns}:\n{}", text.trim_end())
        });
        texts.join("\n\n")
    }
}
