//! Keys: puts, reads with every option, deletions, transactions, compaction.

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use tonic::Code;
use trireme_proto::etcd::server::compare::{CompareResult, CompareTarget, TargetUnion};
use trireme_proto::etcd::server::range_request::{SortOrder, SortTarget};
use trireme_proto::etcd::server::request_op::Request;
use trireme_proto::etcd::server::response_op::Response;
use trireme_proto::etcd::server::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
};

use crate::target::{Peer, Target, bytes, end, ensure_refused, one, prefix, revision};

pub(crate) async fn check(target: &Target) -> Result<()> {
    puts(target).await.context("puts")?;
    ranges(target).await.context("ranges")?;
    order_and_filters(target).await.context("order and filters")?;
    deletions(target).await.context("deletions")?;
    conditions(target).await.context("conditions")?;
    transactions(target).await.context("transactions")?;
    refused_transactions(target).await.context("refused transactions")?;
    if target.peer == Peer::Trireme {
        streams(target).await.context("streamed ranges")?;
        every_server_agrees(target).await.context("servers")?;
    }
    compaction(target).await.context("compaction")
}

fn keys(response: &RangeResponse) -> Vec<String> {
    let keys = response
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
    keys.collect()
}

async fn puts(target: &Target) -> Result<()> {
    let first = revision(&target.put("put/a", "1").await?.header);
    let second = revision(&target.put("put/a", "2").await?.header);
    ensure!(second == first + 1, "each put has its revision");
    let kv = target.get("put/a").await?.context("it is there")?;
    ensure!(
        (kv.create_revision, kv.mod_revision, kv.version) == (first, second, 2),
        "{kv:?}"
    );

    let mut request = PutRequest {
        key: bytes("put/a"),
        value: bytes("3"),
        prev_kv: true,
        ..PutRequest::default()
    };
    let previous = target.kv().put(request.clone()).await?.into_inner().prev_kv;
    ensure!(previous.context("the version before")?.value == "2");
    request.key = bytes("put/new");
    ensure!(target.kv().put(request).await?.into_inner().prev_kv.is_none());

    let keep_value = PutRequest {
        key: bytes("put/a"),
        ignore_value: true,
        ..PutRequest::default()
    };
    target.kv().put(keep_value.clone()).await?;
    let kv = target.get("put/a").await?.context("it is there")?;
    ensure!((&kv.value[..], kv.version) == (b"3", 4), "{kv:?}");
    let missing = PutRequest {
        key: bytes("put/missing"),
        ..keep_value.clone()
    };
    let no_key = "etcdserver: key not found";
    ensure_refused(target.kv().put(missing).await, Code::InvalidArgument, no_key)?;
    let both = PutRequest {
        value: bytes("x"),
        ..keep_value.clone()
    };
    ensure_refused(
        target.kv().put(both).await,
        Code::InvalidArgument,
        "etcdserver: value is provided",
    )?;
    let lease = PutRequest {
        ignore_lease: true,
        lease: 5,
        ..keep_value
    };
    ensure_refused(
        target.kv().put(lease).await,
        Code::InvalidArgument,
        "etcdserver: lease is provided",
    )?;
    let empty = target.kv().put(PutRequest::default()).await;
    ensure_refused(empty, Code::InvalidArgument, "etcdserver: key is not provided")
}

async fn ranges(target: &Target) -> Result<()> {
    let before = revision(&target.put("range/a", "1").await?.header);
    for key in ["range/b", "range/c", "range/d"] {
        target.put(key, key).await?;
    }
    let all = target.range(prefix("range/")).await?;
    ensure!(
        keys(&all) == ["range/a", "range/b", "range/c", "range/d"] && all.count == 4 && !all.more,
        "{all:?}"
    );

    let page = RangeRequest {
        limit: 3,
        ..prefix("range/")
    };
    let page = target.range(page).await?;
    ensure!(
        keys(&page) == ["range/a", "range/b", "range/c"] && page.more && page.count == 4,
        "{page:?}"
    );
    let whole = RangeRequest {
        limit: 4,
        ..prefix("range/")
    };
    ensure!(!target.range(whole).await?.more, "nothing is left");

    let only = RangeRequest {
        keys_only: true,
        ..prefix("range/")
    };
    ensure!(target.range(only).await?.kvs.iter().all(|kv| kv.value.is_empty()));
    let count = RangeRequest {
        count_only: true,
        ..prefix("range/")
    };
    let count = target.range(count).await?;
    ensure!((count.count, count.kvs.len()) == (4, 0), "{count:?}");

    let open = RangeRequest {
        range_end: bytes("\0"),
        limit: 2,
        ..one("range/c")
    };
    ensure!(keys(&target.range(open).await?) == ["range/c", "range/d"]);
    let inverted = RangeRequest {
        range_end: bytes("range/a"),
        ..one("range/c")
    };
    let inverted = target.range(inverted).await?;
    ensure!(inverted.kvs.is_empty() && inverted.count == 0, "{inverted:?}");

    let old = RangeRequest {
        revision: before,
        ..prefix("range/")
    };
    let old = target.range(old).await?;
    ensure!(
        keys(&old) == ["range/a"] && revision(&old.header) >= before + 3,
        "{old:?}"
    );
    let future = RangeRequest {
        revision: before + 1_000_000,
        ..one("range/a")
    };
    let words = "etcdserver: mvcc: required revision is a future revision";
    ensure_refused(target.range(future).await, Code::OutOfRange, words)?;
    let local = RangeRequest {
        serializable: true,
        ..one("range/a")
    };
    target.range(local).await?;
    let empty = target.range(RangeRequest::default()).await;
    ensure_refused(empty, Code::InvalidArgument, "etcdserver: key is not provided")?;
    if target.peer == Peer::Etcd {
        // Debian's, which is old, takes any order.
        return Ok(());
    }
    let order = RangeRequest {
        sort_order: 9,
        ..one("range/a")
    };
    ensure_refused(
        target.range(order).await,
        Code::InvalidArgument,
        "etcdserver: invalid sort option",
    )
}

async fn order_and_filters(target: &Target) -> Result<()> {
    // Created in the order a, b, c; changed in the order b, a, c; versions 2, 1, 3.
    let mut revisions = Vec::new();
    for (key, value) in [
        ("o/a", "z"),
        ("o/b", "y"),
        ("o/c", "x"),
        ("o/c", "x"),
        ("o/a", "m"),
        ("o/c", "x"),
    ] {
        revisions.push(revision(&target.put(key, value).await?.header));
    }
    use SortOrder::{Ascend, Descend, None};
    use SortTarget::{Create, Key, Mod, Value, Version};
    for (by, order, expected) in [
        (Key, None, "abc"),
        (Key, Ascend, "abc"),
        (Key, Descend, "cba"),
        (Version, Ascend, "bac"),
        (Version, Descend, "cab"),
        (Version, None, "bac"),
        (Create, Ascend, "abc"),
        (Create, Descend, "cba"),
        (Mod, Ascend, "bac"),
        (Mod, Descend, "cab"),
        (Value, Ascend, "acb"),
        (Value, Descend, "bca"),
    ] {
        for limit in [0, 2] {
            let request = RangeRequest {
                sort_target: by.into(),
                sort_order: order.into(),
                limit,
                ..prefix("o/")
            };
            let response = target.range(request).await?;
            let found: String = keys(&response).iter().map(|key| &key[2..]).collect();
            let expected = if limit == 0 { expected } else { &expected[..2] };
            ensure!(found == expected, "{by:?} {order:?} {limit}: {found}");
            ensure!(response.count == 3 && response.more == (limit == 2), "{response:?}");
        }
    }
    let filtered = async |request: RangeRequest| -> Result<String> {
        let response = target.range(request).await?;
        ensure!(response.count == 3, "the count is of all keys: {response:?}");
        Ok(keys(&response).iter().map(|key| &key[2..]).collect())
    };
    let min_mod = RangeRequest {
        min_mod_revision: revisions[4],
        ..prefix("o/")
    };
    ensure!(filtered(min_mod).await? == "ac");
    let max_mod = RangeRequest {
        max_mod_revision: revisions[4],
        ..prefix("o/")
    };
    ensure!(filtered(max_mod).await? == "ab");
    let created = RangeRequest {
        min_create_revision: revisions[1],
        max_create_revision: revisions[1],
        ..prefix("o/")
    };
    ensure!(filtered(created).await? == "b");
    let limited = RangeRequest {
        min_create_revision: revisions[1],
        limit: 1,
        ..prefix("o/")
    };
    ensure!(filtered(limited).await? == "b", "the limit comes after the filter");
    Ok(())
}

async fn deletions(target: &Target) -> Result<()> {
    for key in ["del/a", "del/b", "del/c"] {
        target.put(key, key).await?;
    }
    let before = revision(&target.range(one("del/a")).await?.header);
    let request = DeleteRangeRequest {
        key: bytes("del/a"),
        range_end: bytes("del/c"),
        prev_kv: true,
    };
    let gone = target.kv().delete_range(request.clone()).await?.into_inner();
    ensure!(gone.deleted == 2 && gone.prev_kvs.len() == 2, "{gone:?}");
    ensure!(revision(&gone.header) == before + 1, "one revision for all");
    let nothing = target.kv().delete_range(request).await?.into_inner();
    ensure!(
        nothing.deleted == 0 && revision(&nothing.header) == before + 1,
        "{nothing:?}"
    );
    ensure!(keys(&target.range(prefix("del/")).await?) == ["del/c"]);
    target.put("del/a", "again").await?;
    let again = target.get("del/a").await?.context("it is there")?;
    ensure!(
        again.version == 1 && again.create_revision == again.mod_revision,
        "{again:?}"
    );
    let empty = target.kv().delete_range(DeleteRangeRequest::default()).await;
    ensure_refused(empty, Code::InvalidArgument, "etcdserver: key is not provided")
}

/// A condition.
pub(crate) fn when(key: &str, result: CompareResult, union: TargetUnion) -> Compare {
    let target = match union {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(key),
        target_union: Some(union),
        range_end: bytes(""),
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub(crate) fn put_op(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(PutRequest {
        key: bytes(key),
        value: bytes(value),
        ..PutRequest::default()
    }))
}

fn get_op(request: RangeRequest) -> RequestOp {
    op(Request::RequestRange(request))
}

fn delete_op(key: &str, range_end: bytes::Bytes) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest {
        key: bytes(key),
        range_end,
        prev_kv: false,
    }))
}

async fn txn(target: &Target, request: TxnRequest) -> Result<TxnResponse, tonic::Status> {
    Ok(target.kv().txn(request).await?.into_inner())
}

async fn conditions(target: &Target) -> Result<()> {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    target.put("if/a", "m").await?;
    target.put("if/a", "m").await?;
    target.put("if/b", "m").await?;
    let kv = target.get("if/a").await?.context("it is there")?;
    for (compare, expected) in [
        (when("if/a", Equal, TargetUnion::Version(2)), true),
        (when("if/a", NotEqual, TargetUnion::Version(2)), false),
        (when("if/a", Greater, TargetUnion::Version(1)), true),
        (when("if/a", Less, TargetUnion::Version(2)), false),
        (
            when("if/a", Equal, TargetUnion::CreateRevision(kv.create_revision)),
            true,
        ),
        (
            when("if/a", Less, TargetUnion::CreateRevision(kv.create_revision)),
            false,
        ),
        (when("if/a", Equal, TargetUnion::ModRevision(kv.mod_revision)), true),
        (when("if/a", Equal, TargetUnion::ModRevision(0)), false),
        (when("if/none", Equal, TargetUnion::ModRevision(0)), true),
        (when("if/none", Equal, TargetUnion::Version(0)), true),
        (when("if/none", Equal, TargetUnion::Value(bytes(""))), false),
        (when("if/a", Equal, TargetUnion::Value(bytes("m"))), true),
        (when("if/a", Less, TargetUnion::Value(bytes("n"))), true),
        (when("if/a", Equal, TargetUnion::Lease(0)), true),
        (when("if/a", Greater, TargetUnion::Lease(0)), false),
    ] {
        let request = TxnRequest {
            compare: vec![compare.clone()],
            ..TxnRequest::default()
        };
        let response = txn(target, request).await?;
        ensure!(response.succeeded == expected, "{compare:?}");
    }
    // Over a range it must hold for every key.
    for (version, expected) in [(0, true), (1, false)] {
        let every = Compare {
            range_end: end("if/"),
            ..when("if/", Greater, TargetUnion::Version(version))
        };
        let request = TxnRequest {
            compare: vec![every],
            ..TxnRequest::default()
        };
        ensure!(txn(target, request).await?.succeeded == expected, "all above {version}");
    }
    Ok(())
}

async fn transactions(target: &Target) -> Result<()> {
    let before = revision(&target.put("txn/a", "1").await?.header);
    let nested = TxnRequest {
        compare: vec![when("txn/b", CompareResult::Equal, TargetUnion::Value(bytes("2")))],
        success: vec![put_op("txn/nested", "yes")],
        failure: vec![put_op("txn/nested", "no")],
    };
    let request = TxnRequest {
        compare: vec![when("txn/a", CompareResult::Equal, TargetUnion::Value(bytes("1")))],
        success: vec![
            put_op("txn/b", "2"),
            get_op(prefix("txn/")),
            delete_op("txn/a", bytes("")),
            get_op(RangeRequest {
                count_only: true,
                ..prefix("txn/")
            }),
            op(Request::RequestTxn(nested)),
        ],
        failure: vec![put_op("txn/wrong", "")],
    };
    let response = txn(target, request).await?;
    ensure!(
        response.succeeded && revision(&response.header) == before + 1,
        "{response:?}"
    );
    let answers: Vec<Response> = response.responses.into_iter().filter_map(|op| op.response).collect();
    let [
        Response::ResponsePut(_),
        Response::ResponseRange(seen),
        Response::ResponseDeleteRange(gone),
        Response::ResponseRange(left),
        Response::ResponseTxn(inner),
    ] = &answers[..]
    else {
        anyhow::bail!("one answer an operation: {answers:?}");
    };
    ensure!(keys(seen) == ["txn/a", "txn/b"], "it sees its own writes: {seen:?}");
    ensure!((gone.deleted, left.count) == (1, 1), "{gone:?} {left:?}");
    // etcd decides all conditions before the first operation, also those of nested transactions.
    ensure!(!inner.succeeded, "{inner:?}");
    let all = target.range(prefix("txn/")).await?;
    ensure!(keys(&all) == ["txn/b", "txn/nested"], "{all:?}");
    ensure!(
        all.kvs.iter().all(|kv| kv.mod_revision == before + 1),
        "all in one revision: {all:?}"
    );

    let reading = TxnRequest {
        success: vec![get_op(one("txn/b"))],
        ..TxnRequest::default()
    };
    let response = txn(target, reading).await?;
    ensure!(revision(&response.header) == before + 1, "reading changes nothing");
    let future = TxnRequest {
        success: vec![
            put_op("txn/c", ""),
            get_op(RangeRequest {
                revision: before + 1_000_000,
                ..one("txn/b")
            }),
        ],
        ..TxnRequest::default()
    };
    let words = "etcdserver: mvcc: required revision is a future revision";
    ensure_refused(txn(target, future).await, Code::OutOfRange, words)?;
    ensure!(
        target.get("txn/c").await?.is_none(),
        "nothing of a refused transaction is done"
    );
    Ok(())
}

async fn refused_transactions(target: &Target) -> Result<()> {
    let before = revision(&target.range(one("no")).await?.header);
    let success = |success: Vec<RequestOp>| TxnRequest {
        success,
        ..TxnRequest::default()
    };
    let nested = |success: Vec<RequestOp>, failure: Vec<RequestOp>| {
        op(Request::RequestTxn(TxnRequest {
            compare: Vec::new(),
            success,
            failure,
        }))
    };
    let twice = "etcdserver: duplicate key given in txn request";
    for ops in [
        vec![put_op("no/a", ""), put_op("no/a", "")],
        vec![put_op("no/a", ""), delete_op("no/a", bytes(""))],
        vec![delete_op("no/", end("no/")), put_op("no/a", "")],
        vec![put_op("no/a", ""), nested(vec![put_op("no/a", "")], vec![])],
        vec![
            nested(vec![put_op("no/a", "")], vec![]),
            nested(vec![], vec![put_op("no/a", "")]),
        ],
    ] {
        ensure_refused(txn(target, success(ops)).await, Code::InvalidArgument, twice)?;
    }
    let sides = success(vec![nested(vec![put_op("yes/a", "")], vec![put_op("yes/a", "")])]);
    txn(target, sides).await?;
    let many = (0..129).map(|n| put_op(&format!("no/{n}"), "")).collect();
    let too_many = "etcdserver: too many operations in txn request";
    ensure_refused(txn(target, success(many)).await, Code::InvalidArgument, too_many)?;
    let most = (0..128).map(|n| put_op(&format!("yes/{n}"), "")).collect();
    txn(target, success(most)).await?;
    let empty = success(vec![put_op("", "")]);
    ensure_refused(
        txn(target, empty).await,
        Code::InvalidArgument,
        "etcdserver: key is not provided",
    )?;
    let none = success(vec![RequestOp { request: None }]);
    ensure_refused(
        txn(target, none).await,
        Code::InvalidArgument,
        "etcdserver: key not found",
    )?;
    let after = target.range(prefix("no/")).await?;
    ensure!(
        after.kvs.is_empty() && revision(&after.header) == before + 2,
        "{after:?}"
    );
    Ok(())
}

async fn streams(target: &Target) -> Result<()> {
    let big = "x".repeat(300_000);
    for n in 0..8 {
        target.put(&format!("stream/{n}"), &big).await?;
    }
    let read = async |request: RangeRequest| -> Result<Vec<RangeResponse>> {
        let stream = target.kv().range_stream(request).await?.into_inner();
        let pieces: Vec<_> = stream.try_collect().await?;
        Ok(pieces.into_iter().filter_map(|piece| piece.range_response).collect())
    };
    let pieces = read(prefix("stream/")).await?;
    let all: Vec<String> = pieces.iter().flat_map(keys).collect();
    ensure!(
        all.len() == 8 && all.is_sorted() && pieces.len() > 2,
        "{} pieces of {all:?}",
        pieces.len()
    );
    let (last, others) = pieces.split_last().context("there is a last one")?;
    ensure!(
        others
            .iter()
            .all(|piece| piece.header.is_none() && piece.count == 0 && !piece.more)
    );
    ensure!(last.header.is_some() && last.count == 8 && !last.more);

    let limited = read(RangeRequest {
        limit: 5,
        ..prefix("stream/")
    })
    .await?;
    let (last, _) = limited.split_last().context("there is a last one")?;
    ensure!(limited.iter().map(|piece| piece.kvs.len()).sum::<usize>() == 5);
    ensure!(last.more && last.count == 8, "{} {}", last.more, last.count);
    let counted = read(RangeRequest {
        count_only: true,
        ..prefix("stream/")
    })
    .await?;
    ensure!(counted.len() == 1 && counted[0].count == 8 && counted[0].kvs.is_empty());
    let nothing = read(prefix("stream/none/")).await?;
    ensure!(nothing.len() == 1 && nothing[0].count == 0 && nothing[0].header.is_some());
    let sorted = RangeRequest {
        sort_order: SortOrder::Descend.into(),
        ..prefix("stream/")
    };
    let refused = target.kv().range_stream(sorted).await;
    ensure!(refused.is_err_and(|status| status.code() == Code::Unimplemented));
    target
        .kv()
        .delete_range(DeleteRangeRequest {
            key: bytes("stream/"),
            range_end: end("stream/"),
            prev_kv: false,
        })
        .await?;
    Ok(())
}

async fn every_server_agrees(target: &Target) -> Result<()> {
    for server in 0..3 {
        target.put("agree/a", &server.to_string()).await?;
        for reader in 0..3 {
            let read = target.kv_of(reader).range(one("agree/a")).await?.into_inner();
            ensure!(
                read.kvs[0].value == server.to_string(),
                "server {reader} reads what is there"
            );
            let header = read.header.context("a header")?;
            ensure!(
                header.cluster_id != 0 && header.member_id != 0 && header.raft_term > 0,
                "{header:?}"
            );
        }
    }
    Ok(())
}

async fn compaction(target: &Target) -> Result<()> {
    let first = revision(&target.put("old/a", "1").await?.header);
    let second = revision(&target.put("old/a", "2").await?.header);
    let third = revision(&target.put("old/a", "3").await?.header);
    let compact = async |revision: i64| {
        target
            .kv()
            .compact(CompactionRequest {
                revision,
                physical: true,
            })
            .await
    };
    let future = "etcdserver: mvcc: required revision is a future revision";
    ensure_refused(compact(third + 1_000).await, Code::OutOfRange, future)?;
    compact(second).await?;
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    for revision in [first, second] {
        ensure_refused(compact(revision).await, Code::OutOfRange, compacted)?;
    }
    let at = async |revision: i64| {
        let request = RangeRequest {
            revision,
            ..one("old/a")
        };
        target.range(request).await
    };
    ensure_refused(at(first).await, Code::OutOfRange, compacted)?;
    ensure!(
        at(second).await?.kvs[0].value == "2",
        "what was the latest then can still be read"
    );
    Ok(())
}
