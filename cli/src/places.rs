//! The folders of this user for the files of Packcast.

use etcetera::{AppStrategy as _, AppStrategyArgs, HomeDirError, choose_app_strategy};
use packcast_publisher::{Failure, Places};

#[derive(Debug, thiserror::Error)]
#[error("cannot find the home directory")]
struct NoHome(#[from] HomeDirError);

/// Returns the folders by the XDG rules on Unix, or by the rules of the operating system.
pub(crate) fn find() -> Result<Places, Failure> {
    let strategy = choose_app_strategy(AppStrategyArgs {
        top_level_domain: "net".to_owned(),
        author: "Packcast".to_owned(),
        app_name: "packcast".to_owned(),
    })
    .map_err(|error| Failure::failed(NoHome(error)))?;
    Ok(Places {
        config: strategy.config_dir(),
        state: strategy.state_dir().unwrap_or_else(|| strategy.data_dir()),
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_missing_home_directory_is_named() {
        assert_snapshot!(NoHome(HomeDirError), @"cannot find the home directory");
    }
}
