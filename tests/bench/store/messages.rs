//! The few messages of etcd's API that the load generator sends, written by hand where they go out.
//!
//! The tests of `work` read them with the generated types.

/// The call that writes a key.
pub(super) const PUT: &str = "/etcdserverpb.KV/Put";
/// The call that reads a key or several.
pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";
/// The call that does several things at once.
pub(super) const TXN: &str = "/etcdserverpb.KV/Txn";
/// The call that watches.
pub(super) const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Replaces `out` by the put of a key and a value, prefix included.
pub(super) fn put_request(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.clear();
    out.extend_from_slice(&[0; 5]);
    put(out, key, value);
    finish(out);
}

/// Replaces `out` by the read of a key, prefix included.
pub(super) fn get_request(out: &mut Vec<u8>, key: &[u8]) {
    out.clear();
    out.extend_from_slice(&[0; 5]);
    bytes_field(out, 1, key);
    finish(out);
}

/// Replaces `out` by the request to watch all keys in `[key, end)`, prefix included.
pub(super) fn watch_request(out: &mut Vec<u8>, key: &[u8], end: &[u8]) {
    let mut create = Vec::new();
    bytes_field(&mut create, 1, key);
    bytes_field(&mut create, 2, end);
    out.clear();
    out.extend_from_slice(&[0; 5]);
    bytes_field(out, 1, &create);
    finish(out);
}

/// Appends the fields of a put.
pub(super) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    bytes_field(out, 1, key);
    bytes_field(out, 2, value);
}

/// Fills in the prefix of a message.
pub(super) fn finish(out: &mut [u8]) {
    let length = (out.len() - 5) as u32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
}

/// Appends a field of bytes.
pub(super) fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    tag(out, number);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The tag of a field with a length.
pub(super) fn tag(out: &mut Vec<u8>, number: u8) {
    out.push(number << 3 | 2);
}

/// Appends a number.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How long a number is.
pub(super) fn varint_bytes(value: usize) -> usize {
    (value.max(1).ilog2() / 7 + 1) as usize
}
