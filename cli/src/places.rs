//! The folders of this user that Packcast keeps its own files in.

use etcetera::{AppStrategy as _, AppStrategyArgs, HomeDirError, choose_app_strategy};
use packcast_publisher::{Failure, Places};

#[derive(Debug, thiserror::Error)]
#[error("the home directory is not known")]
struct NoHome(#[from] HomeDirError);

/// Finds the folders by the XDG rules, or by those of the system at hand.
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
