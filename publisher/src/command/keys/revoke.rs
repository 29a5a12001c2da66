//! `packcast keys revoke`: agents trust a key no more.

use packcast_protocol::manifest::MAX_MANIFEST_BYTES;
use packcast_protocol::signature::{MAX_SIGNATURE_BYTES, PublicKey, verify};
use packcast_rollout::PackageRecord;
use packcast_store::ObjectKey;
use serde::Serialize;

use super::lists::{self, Published, signed};
use crate::Globals;
use crate::clock::now;
use crate::command::named;
use crate::command::signer::KeyArg;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// How many packages are looked at: more than a target has.
const PACKAGES: usize = 100_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The key that is trusted no more
    public_key: PublicKey,
    #[command(flatten)]
    key: KeyArg,
}

#[derive(Serialize)]
struct Revoked {
    public_key: String,
    trusted: Vec<String>,
    /// Active packages that agents refuse from now on.
    refused: Vec<String>,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let key = self.key.load(&target)?;
        let published = Published::read(&target, key.public()).await?;
        let list = published.lists.revoke(&self.public_key, now());
        let list = list.map_err(lists::failure)?;
        published.add(&target, &[signed(&list, &key)?]).await?;
        let revoked = Revoked {
            public_key: self.public_key.to_string(),
            trusted: list.keys().iter().map(ToString::to_string).collect(),
            refused: signed_by(&target, &self.public_key).await?,
        };
        output::result(globals.format, &revoked, text);
        if !revoked.refused.is_empty() {
            output::note(
                "agents refuse the packages above from now on: publish each under another version, and assign that",
            );
        }
        lists::warn_of_the_first(&published.lists);
        output::note(
            "a device follows at its next check-in; until then, and where trusted_keys of its configuration names the key and no list reaches it, the key counts",
        );
        Ok(())
    }
}

/// Returns the names of the active packages that this key has signed.
async fn signed_by(target: &Target, key: &PublicKey) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for package in target.records.packages(PACKAGES).await? {
        if package.active && is_signed_by(target, &package, key).await? {
            found.push(named(&package));
        }
    }
    Ok(found)
}

async fn is_signed_by(
    target: &Target,
    package: &PackageRecord,
    key: &PublicKey,
) -> Result<bool, Failure> {
    let place = ObjectKey::manifest(&package.folder, package.id);
    let manifest = target.objects.get(&place, MAX_MANIFEST_BYTES as u64);
    let place = ObjectKey::signature(&package.folder, package.id);
    let signature = target.objects.get(&place, MAX_SIGNATURE_BYTES as u64);
    let (Some(manifest), Some(signature)) = (manifest.await?, signature.await?) else {
        return Ok(false);
    };
    let signature = String::from_utf8_lossy(&signature);
    Ok(verify(&manifest, &signature, std::slice::from_ref(key)).is_ok())
}

fn text(revoked: &Revoked) -> String {
    output::fields([
        ("revoked", revoked.public_key.clone()),
        ("trusted", revoked.trusted.join(", ")),
        ("packages it signed", revoked.refused.join(", ")),
    ])
}
