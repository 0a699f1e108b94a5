//! The node's folder: whose it is, that one process holds it, and how often it was started.
//!
//! ```text
//! <data-dir>/node_<id>/          mode 0700
//!     lock                       held with flock while the process lives; names its pid
//!     identity.json              format, node, storage id, cluster; written when they become known
//!     run.json                   incarnation, boot id, whether the last stop was clean
//!     user_data/                 WAL and segments, the storage crate's
//!     raft_meta/                 Raft's log, vote and snapshots
//! ```
//!
//! Both files are replaced as a whole (write aside, fsync, rename, fsync of the folder) and carry
//! a CRC-32C. Owns neither `user_data` nor `raft_meta` beyond making them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;
use walrus_types::{ClusterId, Incarnation, NodeId, StorageId, batch::crc32c};

/// The one format that this version writes and reads.
const FORMAT: u32 = 1;
const IDENTITY: &str = "identity.json";
const RUN: &str = "run.json";
const LOCK: &str = "lock";
/// Both files are far smaller; a larger one is not ours.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Whose folder it is. Only [`DataDir::bind_cluster`] and [`DataDir::mark_registered`] ever change
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    format: u32,
    /// The node that made the folder.
    pub node_id: NodeId,
    /// Made with the folder, at random.
    pub storage_id: StorageId,
    /// `None` until the node founded or joined a cluster.
    pub cluster_id: Option<ClusterId>,
    /// Whether the node has registered there: from then on it has a metadata log.
    #[serde(default)]
    pub registered: bool,
    /// When the folder was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// One life of the process, as the folder remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    format: u32,
    incarnation: Incarnation,
    boot_id: String,
    clean: bool,
}

/// What the folder tells about the life before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousRun {
    /// Its number.
    pub incarnation: Incarnation,
    /// Whether it ended with [`DataDir::mark_clean`].
    pub clean: bool,
    /// Whether the machine has not been restarted since.
    pub same_boot: bool,
}

/// Why a folder is refused. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system refuses.
    #[error(
        "cannot {what} {path:?}: {error}\n  next: give --data-dir a folder that this user may write"
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Another process holds the folder.
    #[error(
        "{dir:?} is in use by another walrusd ({}): two processes must not write one folder\n  \
         next: stop that one, or give this one its own --node-id or --data-dir",
        pid.map_or_else(|| "its pid is not known".into(), |pid| format!("pid {pid}"))
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// The folder was made by another node.
    #[error(
        "{dir:?} belongs to node {found}, and this node is {asked}\n  \
         next: start with --node-id {}, or give node {asked} a folder of its own", found.0
    )]
    OtherNode {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asks.
        asked: NodeId,
    },
    /// The folder belongs to another cluster.
    #[error(
        "{dir:?} belongs to cluster {found}, and this node is to be in cluster {expected}\n  \
         next: give --data-dir the folder of cluster {expected}, or an empty one"
    )]
    OtherCluster {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// Another version wrote the file.
    #[error(
        "{path:?} has format {found}, and this walrusd ({version}) knows format {FORMAT} only\n  \
         next: start the version of walrusd that wrote the folder",
        version = env!("CARGO_PKG_VERSION")
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The file is not what was written.
    #[error(
        "{path:?} is damaged: {why}\n  next: restore the file from a copy; data beside it was not touched"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that is known.
        why: String,
    },
    /// The node has taken part in a cluster, and what it knew of that is gone. Going on would
    /// found another metadata group under the same name.
    #[error(
        "{dir:?} belongs to cluster {cluster} and has no metadata log in raft_meta/: what this node \
         knew of its topics is gone\n  next: restore that folder from a copy; where other nodes \
         hold the cluster's metadata, remove this node there and start it with an empty --data-dir"
    )]
    MetadataLost {
        /// The folder.
        dir: PathBuf,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// Data without an identity: another program's, or half of a copy.
    #[error(
        "{dir:?} holds {found:?} but no {IDENTITY}: it is not a folder of this walrusd, or not \
         whole\n  next: give --data-dir another folder, or restore the file from a copy"
    )]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// What lies there.
        found: String,
    },
}

/// The node's folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    dir: PathBuf,
    identity: Identity,
    run: Run,
    previous: Option<PreviousRun>,
    /// The flock goes with the file.
    _lock: File,
}

impl DataDir {
    /// Takes hold of `<root>/node_<id>`, makes it where it is not there, and counts the start.
    ///
    /// # Errors
    /// The folder is in use, is another's, or cannot be written.
    pub fn open(
        root: &Path,
        node: NodeId,
        expected: Option<ClusterId>,
    ) -> Result<Self, DataDirError> {
        let dir = root.join(format!("node_{}", node.0));
        make_dir(root)?;
        make_dir(&dir)?;
        let lock = hold(&dir)?;
        let identity = match read::<Identity>(&dir.join(IDENTITY))? {
            Some(identity) => identity,
            None => found(&dir, node, expected)?,
        };
        if identity.node_id != node {
            return Err(DataDirError::OtherNode { dir, found: identity.node_id, asked: node });
        }
        if let (Some(found), Some(expected)) = (identity.cluster_id, expected)
            && found != expected
        {
            return Err(DataDirError::OtherCluster { dir, found, expected });
        }
        let (run, previous) = count_start(&dir)?;
        restrict(&dir)?;
        for part in ["user_data", "raft_meta"] {
            make_dir(&dir.join(part))?;
        }
        Ok(Self { dir, identity, run, previous, _lock: lock })
    }

    /// `<data-dir>/node_<id>`.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Where the store lives.
    pub fn user_data(&self) -> PathBuf {
        self.dir.join("user_data")
    }

    /// Where Raft lives.
    pub fn raft_meta(&self) -> PathBuf {
        self.dir.join("raft_meta")
    }

    /// Whose folder it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// This life of the process: 1 for the first, durable before `open` returned.
    pub fn incarnation(&self) -> Incarnation {
        self.run.incarnation
    }

    /// The life before; `None` in the first.
    pub fn previous_run(&self) -> Option<PreviousRun> {
        self.previous
    }

    /// Writes down that the folder belongs to `cluster`. Again with the same one is nothing.
    ///
    /// # Errors
    /// It belongs to another, or cannot be written.
    pub fn bind_cluster(&mut self, cluster: ClusterId) -> Result<(), DataDirError> {
        match self.identity.cluster_id {
            Some(found) if found == cluster => Ok(()),
            Some(found) => {
                let dir = self.dir.clone();
                Err(DataDirError::OtherCluster { dir, found, expected: cluster })
            }
            None => {
                let identity = Identity { cluster_id: Some(cluster), ..self.identity.clone() };
                replace(&self.dir, IDENTITY, &identity)?;
                self.identity = identity;
                Ok(())
            }
        }
    }

    /// Writes down that the node has registered in its cluster. Again is nothing.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn mark_registered(&mut self) -> Result<(), DataDirError> {
        if self.identity.registered {
            return Ok(());
        }
        let identity = Identity { registered: true, ..self.identity.clone() };
        replace(&self.dir, IDENTITY, &identity)?;
        self.identity = identity;
        Ok(())
    }

    /// That a node which has registered has a metadata log, if `found` says whether there is one.
    ///
    /// # Errors
    /// [`DataDirError::MetadataLost`].
    pub fn expect_metadata<T>(&self, found: Option<&T>) -> Result<(), DataDirError> {
        match self.identity.cluster_id {
            Some(cluster) if self.identity.registered && found.is_none() => {
                Err(DataDirError::MetadataLost { dir: self.dir.clone(), cluster })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Has the next start count on from the lives of another disk, which this one replaces.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn count_on_from(&mut self, last: Incarnation) -> Result<(), DataDirError> {
        let run = Run { incarnation: last.max(self.run.incarnation), ..self.run.clone() };
        replace(&self.dir, RUN, &run)?;
        self.run = run;
        Ok(())
    }

    /// Writes down that everything was flushed before the process ended. The last thing it does.
    ///
    /// # Errors
    /// It cannot be written; the next start then takes this one for unclean.
    pub fn mark_clean(&mut self) -> Result<(), DataDirError> {
        let run = Run { clean: true, ..self.run.clone() };
        replace(&self.dir, RUN, &run)?;
        self.run = run;
        Ok(())
    }
}

/// The folder may have come from a copy, with rights for others.
fn restrict(dir: &Path) -> Result<(), DataDirError> {
    let mode = fs::metadata(dir).map_err(failed("look at", dir))?.permissions().mode();
    if mode & 0o777 == 0o700 {
        return Ok(());
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed("restrict", dir))
}

/// Makes the identity of a folder that has none.
fn found(dir: &Path, node: NodeId, cluster: Option<ClusterId>) -> Result<Identity, DataDirError> {
    for part in ["user_data", "raft_meta"] {
        let path = dir.join(part);
        let mut entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("list", &path)(error)),
        };
        if entries.next().is_some() {
            return Err(DataDirError::Foreign { dir: dir.into(), found: part.into() });
        }
    }
    // The counter first: a folder with an identity always has one, so its loss is noticed.
    let none = Run { format: FORMAT, incarnation: Incarnation(0), boot_id: boot_id(), clean: true };
    replace(dir, RUN, &none)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let identity = Identity {
        format: FORMAT,
        node_id: node,
        storage_id: StorageId(Uuid::new_v4()),
        cluster_id: cluster,
        registered: false,
        created_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    };
    replace(dir, IDENTITY, &identity)?;
    Ok(identity)
}

/// Counts one start, durably.
fn count_start(dir: &Path) -> Result<(Run, Option<PreviousRun>), DataDirError> {
    let path = dir.join(RUN);
    let last: Run = read(&path)?.ok_or_else(|| DataDirError::Damaged {
        path: path.clone(),
        why: "it is missing, and the starts of this node are counted in it".into(),
    })?;
    let boot_id = boot_id();
    let previous = (last.incarnation.0 > 0).then(|| PreviousRun {
        incarnation: last.incarnation,
        clean: last.clean,
        same_boot: last.boot_id == boot_id && !boot_id.is_empty(),
    });
    let incarnation = Incarnation(last.incarnation.0 + 1);
    let run = Run { format: FORMAT, incarnation, boot_id, clean: false };
    replace(dir, RUN, &run)?;
    Ok((run, previous))
}

/// The kernel's name for the time since the machine started; empty where it tells none.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

/// Takes the lock or says who has it.
fn hold(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open", &path))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let told = (&lock).take(32).read_to_string(&mut text);
            let pid = told.ok().and_then(|_| text.trim().parse().ok());
            return Err(DataDirError::InUse { dir: dir.into(), pid });
        }
        Err(error) => return Err(failed("lock", &path)(error.into())),
    }
    lock.set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(failed("write", &path))?;
    Ok(lock)
}

fn failed<'p>(what: &'static str, path: &'p Path) -> impl Fn(io::Error) -> DataDirError + 'p {
    move |error| DataDirError::Io { what, path: path.into(), error }
}

/// Makes a folder and what is missing above it, readable by their owner only, and makes their
/// names durable.
fn make_dir(path: &Path) -> Result<(), DataDirError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    make_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        // Another process was a moment earlier; what is no folder is found out by whoever uses it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(failed("make the folder", path)(error)),
    }
    sync_dir(parent)
}

fn sync_dir(path: &Path) -> Result<(), DataDirError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("flush the folder", path))
}

/// What stands on disk: the facts, and a checksum of their compact JSON.
#[derive(Serialize, Deserialize)]
struct Sealed {
    crc32c: String,
    facts: serde_json::Value,
}

fn checksum(facts: &serde_json::Value) -> String {
    format!("{:08x}", crc32c(facts.to_string().as_bytes()))
}

/// Puts a file in the place of the old one; after a crash it is the old or the new, never half.
fn replace<T: Serialize>(dir: &Path, name: &str, facts: &T) -> Result<(), DataDirError> {
    let (path, aside) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let facts = serde_json::to_value(facts).expect("plain structs are JSON");
    let sealed = Sealed { crc32c: checksum(&facts), facts };
    let mut text = serde_json::to_vec_pretty(&sealed).expect("JSON is text");
    text.push(b'\n');
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&aside, &path)
    };
    write().map_err(failed("write", &path))?;
    sync_dir(dir)
}

/// Reads a file that [`replace`] wrote; `None` where there is none.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DataDirError> {
    let damaged = |why: String| DataDirError::Damaged { path: path.into(), why };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed("read", path))?;
    let sealed: Sealed =
        serde_json::from_slice(&text).map_err(|error| damaged(format!("no such JSON: {error}")))?;
    if checksum(&sealed.facts) != sealed.crc32c {
        return Err(damaged("its checksum does not fit its contents".into()));
    }
    match sealed.facts.get("format").and_then(serde_json::Value::as_u64) {
        Some(found) if found == u64::from(FORMAT) => {}
        Some(found) => return Err(DataDirError::Format { path: path.into(), found }),
        None => return Err(damaged("it names no format".into())),
    }
    serde_json::from_value(sealed.facts)
        .map(Some)
        .map_err(|error| damaged(format!("a fact is missing or of the wrong kind: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn open(root: &Path) -> Result<DataDir, DataDirError> {
        DataDir::open(root, NODE, None)
    }

    #[test]
    fn a_folder_keeps_its_identity_and_counts_its_starts() {
        let root = tempfile::tempdir().unwrap();
        let root = &root.path().join("a/b");
        let mut first = open(root).unwrap();
        let identity = first.identity().clone();
        assert_eq!((first.incarnation(), first.previous_run()), (Incarnation(1), None));
        assert!(first.user_data().is_dir() && first.raft_meta().is_dir());
        let mode = fs::metadata(first.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        first.mark_clean().unwrap();
        drop(first);
        for (incarnation, clean) in [(2, true), (3, false)] {
            let again = open(root).unwrap();
            assert_eq!(*again.identity(), identity);
            assert_eq!(again.incarnation(), Incarnation(incarnation));
            let previous = again.previous_run().unwrap();
            assert_eq!(previous.incarnation, Incarnation(incarnation - 1));
            assert_eq!((previous.clean, previous.same_boot), (clean, true));
        }
    }

    #[test]
    fn the_next_start_is_past_the_lives_of_a_disk_that_was_replaced() {
        let root = tempfile::tempdir().unwrap();
        let mut dir = open(root.path()).unwrap();
        dir.count_on_from(Incarnation(7)).unwrap();
        dir.mark_clean().unwrap();
        drop(dir);
        let mut again = open(root.path()).unwrap();
        assert_eq!(again.incarnation(), Incarnation(8));
        assert!(again.previous_run().unwrap().clean);
        again.count_on_from(Incarnation(7)).unwrap();
        assert_eq!(again.incarnation(), Incarnation(8), "never back");
    }

    #[test]
    fn a_folder_in_use_is_refused_with_the_pid_of_its_holder() {
        let root = tempfile::tempdir().unwrap();
        let held = open(root.path()).unwrap();
        let error = open(root.path()).unwrap_err();
        assert!(
            matches!(error, DataDirError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        drop(held);
        assert!(open(root.path()).is_ok());
    }

    #[test]
    fn a_folder_is_bound_to_one_cluster() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (ClusterId(Uuid::from_u128(1)), ClusterId(Uuid::from_u128(2)));
        let mut dir = open(root.path()).unwrap();
        dir.bind_cluster(one).unwrap();
        dir.bind_cluster(one).unwrap();
        // A founder that ended before its log was made makes it now.
        dir.expect_metadata::<()>(None).unwrap();
        dir.mark_registered().unwrap();
        dir.mark_registered().unwrap();
        assert!(matches!(dir.bind_cluster(other), Err(DataDirError::OtherCluster { .. })));
        drop(dir);
        let error = DataDir::open(root.path(), NODE, Some(other)).unwrap_err().to_string();
        assert!(error.contains(&one.to_string()) && error.contains(&other.to_string()), "{error}");
        let dir = DataDir::open(root.path(), NODE, Some(one)).unwrap();
        assert_eq!(dir.identity().cluster_id, Some(one));
        dir.expect_metadata(Some(&())).unwrap();
        let lost = dir.expect_metadata::<()>(None).unwrap_err().to_string();
        assert!(lost.contains(&one.to_string()) && lost.contains("\n  next: "), "{lost}");
    }

    #[test]
    fn a_folder_that_is_not_ours_is_refused_and_left_as_it_is() {
        let facts = |format: u32, node: i32| {
            let facts = serde_json::json!({ "format": format, "node_id": node,
                "storage_id": Uuid::nil(), "cluster_id": null, "created_ms": 0 });
            serde_json::to_string(&Sealed { crc32c: checksum(&facts), facts }).unwrap()
        };
        for (name, text, expected) in [
            ("identity.json", facts(1, 2), "belongs to node n2, and this node is n1"),
            ("identity.json", facts(2, 1), "has format 2"),
            ("identity.json", facts(1, 1).replace("\"node_id\":1", "\"node_id\":3"), "checksum"),
            ("identity.json", "{".into(), "no such JSON"),
            ("identity.json", String::new(), "no such JSON"),
            ("identity.json", facts(1, 1), "run.json\" is damaged: it is missing"),
            ("user_data/data_plane", "x".into(), "no identity.json"),
            ("raft_meta/log", "x".into(), "no identity.json"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("node_1").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
            let error = open(root.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{name} {text}: {error}");
            assert!(error.contains("\n  next: "), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
