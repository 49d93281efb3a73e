//! The decoders that meet bytes from outside, opened to the fuzz targets and to nobody else.
//!
//! Each function takes any bytes whatever, checks all that must hold of what it makes of them, and says whether they were
//! accepted. The functions of the same name with `seeds` give inputs that real encodings make. Nothing here is used by a server.

use std::io::{Read, Seek, Write};

use sha2::{Digest, Sha256};

use crate::backup::{BackupFile, BackupHeader, fuzz};

pub use crate::raft::fuzz::{
    log_frame, log_frame_seeds, log_record, log_record_seeds, log_recovery, log_recovery_seeds, peer_message,
    peer_message_seeds, stored_membership, stored_membership_seeds,
};
pub use crate::server::etcd::fuzz::{etcd_request, etcd_request_seeds};

/// Length of the seal at the end of a backup, in bytes.
const DIGEST_BYTES: usize = 32;

/// A backup: either it is refused, or it says what it is of and holds as many bytes of a snapshot as it says.
pub fn backup(input: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = input.to_vec();
    if let Some(end) = sealed.len().checked_sub(DIGEST_BYTES) {
        let digest = Sha256::digest(&sealed[..end]);
        sealed[end..].copy_from_slice(&digest);
    }
    read_backup(input).or_else(|| read_backup(&sealed))
}

fn read_backup(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, snapshot) = parts(bytes)?;
    let again = parts(&fuzz::write(&header, &snapshot));
    assert_eq!(
        again.as_ref(),
        Some(&(header, snapshot.clone())),
        "what is written anew reads the same"
    );
    Some(snapshot)
}

fn parts(bytes: &[u8]) -> Option<(BackupHeader, Vec<u8>)> {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes)
        .and_then(|()| file.rewind())
        .expect("a disk with room");
    let backup = BackupFile::read(file).ok()?;
    let header = backup.header().clone();
    let mut snapshot = Vec::new();
    let read = backup.snapshot().and_then(|mut body| body.read_to_end(&mut snapshot));
    read.expect("its parts were checked");
    Some((header, snapshot))
}

/// Backups of these snapshots.
pub fn backup_seeds(snapshots: &[Vec<u8>]) -> Vec<Vec<u8>> {
    snapshots
        .iter()
        .map(|snapshot| fuzz::write(&fuzz::header(), snapshot))
        .collect()
}
