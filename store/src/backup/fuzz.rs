//! What the fuzz targets need to make backups of their own.

use super::write::Seal;
use super::{BackupHeader, BackupMember};

/// A header as a cluster of one writes it.
pub(crate) fn header() -> BackupHeader {
    let member = BackupMember {
        id: 1,
        name: "a".into(),
    };
    BackupHeader::new("a-cluster", 7, 9, vec![member])
}

/// A backup of `snapshot`.
pub(crate) fn write(header: &BackupHeader, snapshot: &[u8]) -> Vec<u8> {
    let mut seal = Seal::default();
    let mut out = seal.begin(header).to_vec();
    seal.body(snapshot);
    out.extend_from_slice(snapshot);
    out.extend_from_slice(&seal.end());
    out
}
