//! openraft's own tests of a log and a state machine, on a real disk and on a simulated one.

use std::{path::Path, sync::Arc};

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
};
use tempfile::TempDir;
use walrus_storage::disk::{Backend, Disk, RealDisk, SimDisk};

use crate::{
    config::RaftConfig, log::LogStore, machine::Machine, snapshots::Snapshots, types::TypeConfig,
};

enum Where {
    Real,
    Simulated,
}

impl StoreBuilder<TypeConfig, LogStore, Machine, Option<TempDir>> for Where {
    async fn build(
        &self,
    ) -> Result<(Option<TempDir>, LogStore, Machine), StorageError<TypeConfig>> {
        match self {
            Self::Real => {
                let folder = tempfile::tempdir().unwrap();
                let (log, machine) = open(Arc::new(RealDisk::new(Backend::Auto)), folder.path());
                Ok((Some(folder), log, machine))
            }
            Self::Simulated => {
                let (log, machine) = open(Arc::new(SimDisk::new(7)), Path::new("/raft_meta"));
                Ok((None, log, machine))
            }
        }
    }
}

fn open(disk: Arc<dyn Disk>, dir: &Path) -> (LogStore, Machine) {
    disk.create_dir_all(dir).unwrap();
    let mut config = RaftConfig::default();
    config.wal.file_bytes = 1 << 20;
    config.wal.files = 2;
    let (log, _) = LogStore::open(Arc::clone(&disk), &dir.join("wal"), &config).unwrap();
    let (machine, _) = Machine::new(Snapshots::new(disk, dir));
    (log, machine)
}

#[test]
fn openraft_accepts_the_log_on_a_real_disk() {
    TypeConfig::run(Suite::test_all(Where::Real)).unwrap();
}

#[test]
fn openraft_accepts_the_log_on_a_simulated_disk() {
    TypeConfig::run(Suite::test_all(Where::Simulated)).unwrap();
}
