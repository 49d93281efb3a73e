//! The leases in the storage: one row each, and one for each key attached to one.
//!
//! A row of `Leases` is a format byte, the granted time to live and what was left of it at the last checkpoint. Time
//! does not pass here: who has expired is the leader's to say, and comes as a command.

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer};
use crate::keys;
use crate::storage::{Access, Cursor, StorageError, StorageRead, Table};
use crate::types::{KeyRange, Lease};

const FORMAT: u8 = 1;

/// The lease `id`, if it exists.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn lease<R: StorageRead>(reader: &R, id: i64) -> Result<Option<Lease>, StorageError> {
    reader.get(Table::Leases, &keys::lease_key(id))?.map(decode).transpose()
}

/// All leases, by ascending id.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn leases<R: StorageRead>(reader: &R) -> Result<Vec<(i64, Lease)>, StorageError> {
    let mut all = Vec::new();
    let mut cursor = reader.cursor(Table::Leases, Access::Ordered { upper: None });
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        let (id, _) = keys::split_lease_key(key)?;
        all.push((id, decode(Bytes::copy_from_slice(value))?));
        cursor.next()?;
    }
    Ok(all)
}

/// The keys attached to the lease `id`, in order.
///
/// # Errors
/// [`StorageError`], fatal.
pub fn attached_keys<R: StorageRead>(reader: &R, id: i64) -> Result<Vec<Bytes>, StorageError> {
    let prefix = keys::lease_key(id);
    let upper = Some(KeyRange::prefix_end(&prefix).to_vec()).filter(|upper| !upper.is_empty());
    let mut all = Vec::new();
    let mut cursor = reader.cursor(Table::LeaseKeys, Access::Ordered { upper });
    cursor.seek(&prefix)?;
    while let Some((key, _)) = cursor.entry() {
        let (_, user_key) = keys::split_lease_key(key)?;
        all.push(keys::owned(user_key));
        cursor.next()?;
    }
    Ok(all)
}

pub(crate) fn encode(lease: &Lease) -> Vec<u8> {
    let Lease {
        granted_ttl_s,
        remaining_ttl_s,
    } = lease;
    let mut writer = Writer::default();
    writer.byte(FORMAT);
    writer.signed(*granted_ttl_s);
    writer.signed(*remaining_ttl_s);
    writer.out
}

fn decode(bytes: Bytes) -> Result<Lease, StorageError> {
    read(bytes).map_err(|error| StorageError::Corrupt(format!("a lease's record is malformed: {error}")))
}

fn read(bytes: Bytes) -> Result<Lease, DecodeError> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        FORMAT => {}
        tag => {
            return Err(DecodeError::UnknownTag {
                what: "lease format",
                tag,
            });
        }
    }
    let lease = Lease {
        granted_ttl_s: reader.signed()?,
        remaining_ttl_s: reader.signed()?,
    };
    reader.finish()?;
    Ok(lease)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back(granted_ttl_s in any::<i64>(), remaining_ttl_s in any::<i64>()) {
            let lease = Lease { granted_ttl_s, remaining_ttl_s };
            prop_assert_eq!(decode(encode(&lease).into()).unwrap(), lease);
        }

        #[test]
        fn garbage_is_refused_not_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = decode(bytes.into());
        }
    }
}
