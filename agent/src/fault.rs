//! Points at which tests end the agent as a power failure would, where no tracer can stop it.
//!
//! Shipped agents have no such points: they exist with the feature `fault-points` only.

/// Ends this process here if a test asks for it.
///
/// A test names the role of the process and the number of the point in `PACKCAST_FAULT`, such as
/// `starter:12:/tmp/ended`. The process creates that file and ends; no process does so if the file
/// exists already.
#[cfg(feature = "fault-points")]
pub(crate) fn point() {
    chosen::count();
}

#[cfg(not(feature = "fault-points"))]
pub(crate) const fn point() {}

#[cfg(feature = "fault-points")]
mod chosen {
    use std::env;
    use std::fs::File;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The exit code of an ended process.
    const ENDED: i32 = 86;

    /// A point of this process, with the file that tells of its end.
    struct Chosen {
        number: u32,
        file: String,
    }

    static CHOSEN: LazyLock<Option<Chosen>> = LazyLock::new(|| {
        let fault = env::var("PACKCAST_FAULT").ok()?;
        let mut parts = fault.splitn(3, ':');
        let (role, number, file) = (parts.next()?, parts.next()?, parts.next()?);
        let own = if env::args().any(|it| it == "--as") {
            "version"
        } else {
            "starter"
        };
        (role == own).then(|| Chosen {
            number: number.parse().unwrap_or_default(),
            file: file.to_owned(),
        })
    });

    static PASSED: AtomicU32 = AtomicU32::new(0);

    #[expect(clippy::exit, reason = "nothing is completed or closed on the way")]
    pub(super) fn count() {
        let Some(chosen) = &*CHOSEN else { return };
        let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if number == chosen.number && File::create_new(&chosen.file).is_ok() {
            std::process::exit(ENDED);
        }
    }
}
