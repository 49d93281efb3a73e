//! What is too much or makes no sense: refused with etcd's words, and nobody else is harmed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use trireme_proto::etcd::server::PutRequest;

use crate::target::{PATIENCE, Target, Trireme, bytes, ensure_refused};
use crate::watch::{Stream, on};

pub(crate) async fn check(target: &Target) -> Result<()> {
    let put = |bytes_of_value: usize| PutRequest {
        key: bytes("limit/a"),
        value: vec![b'x'; bytes_of_value].into(),
        ..PutRequest::default()
    };
    target.kv().put(put(1_500_000)).await?;
    let too_large = "etcdserver: request is too large";
    ensure_refused(target.kv().put(put(1_600_000)).await, Code::InvalidArgument, too_large)?;
    let huge = target.kv().put(put(20_000_000)).await;
    ensure!(huge.is_err(), "a message beyond all bounds");
    ensure!(
        target
            .get("limit/a")
            .await?
            .is_some_and(|kv| kv.value.len() == 1_500_000)
    );
    target.delete("limit/a").await?;
    Ok(())
}

/// Bytes that are no HTTP/2, broken frames, a call of a method that is not there, on the ports of all servers for etcd's
/// clients, for the API and for each other: the connections' neighbours go on.
pub(crate) async fn garbage_harms_nobody(trireme: &Trireme, target: &Target) -> Result<()> {
    let mut stream = Stream::open(target, 0);
    stream.create(on("calm", bytes(""))).await?;
    let mut addresses = trireme.endpoints()?;
    let first = addresses[0].clone();
    let status = trireme.status().await?;
    for member in status["members"].as_array().context("the status lists the servers")? {
        let listeners = [&member["address"], &member["peerAddress"]];
        addresses.extend(
            listeners
                .into_iter()
                .filter_map(|address| Some(address.as_str()?.to_owned())),
        );
    }
    ensure!(addresses.len() == 9, "{addresses:?}");
    for address in &addresses {
        throw_garbage(address).await.with_context(|| address.clone())?;
    }
    unknown_methods(&first).await?;
    target.put("calm", "").await?;
    let told = tokio::time::timeout(PATIENCE, stream.events(1)).await??;
    ensure!(told.len() == 1);
    Ok(())
}

/// A connection each; the server lets go of all.
pub(crate) async fn throw_garbage(address: &str) -> Result<()> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = [&preface[..], &[0xff; 64]].concat();
    let unfinished = [&preface[..], &[0, 0, 4, 8, 0]].concat();
    for garbage in [
        &b"\x16\x03\x01garbage"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        &frame,
        &unfinished,
        &[0; 4_096],
    ] {
        let mut socket = TcpStream::connect(address).await?;
        // The server may close before it has read all.
        let _ = socket.write_all(garbage).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut answer));
        let _ = read
            .await
            .context("the server does not let go of a connection with garbage")?;
    }
    Ok(())
}

/// A raw call: its path, and what its message holds.
async fn call(address: &str, path: &'static str, body: &'static [u8]) -> Result<tonic::Status> {
    use tonic::codegen::http::uri::PathAndQuery;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let outcome = grpc
        .unary(
            tonic::Request::new(bytes::Bytes::from_static(body)),
            PathAndQuery::from_static(path),
            raw::RawCodec,
        )
        .await;
    outcome.err().context("the call was expected to fail")
}

async fn unknown_methods(address: &str) -> Result<()> {
    for (path, body, code) in [
        ("/etcdserverpb.KV/Nothing", &b""[..], Code::Unimplemented),
        ("/etcdserverpb.Watch/Nothing", b"", Code::Unimplemented),
        ("/nothing.Nothing/Nothing", b"", Code::Unimplemented),
        // A key that says it has more bytes than there are.
        ("/etcdserverpb.KV/Put", b"\x0a\xff\xff\xff\x0fk", Code::Internal),
        ("/etcdserverpb.KV/Range", b"\xff\xff\xff\xff", Code::Internal),
    ] {
        let status = call(address, path, body).await?;
        ensure!(status.code() == code, "{path}: {status:?}");
    }
    let status = call(address, "/etcdserverpb.Auth/UserList", b"").await?;
    ensure!(
        status.code() == Code::Unimplemented && status.message().contains("certificates"),
        "{status:?}"
    );
    Ok(())
}

/// Messages as they are.
mod raw {
    use bytes::{Buf, BufMut, Bytes};
    use tonic::Status;
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

    pub(super) struct RawCodec;

    impl Codec for RawCodec {
        type Encode = Bytes;
        type Decode = Bytes;
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for RawCodec {
        type Item = Bytes;
        type Error = Status;

        fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
            buffer.put(item);
            Ok(())
        }
    }

    impl Decoder for RawCodec {
        type Item = Bytes;
        type Error = Status;

        fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
            Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
        }
    }
}
