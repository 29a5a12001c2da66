//! Figures of the signed state: sizes of proofs, pages and changes. `just state` runs the program.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "the program measures time and prints; only the crate itself is pure"
)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use data_encoding::BASE64;
use packcast_protocol::state::{
    CommitName, LeafName, NodeHash, PagedTree, PartialTree, UpdatedTree,
};
use packcast_protocol::{AgentId, DeviceId, Sha256Digest};

/// Devices of the measured targets.
const DEVICES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// Devices of a group, on average.
const DEVICES_PER_GROUP: u32 = 1_000;

/// Minimum number of groups of a target.
const MIN_GROUPS: u32 = 20;

/// Groups of a device, besides `all`.
const GROUPS_OF_A_DEVICE: u32 = 3;

/// Commits of the last 91 days, 50 a day.
const ANCESTORS: u32 = 91 * 50;

/// Number of paths to load, and of changes to write.
const SAMPLE: u32 = 2_000;

/// Limit for the mean size of the proof of one device, in bytes.
const MAX_MEAN_PROOF: f64 = 800.0;

/// Limit for the mean number of pages on the path to a device.
const MAX_MEAN_PAGES: f64 = 6.0;

type Pages = BTreeMap<NodeHash, Vec<u8>>;

/// The mean and the maximum of some counts.
#[derive(Default)]
struct Spread {
    sum: u64,
    count: u64,
    max: u64,
}

impl Spread {
    fn add(&mut self, value: usize) {
        let value = u64::try_from(value).expect("a size fits into 64 bits");
        self.sum += value;
        self.count += 1;
        self.max = self.max.max(value);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a mean is shown with one decimal"
    )]
    fn mean(&self) -> f64 {
        self.sum as f64 / self.count as f64
    }

    fn print(&self, what: &str) {
        println!(
            "  {what:<44} mean {:>8.1}   maximum {:>7}",
            self.mean(),
            self.max
        );
    }
}

/// The tree of some devices, with its stored pages.
struct Stored {
    tree: PagedTree,
    pages: Pages,
}

impl Stored {
    fn new(names: impl Iterator<Item = LeafName>) -> Self {
        let changes = names.map(|name| (name, Some(digest(0)))).collect();
        let UpdatedTree { tree, pages } = PagedTree::new(NodeHash::EMPTY)
            .update(&changes)
            .expect("an empty tree hides nothing");
        Self {
            tree,
            pages: pages.into_iter().collect(),
        }
    }

    /// Loads the pages on the path to a name, and returns the tree and the sizes of the pages.
    fn load(&self, name: &LeafName) -> (PagedTree, Vec<usize>) {
        let mut tree = PagedTree::new(self.tree.root());
        let mut sizes = Vec::new();
        while let [missing] = tree.missing([name])[..] {
            let page = &self.pages[&missing];
            tree.insert_page(missing, page).expect("the page is intact");
            sizes.push(page.len());
        }
        (tree, sizes)
    }
}

fn device(number: u32) -> LeafName {
    let public_key = Sha256Digest::of(&number.to_be_bytes());
    LeafName::Device(DeviceId::Agent(AgentId::of_public_key(
        public_key.as_bytes(),
    )))
}

fn group(number: u32) -> LeafName {
    LeafName::Group(
        format!("site-{}.floor-{}", number / 10, number % 10)
            .parse()
            .expect("lower-case letters, digits, '-' and '.'"),
    )
}

fn fixed(name: &str) -> LeafName {
    name.parse().expect("the name of a leaf")
}

fn digest(number: u32) -> Sha256Digest {
    Sha256Digest::of(&number.to_le_bytes())
}

/// Write units of an item of this size.
fn write_units(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

/// Prints the figures of a target, and returns whether they are within the limits.
fn measure(devices: u32) -> bool {
    println!("{devices} devices");
    let names: Vec<_> = (0..devices).map(device).collect();
    let start = Instant::now();
    let whole = PartialTree::from_leaves(names.iter().map(|name| (name.clone(), digest(0))));
    println!(
        "  {:<44} {:.2} s",
        "root of all leaves",
        start.elapsed().as_secs_f64()
    );
    let stored = Stored::new(names.iter().cloned());
    assert_eq!(
        stored.tree.root(),
        whole.root(),
        "the layout decides on no hash"
    );
    let mut page = Spread::default();
    stored
        .pages
        .values()
        .for_each(|bytes| page.add(bytes.len()));
    println!(
        "  {:<44} {} with {:.1} MB",
        "pages",
        page.count,
        page.mean() * f64::from(u32::try_from(page.count).expect("fewer pages than devices")) / 1e6
    );
    page.print("bytes of a page");

    let mut proof = Spread::default();
    for name in &names {
        let shown = whole.prove([name]).expect("the whole tree is shown");
        proof.add(shown.to_bytes().len());
    }
    proof.print("bytes of the proof of a device");

    let mut paths = Spread::default();
    let mut written = Spread::default();
    let mut written_pages = Spread::default();
    let mut units = Spread::default();
    let stride = (devices / SAMPLE).max(1);
    for name in names
        .iter()
        .step_by(stride.try_into().expect("32 bits fit"))
    {
        let (tree, sizes) = stored.load(name);
        paths.add(sizes.len());
        let change = [(name.clone(), Some(digest(1)))].into();
        let UpdatedTree { pages, .. } = tree.update(&change).expect("the path is loaded");
        let sizes = || pages.iter().map(|(_, bytes)| bytes.len());
        written_pages.add(pages.len());
        written.add(sizes().sum());
        units.add(sizes().map(write_units).sum());
    }
    paths.print("pages on the path to a device");
    written_pages.print("new pages of a change of one device");
    written.print("bytes of these pages");
    units.print("write units of these pages");
    change_many(&stored, &names);
    reply(devices);
    println!();
    proof.mean() <= MAX_MEAN_PROOF && paths.mean() <= MAX_MEAN_PAGES
}

/// Prints the cost of one commit that changes every tenth device.
fn change_many(stored: &Stored, names: &[LeafName]) {
    let changes: BTreeMap<_, _> = names
        .iter()
        .step_by(10)
        .map(|name| (name.clone(), Some(digest(1))))
        .collect();
    let start = Instant::now();
    let mut tree = PagedTree::new(stored.tree.root());
    let UpdatedTree { pages, .. } = loop {
        match tree.update(&changes) {
            Ok(updated) => break updated,
            Err(hidden) => hidden.hashes().iter().for_each(|hash| {
                tree.insert_page(*hash, &stored.pages[hash])
                    .expect("the page is intact");
            }),
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let bytes: usize = pages.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "  {:<44} {} new pages with {} kB, {seconds:.2} s",
        format!("one change of {} devices", changes.len()),
        pages.len(),
        bytes.div_ceil(1000)
    );
}

/// Prints the size of the trees that a device gets after the change of one group.
fn reply(devices: u32) {
    let count = (devices / DEVICES_PER_GROUP).max(MIN_GROUPS);
    let shared = ["group/all", "location/main", "location/office"].map(fixed);
    let names = (0..count).map(group).chain(shared.iter().cloned());
    let groups = PartialTree::from_leaves(names.map(|name| (name, digest(0))));
    let ancestor = |number: u32| {
        LeafName::Commit(CommitName::new(
            1_795_000_000 + u64::from(number) * 1_728,
            number.to_be_bytes(),
        ))
    };
    let ancestors =
        PartialTree::from_leaves((0..ANCESTORS).map(|number| (ancestor(number), digest(number))));
    let mut text = Spread::default();
    for first in 0..count.min(SAMPLE) {
        let own = (0..GROUPS_OF_A_DEVICE).map(|n| group((first + n * 7) % count));
        let asked: Vec<_> = own.chain(shared.iter().cloned()).collect();
        let trees = [
            groups.prove(&asked),
            ancestors.prove([&ancestor(first % ANCESTORS)]),
        ];
        let trees = trees.map(|tree| tree.expect("a whole tree is shown").to_bytes());
        text.add(
            trees
                .iter()
                .map(|bytes| BASE64.encode_len(bytes.len()))
                .sum(),
        );
    }
    text.print(&format!("base64 trees in a reply, of {count} groups"));
}

fn main() -> ExitCode {
    let met: Vec<_> = DEVICES.into_iter().map(measure).collect();
    println!(
        "limits: a proof of at most {MAX_MEAN_PROOF} bytes and at most {MAX_MEAN_PAGES} pages on a path, on average"
    );
    if met.into_iter().all(|met| met) {
        println!("met");
        ExitCode::SUCCESS
    } else {
        println!("exceeded");
        ExitCode::FAILURE
    }
}
