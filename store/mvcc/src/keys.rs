//! How user keys and revisions become the keys of the tables.
//!
//! `Data`: the escaped user key, then the bitwise complement of the revision, big-endian: versions of
//! one key lie together, newest first, and keys lie in their own order. Escaping writes a zero byte as `00 ff`
//! and ends with `00 01`, so that no escaped key is a prefix of another and the order is kept.
//! `Events`: revision, then the place within the revision, both big-endian: the order of history.
//! `Leases`: the id, so that ids are in their order. `LeaseKeys`: the id, then the user key as it is.

use bytes::Bytes;

use crate::storage::StorageError;
use crate::types::Revision;

const ZERO: u8 = 0x00;
const ZERO_ESCAPED: u8 = 0xff;
const TERMINATOR: [u8; 2] = [ZERO, 0x01];
const REVISION_BYTES: usize = 8;
const SUB_BYTES: usize = 4;
const EVENT_KEY_BYTES: usize = REVISION_BYTES + SUB_BYTES;
const LEASE_BYTES: usize = 8;
/// Turned over, so that negative ids come before positive ones.
const LEASE_SIGN: u64 = 1 << 63;

/// Appends the escaped `user_key` to `out`.
pub fn escape_into(user_key: &[u8], out: &mut Vec<u8>) {
    out.reserve(user_key.len() + TERMINATOR.len() + REVISION_BYTES);
    for &byte in user_key {
        out.push(byte);
        if byte == ZERO {
            out.push(ZERO_ESCAPED);
        }
    }
    out.extend_from_slice(&TERMINATOR);
}

/// The escaped `user_key`: what all keys of its versions begin with, and no others.
pub fn escape(user_key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    escape_into(user_key, &mut out);
    out
}

/// Length of the escaped user key that `data_key` begins with; `None` if it does not begin with one.
pub fn escaped_len(data_key: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let zero = from + data_key.get(from..)?.iter().position(|&byte| byte == ZERO)?;
        if data_key.get(zero + 1) == Some(&TERMINATOR[1]) {
            return Some(zero + 2);
        }
        from = zero + 2;
    }
}

/// The key in `Data` of the version of `user_key` at `revision`.
pub fn data_key(user_key: &[u8], revision: Revision) -> Vec<u8> {
    let mut out = escape(user_key);
    push_version(&mut out, revision);
    out
}

/// Appends the part of a key in `Data` that stands for `revision`. Seeking to the result finds the newest version
/// at or before `revision`.
pub fn push_version(escaped: &mut Vec<u8>, revision: Revision) {
    escaped.extend_from_slice(&(!revision.cast_unsigned()).to_be_bytes());
}

/// Takes a key of `Data` apart: the escaped user key and the revision.
///
/// # Errors
/// [`StorageError::Corrupt`] if it is not one.
pub fn split_data_key(data_key: &[u8]) -> Result<(&[u8], Revision), StorageError> {
    let corrupt = || StorageError::Corrupt(format!("a data key of {} bytes is malformed", data_key.len()));
    let escaped = escaped_len(data_key).ok_or_else(corrupt)?;
    let (prefix, version) = data_key.split_at(escaped);
    let version: [u8; REVISION_BYTES] = version.try_into().map_err(|_| corrupt())?;
    Ok((prefix, (!u64::from_be_bytes(version)).cast_signed()))
}

/// The user key of an escaped one, into `out`, which is emptied first.
pub fn unescape_into(escaped: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let body = escaped.strip_suffix(&TERMINATOR).unwrap_or(escaped);
    let mut skip = false;
    for &byte in body {
        if !skip {
            out.push(byte);
        }
        skip = !skip && byte == ZERO;
    }
}

/// The key in `Events` of the change number `sub` of `revision`.
pub fn event_key(revision: Revision, sub: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(EVENT_KEY_BYTES);
    out.extend_from_slice(&revision.cast_unsigned().to_be_bytes());
    out.extend_from_slice(&sub.to_be_bytes());
    out
}

/// The revision of a key in `Events`.
///
/// # Errors
/// [`StorageError::Corrupt`] if it is not one.
pub fn event_revision(event_key: &[u8]) -> Result<Revision, StorageError> {
    split_event_key(event_key).map(|(revision, _)| revision)
}

/// The revision of a key in `Events`, and the place within it.
///
/// # Errors
/// [`StorageError::Corrupt`] if it is not one.
pub fn split_event_key(event_key: &[u8]) -> Result<(Revision, u32), StorageError> {
    let parts = event_key
        .split_first_chunk::<REVISION_BYTES>()
        .and_then(|(revision, sub)| Some((revision, <[u8; SUB_BYTES]>::try_from(sub).ok()?)));
    match parts {
        Some((revision, sub)) => Ok((u64::from_be_bytes(*revision).cast_signed(), u32::from_be_bytes(sub))),
        None => Err(StorageError::Corrupt(format!(
            "an event key of {} bytes is malformed",
            event_key.len()
        ))),
    }
}

/// The key in `Leases` of the lease `id`, which is also what its keys in `LeaseKeys` begin with.
pub fn lease_key(id: i64) -> [u8; LEASE_BYTES] {
    (id.cast_unsigned() ^ LEASE_SIGN).to_be_bytes()
}

/// The key in `LeaseKeys` of the attachment of `user_key` to the lease `id`.
pub fn attachment_key(id: i64, user_key: &[u8]) -> Vec<u8> {
    [&lease_key(id)[..], user_key].concat()
}

/// The id that a key of `Leases` or `LeaseKeys` begins with, and what follows it.
///
/// # Errors
/// [`StorageError::Corrupt`] if it does not begin with one.
pub fn split_lease_key(key: &[u8]) -> Result<(i64, &[u8]), StorageError> {
    match key.split_first_chunk::<LEASE_BYTES>() {
        Some((id, rest)) => Ok(((u64::from_be_bytes(*id) ^ LEASE_SIGN).cast_signed(), rest)),
        None => Err(StorageError::Corrupt(format!(
            "a lease's key of {} bytes is malformed",
            key.len()
        ))),
    }
}

/// Copies a slice into shared bytes.
pub(crate) fn owned(slice: &[u8]) -> Bytes {
    Bytes::copy_from_slice(slice)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..12)
    }

    proptest! {
        #[test]
        fn order_is_kept(a in key(), b in key(), ra in 1i64..9, rb in 1i64..9) {
            let expected = a.cmp(&b).then(rb.cmp(&ra));
            prop_assert_eq!(data_key(&a, ra).cmp(&data_key(&b, rb)), expected);
        }

        #[test]
        fn what_goes_in_comes_out(a in key(), revision in 1i64..i64::MAX) {
            let whole = data_key(&a, revision);
            let (escaped, found) = split_data_key(&whole).unwrap();
            let mut plain = Vec::new();
            unescape_into(escaped, &mut plain);
            prop_assert_eq!((plain, found), (a, revision));
            // The prefix extractor of the bloom filter must be idempotent.
            prop_assert_eq!(escaped_len(escaped), Some(escaped.len()));
        }

        #[test]
        fn leases_are_in_order(a in any::<i64>(), b in any::<i64>(), user_key in key()) {
            prop_assert_eq!(lease_key(a).cmp(&lease_key(b)), a.cmp(&b));
            let attached = attachment_key(a, &user_key);
            prop_assert_eq!(split_lease_key(&attached).unwrap(), (a, &user_key[..]));
        }

        #[test]
        fn garbage_is_refused_not_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = split_data_key(&bytes);
            let _ = event_revision(&bytes);
            let _ = split_lease_key(&bytes);
        }
    }
}
