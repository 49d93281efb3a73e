//! What every storage of the state machine must do: one suite, run on each implementation.

#![allow(clippy::unwrap_used, reason = "a suite of tests: failing is its way to report")]

use trireme_mvcc::keys;
use trireme_mvcc::storage::{Access, Cursor, Storage, StorageRead, Table, WriteBatch};

/// Runs the whole suite; `make` makes empty storages.
///
/// # Panics
/// If the storage does not do what it must.
pub fn run<S: Storage>(mut make: impl FnMut() -> S) {
    what_is_written_is_read(&make());
    a_view_does_not_change(&make());
    cursors_go_in_order_to_their_bound(&make());
    one_key_finds_its_versions(&make());
    batches_are_in_order(&make());
    ranges_are_removed(&make());
}

fn put(batch: &mut WriteBatch, table: Table, key: &[u8], value: &str) {
    batch.put(table, key.to_vec(), value.as_bytes().to_vec());
}

fn all(reader: &impl StorageRead, table: Table, from: &[u8], upper: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = reader.cursor(
        table,
        Access::Ordered {
            upper: upper.map(<[u8]>::to_vec),
        },
    );
    let mut rows = Vec::new();
    cursor.seek(from).unwrap();
    while let Some((key, value)) = cursor.entry() {
        rows.push((key.to_vec(), value.to_vec()));
        cursor.next().unwrap();
    }
    cursor.next().unwrap();
    assert_eq!(cursor.entry(), None, "the end stays the end");
    rows
}

fn what_is_written_is_read<S: Storage>(storage: &S) {
    let mut batch = WriteBatch::default();
    for table in Table::ALL {
        put(&mut batch, table, b"k", &format!("{table:?}"));
        put(&mut batch, table, b"gone", "x");
    }
    storage.write(batch).unwrap();
    let mut batch = WriteBatch::default();
    for table in Table::ALL {
        batch.delete(table, b"gone".to_vec());
        batch.delete(table, b"never there".to_vec());
    }
    storage.write(batch).unwrap();
    let snapshot = storage.snapshot();
    for table in Table::ALL {
        assert_eq!(
            snapshot.get(table, b"k").unwrap().unwrap(),
            format!("{table:?}").as_bytes()
        );
        assert_eq!(snapshot.get(table, b"gone").unwrap(), None);
        assert_eq!(snapshot.get(table, b"absent").unwrap(), None);
    }
}

fn a_view_does_not_change<S: Storage>(storage: &S) {
    let mut batch = WriteBatch::default();
    put(&mut batch, Table::Events, b"a", "1");
    put(&mut batch, Table::Events, b"b", "1");
    storage.write(batch).unwrap();
    let before = storage.snapshot();
    let mut cursor = before.cursor(Table::Events, Access::Ordered { upper: None });
    let mut batch = WriteBatch::default();
    put(&mut batch, Table::Events, b"a", "2");
    batch.delete(Table::Events, b"b".to_vec());
    put(&mut batch, Table::Events, b"c", "2");
    storage.write(batch).unwrap();
    assert_eq!(before.get(Table::Events, b"a").unwrap().unwrap(), &b"1"[..]);
    assert_eq!(before.get(Table::Events, b"c").unwrap(), None);
    cursor.seek(b"b").unwrap();
    assert_eq!(cursor.entry(), Some((&b"b"[..], &b"1"[..])));
    let names = |reader: &S::Snapshot<'_>| {
        all(reader, Table::Events, b"", None)
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&before), [b"a", b"b"]);
    assert_eq!(names(&storage.snapshot()), [b"a", b"c"]);
}

fn cursors_go_in_order_to_their_bound<S: Storage>(storage: &S) {
    // Keys of `Data` are special to some storages: a walk in order must still cross all of them.
    for table in [Table::Data, Table::Events] {
        let mut expected = Vec::new();
        let mut batch = WriteBatch::default();
        for name in ["a", "a\0", "aa", "b", "c"] {
            for revision in [9, 4, 1] {
                let key = keys::data_key(name.as_bytes(), revision);
                put(&mut batch, table, &key, "v");
                expected.push(key);
            }
        }
        storage.write(batch).unwrap();
        let snapshot = storage.snapshot();
        let names = |from: &[u8], upper: Option<&[u8]>| {
            all(&snapshot, table, from, upper)
                .into_iter()
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(b"", None), expected);
        assert_eq!(names(&expected[4], None), expected[4..]);
        assert_eq!(names(&expected[4], Some(&expected[12])), expected[4..12]);
        assert_eq!(names(&keys::escape(b"aa"), Some(&keys::escape(b"b"))), expected[6..9]);
        assert_eq!(names(&keys::escape(b"d"), None), Vec::<Vec<u8>>::new());
        assert_eq!(names(&expected[5], Some(&expected[5])), Vec::<Vec<u8>>::new());
    }
}

fn one_key_finds_its_versions<S: Storage>(storage: &S) {
    let mut batch = WriteBatch::default();
    for (name, revision) in [("a", 3), ("a", 7), ("b", 5), ("a\0", 6)] {
        put(&mut batch, Table::Data, &keys::data_key(name.as_bytes(), revision), "v");
    }
    storage.write(batch).unwrap();
    let snapshot = storage.snapshot();
    let mut cursor = snapshot.cursor(Table::Data, Access::OneKey);
    let mut found = |name: &str, revision| {
        let (target, escaped) = (keys::data_key(name.as_bytes(), revision), keys::escape(name.as_bytes()));
        let mut versions = Vec::new();
        cursor.seek(&target).unwrap();
        while let Some((key, _)) = cursor.entry().filter(|(key, _)| key.starts_with(&escaped)) {
            versions.push(keys::split_data_key(key).unwrap().1);
            cursor.next().unwrap();
        }
        versions
    };
    for _ in 0..2 {
        assert_eq!(found("a", i64::MAX), [7, 3]);
        assert_eq!(found("a", 6), [3]);
        assert_eq!(found("a", 2), Vec::<i64>::new());
        assert_eq!(found("b", i64::MAX), [5]);
        assert_eq!(found("a\0", i64::MAX), [6]);
        assert_eq!(found("absent", i64::MAX), Vec::<i64>::new());
    }
}

fn ranges_are_removed<S: Storage>(storage: &S) {
    for table in Table::ALL {
        let mut batch = WriteBatch::default();
        for name in ["a", "b", "c", "d"] {
            put(&mut batch, table, name.as_bytes(), "v");
        }
        storage.write(batch).unwrap();
        let before = storage.snapshot();
        let mut batch = WriteBatch::default();
        batch.delete_range(table, b"b".to_vec(), b"d".to_vec());
        // Later writes of the batch stand.
        put(&mut batch, table, b"c", "again");
        batch.delete_range(table, b"x".to_vec(), b"y".to_vec());
        storage.write(batch).unwrap();
        let names = |reader: &S::Snapshot<'_>| {
            let rows = all(reader, table, b"", None).into_iter();
            rows.map(|(name, _)| String::from_utf8(name).unwrap())
                .collect::<String>()
        };
        assert_eq!(names(&before), "abcd");
        assert_eq!(names(&storage.snapshot()), "acd");
    }
    let mut batch = WriteBatch::default();
    batch.delete_range(Table::Events, Vec::new(), b"d".to_vec());
    storage.write(batch).unwrap();
    assert_eq!(all(&storage.snapshot(), Table::Events, b"", None).len(), 1);
}

fn batches_are_in_order<S: Storage>(storage: &S) {
    let mut batch = WriteBatch::default();
    put(&mut batch, Table::Meta, b"k", "1");
    batch.delete(Table::Meta, b"k".to_vec());
    put(&mut batch, Table::Meta, b"k", "2");
    assert_eq!(batch.bytes(), 5);
    storage.write(batch).unwrap();
    assert_eq!(storage.snapshot().get(Table::Meta, b"k").unwrap().unwrap(), &b"2"[..]);
}
