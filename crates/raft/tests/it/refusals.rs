//! What a member refuses, by name.

use std::{path::Path, sync::Arc, time::Duration};

use uuid::Uuid;
use walrus_metadata::{Command, ConfigResource, SetConfigs};
use walrus_raft::{
    FileError, Identity, IdentityError, LogOpenError, MetadataNode, OpenError, ProposeError,
};
use walrus_storage::disk::{Disk, OpenMode, SimDisk, SimFaults};
use walrus_types::{ClusterId, StorageId};

use crate::world::{CLUSTER, IDENTITY, STORAGE, register, sim_dir, small, start};

fn used_disk() -> SimDisk {
    let disk = SimDisk::new(1);
    let life = start(Arc::new(disk.clone()), &sim_dir(), IDENTITY, small()).unwrap();
    life.propose(&register(1)).unwrap();
    life.runtime.block_on(async {
        life.node.snapshot().await.unwrap();
        while life.node.metrics()["purged"].is_null() {
            tokio::task::yield_now().await;
        }
    });
    life.propose(&Command::ProducerIds).unwrap();
    life.stop();
    disk
}

#[track_caller]
fn refused(disk: SimDisk, identity: Identity) -> OpenError {
    match start(Arc::new(disk), &sim_dir(), identity, small()) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[test]
fn a_log_of_another_disk_or_cluster_is_refused_with_both_names() {
    let disk = used_disk();
    let storage = StorageId(Uuid::from_u128(0x52));
    let error = refused(disk.clone(), Identity { storage, ..IDENTITY });
    let is_storage = matches!(
        error,
        OpenError::Identity(IdentityError::Storage { ours, found })
            if (ours, found) == (storage, STORAGE)
    );
    assert!(is_storage, "{error}");

    let cluster = ClusterId(Uuid::from_u128(0xC2));
    let error = refused(disk.clone(), Identity { cluster, ..IDENTITY });
    let is_cluster = matches!(
        error,
        OpenError::Identity(IdentityError::Cluster { ours, found })
            if (ours, found) == (cluster, CLUSTER)
    );
    assert!(is_cluster, "{error}");
    let text = error.to_string();
    assert!(text.contains(&cluster.to_string()) && text.contains(&CLUSTER.to_string()), "{text}");

    let disk: Arc<dyn Disk> = Arc::new(disk);
    assert_eq!(MetadataNode::find(&disk, &sim_dir()).unwrap(), Some(IDENTITY));
    assert_eq!(MetadataNode::find(&disk, Path::new("/elsewhere")).unwrap(), None);
}

#[test]
fn files_of_another_version_are_refused_by_name() {
    let snapshot = |disk: &SimDisk| {
        let names = disk.list(&sim_dir()).unwrap();
        let found = names.into_iter().find(|entry| entry.name.starts_with("snapshot-"));
        sim_dir().join(found.unwrap().name)
    };
    for name in ["identity", "snapshot"] {
        let disk = used_disk();
        let path = if name == "identity" { sim_dir().join(name) } else { snapshot(&disk) };
        let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
        file.write_at(&9_u32.to_le_bytes(), 8).unwrap();
        let error = refused(disk, IDENTITY);
        assert!(
            error.to_string().ends_with("has format version 9, this program reads 1"),
            "{error}"
        );
    }
}

#[test]
fn damage_is_refused_and_never_taken_for_an_empty_log() {
    let disk = used_disk();
    let path = sim_dir().join("identity");
    disk.flip(&path, 30, 1).unwrap();
    let error = refused(disk, IDENTITY);
    let damaged = OpenError::Identity(IdentityError::File(FileError::Damaged {
        path: path.clone(),
        what: String::new(),
    }));
    assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&damaged), "{error}");

    let disk = used_disk();
    disk.remove_file(&path).unwrap();
    let error = refused(disk, IDENTITY);
    assert!(matches!(error, OpenError::Identity(IdentityError::Unnamed)), "{error}");

    // Snapshots gone, log purged.
    let disk = used_disk();
    for entry in disk.list(&sim_dir()).unwrap() {
        if entry.name.starts_with("snapshot-") {
            disk.remove_file(&sim_dir().join(entry.name)).unwrap();
        }
    }
    let error = refused(disk, IDENTITY);
    assert!(matches!(error, OpenError::Gap { snapshot: None, .. }), "{error}");
}

#[test]
fn a_flipped_bit_in_the_log_is_found_wherever_it_matters() {
    let disk = used_disk();
    let wal = sim_dir().join("wal");
    let files = disk.list(&wal).unwrap();
    let mut refusals = 0;
    for file in files.iter().filter(|file| !file.is_dir) {
        let path = wal.join(&file.name);
        let length = disk.content(&path).unwrap().len() as u64;
        for at in (0..length).step_by(4_096).map(|at| at + 40) {
            let damaged = disk.power_cut();
            damaged.flip(&path, at, 4).unwrap();
            match start(Arc::new(damaged), &sim_dir(), IDENTITY, small()) {
                // Space that was never used, or a group that nobody needs.
                Ok(life) => {
                    assert_eq!(life.state().cluster(), Some(CLUSTER));
                    assert_eq!(life.state().next_producer().0, 1_000, "byte {at} of {path:?}");
                    life.kill();
                }
                Err(OpenError::Log(
                    LogOpenError::Damaged { .. }
                    | LogOpenError::Broken { .. }
                    | LogOpenError::Wal(_),
                )) => {
                    refusals += 1;
                }
                Err(error) => panic!("byte {at} of {path:?}: {error}"),
            }
        }
    }
    assert!(refusals > 0);
}

#[test]
fn a_command_that_no_ring_holds_is_refused_before_it_is_proposed() {
    let life = start(Arc::new(SimDisk::new(1)), &sim_dir(), IDENTITY, small()).unwrap();
    let value = "x".repeat(20 << 10);
    let changes = vec![("k".into(), Some(value))];
    let set = SetConfigs { resource: ConfigResource::Cluster, changes };
    let refused = life.propose(&Command::SetConfigs(vec![set]));
    assert!(matches!(refused, Err(ProposeError::TooLarge { limit: 16_384, .. })), "{refused:?}");
    life.stop();
}

#[test]
fn a_failed_flush_kills_the_group_and_says_so() {
    let disk = SimDisk::new(1);
    let life = start(Arc::new(disk.clone()), &sim_dir(), IDENTITY, small()).unwrap();
    life.propose(&register(1)).unwrap();
    let mut fatal = life.node.fatal();
    assert_eq!(*fatal.borrow(), None);
    disk.set_faults(SimFaults { sync_fails: 1.0, ..SimFaults::default() });
    let refused = life.propose(&Command::ProducerIds);
    assert!(matches!(refused, Err(ProposeError::Stopped(_))), "{refused:?}");
    let told = life.runtime.block_on(async {
        let told = fatal.wait_for(Option::is_some);
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap().clone()
    });
    assert!(told.is_some_and(|told| told.contains("could not be made durable")));
    let refused = life.propose(&Command::ProducerIds);
    assert!(matches!(refused, Err(ProposeError::Stopped(_))), "{refused:?}");
}
