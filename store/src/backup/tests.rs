//! A backup is whole or refused, whatever has become of its bytes.

use std::path::PathBuf;

use proptest::prelude::*;

use super::write::Seal;
use super::*;

fn header() -> BackupHeader {
    let member = BackupMember {
        id: 3,
        name: "server-3".into(),
    };
    BackupHeader::new("a cluster", 77, 1234, vec![member])
}

fn backup(body: &[u8]) -> Vec<u8> {
    let mut seal = Seal::default();
    let mut out = seal.begin(&header()).to_vec();
    for piece in body.chunks(7) {
        seal.body(piece);
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&seal.end());
    out
}

fn open(directory: &tempfile::TempDir, bytes: &[u8]) -> Result<(BackupHeader, Vec<u8>), BackupError> {
    let path: PathBuf = directory.path().join("backup");
    std::fs::write(&path, bytes).unwrap();
    let file = BackupFile::open(&path)?;
    let header = file.header().clone();
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut file.snapshot()?, &mut body)?;
    Ok((header, body))
}

#[test]
fn it_reads_back_as_it_was_and_has_the_length_that_tools_expect() {
    let directory = tempfile::tempdir().unwrap();
    for length in [0, 1, 300, 511, 512, 513, 5_000] {
        let body = vec![7; length];
        let bytes = backup(&body);
        assert_eq!(bytes.len() as u64 % BLOCK_BYTES, DIGEST_BYTES, "{length}");
        assert_eq!(open(&directory, &bytes).unwrap(), (header(), body));
    }
}

#[test]
fn what_is_no_backup_is_told_from_a_damaged_one() {
    let directory = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], words: &str| {
        let why = open(&directory, bytes).unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    };
    check(b"", "not a backup");
    check(b"TRISNAP1 and more", "not a backup");
    check(b"TRIBACK1 and more", "too short");
    // The small one is one block long, the large one two.
    let (small, large) = (backup(b"body"), backup(&[7; 600]));
    check(&small[..small.len() - 1], "too short");
    check(&large[..large.len() - 1], "length is not that of a whole backup");
    check(&large[..large.len() - 512], "checksum does not match");
    check(&[&small[..], &[0; 512]].concat(), "checksum does not match");
    assert!(matches!(
        BackupFile::open(&directory.path().join("absent")),
        Err(BackupError::Io(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_changed_byte_and_every_cut_is_found(
        body in proptest::collection::vec(any::<u8>(), 0..2_000),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        cut in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = backup(&body);
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        prop_assert!(open(&directory, &bytes).is_err());
    }
}
