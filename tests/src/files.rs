//! The segment files of the nodes of a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::{cluster::Cluster, load::until};

/// A segment file: its partition's folder, base and epoch.
pub type Segment = (PathBuf, u64, u32);

/// The segment files of a node, and how long each is.
pub fn files(cluster: &Cluster, id: i32) -> BTreeMap<Segment, u64> {
    fn walk(folder: &Path, found: &mut BTreeMap<Segment, u64>, root: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found, root);
            } else if let Some((base, epoch)) = segment_of(&path) {
                let partition = folder.strip_prefix(root).expect("it was found there").to_owned();
                let bytes = entry.metadata().map_or(0, |file| file.len());
                found.insert((partition, base, epoch), bytes);
            }
        }
    }
    let (mut found, root) = (BTreeMap::new(), user_data(cluster, id));
    walk(&root, &mut found, &root);
    found
}

/// Base and epoch of `<base>.<epoch>.log`.
fn segment_of(path: &Path) -> Option<(u64, u32)> {
    let (base, epoch) = path.file_name()?.to_str()?.strip_suffix(".log")?.split_once('.')?;
    Some((base.parse().ok()?, epoch.parse().ok()?))
}

/// The segments of each node that hold something of their partition. One that was sealed with
/// nothing in it is in no chain, whatever was written to it: the next one begins where it did.
fn segments(cluster: &Cluster) -> Vec<BTreeMap<Segment, u64>> {
    let mut all: Vec<_> = cluster.ids().into_iter().map(|id| files(cluster, id)).collect();
    let known: BTreeSet<Segment> = all.iter().flat_map(|files| files.keys().cloned()).collect();
    let replaced = |segment: &Segment| {
        let (partition, base, epoch) = segment;
        let later = (partition.clone(), *base, epoch + 1)..=(partition.clone(), *base, u32::MAX);
        known.range(later).next().is_some()
    };
    for files in &mut all {
        files.retain(|segment, bytes| *bytes > 0 && !replaced(segment));
    }
    all
}

fn user_data(cluster: &Cluster, id: i32) -> PathBuf {
    cluster.node(id).data_dir().join(format!("node_{id}")).join("user_data")
}

/// What is in a node's copy of a segment.
///
/// # Errors
/// When it has none.
pub fn content(cluster: &Cluster, id: i32, segment: &Segment) -> Result<Vec<u8>> {
    let (partition, base, epoch) = segment;
    let name = partition.join(format!("{base:020}.{epoch}.log"));
    Ok(fs::read(user_data(cluster, id).join(name))?)
}

/// The segments of a node that are sealed for sure: all but the last of each partition.
pub fn sealed(cluster: &Cluster, id: i32) -> BTreeMap<Segment, u64> {
    let all = files(cluster, id);
    let is_last = |segment: &Segment| {
        let (partition, ..) = segment;
        let last = all.range(..=(partition.clone(), u64::MAX, u32::MAX)).next_back();
        last.is_some_and(|(last, _)| last == segment)
    };
    let bytes = |(segment, bytes): (&Segment, &u64)| (segment.clone(), *bytes);
    all.iter().filter(|(segment, _)| !is_last(segment)).map(bytes).collect()
}

/// Waits until every node has every segment, while nobody writes, and compares them byte by byte.
///
/// # Errors
/// When one lacks something, or has something else.
pub fn the_same_on_all(cluster: &Cluster) -> Result<Duration> {
    let took = until("the same segments on all nodes", || {
        let all = segments(cluster);
        !all[0].is_empty() && all.windows(2).all(|pair| pair[0] == pair[1])
    });
    let all = segments(cluster);
    let Ok(took) = took else {
        let known: BTreeSet<&Segment> = all.iter().flat_map(BTreeMap::keys).collect();
        let bytes = |segment| all.iter().map(|files| files.get(segment)).collect::<Vec<_>>();
        let differ = known.into_iter().map(|segment| (segment, bytes(segment)));
        let differ: Vec<_> =
            differ.filter(|(_, bytes)| bytes.windows(2).any(|pair| pair[0] != pair[1])).collect();
        anyhow::bail!("what differs, with its bytes on each node: {differ:#?}");
    };
    for segment in all[0].keys() {
        let read = |id: i32| content(cluster, id, segment);
        let copies: BTreeSet<Vec<u8>> =
            cluster.ids().into_iter().map(read).collect::<Result<_, _>>()?;
        ensure!(copies.len() == 1, "{segment:?} has {} contents", copies.len());
    }
    Ok(took)
}
