//! Draws the plots of the documents again, from the values beside them.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Parser;
use packcast_tests::figure::Figure;
use packcast_tests::measure::path_from_root;

/// Draw the plots of all measured values in a folder
#[derive(Parser)]
#[command(bin_name = "just bench-plots")]
struct Args {
    /// Folder with the values as JSON
    #[arg(value_parser = path_from_root::<PathBuf>)]
    from: PathBuf,
    /// Folder for values and plots
    #[arg(value_parser = path_from_root::<PathBuf>)]
    to: PathBuf,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut out = io::stdout();
    for figure in Figure::read_all(&args.from)? {
        figure.save(Some(&args.to))?;
        writeln!(out, "{}.svg: {}", figure.name, figure.title)?;
    }
    Ok(())
}
