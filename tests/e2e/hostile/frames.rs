//! HTTP/2 as no library would write it: frames by hand.

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::client::TlsStream;
use trireme_tests::harness::PATIENCE;

/// The error with which a connection ends that is too much.
pub(super) const ENHANCE_YOUR_CALM: u32 = 0xb;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

/// `POST https://localhost/version` with `content-length: 1`, in HPACK without its dynamic table.
const REQUEST_OF_ONE_BYTE: &[u8] = b"\x83\x87\x04\x08/version\x01\x09localhost\x0f\x0d\x011";
/// `GET https://a/`, the same way, and as short as can be.
const REQUEST: &[u8] = b"\x82\x87\x84\x01\x01a";

/// A connection: what is queued is sent at once, and what comes is read all along.
pub(super) struct Http2 {
    writer: WriteHalf<TlsStream<TcpStream>>,
    queue: Vec<u8>,
    reader: JoinHandle<Option<u32>>,
}

impl Http2 {
    pub(super) async fn begin(stream: TlsStream<TcpStream>) -> Result<Self> {
        let (reader, writer) = tokio::io::split(stream);
        let mut begun = Self {
            writer,
            queue: PREFACE.to_vec(),
            reader: tokio::spawn(read(reader)),
        };
        begun.frame(SETTINGS, 0, 0, &[]);
        begun.send().await?;
        Ok(begun)
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.queue.extend_from_slice(&length[1..]);
        self.queue.extend_from_slice(&[kind, flags]);
        self.queue.extend_from_slice(&stream.to_be_bytes());
        self.queue.extend_from_slice(payload);
    }

    /// A whole request, and taken back at once.
    pub(super) fn request_and_reset(&mut self, stream: u32) {
        self.frame(HEADERS, END_STREAM | END_HEADERS, stream, REQUEST);
        self.frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    /// A request that the server must take back: it goes on behind the end that it has told.
    pub(super) fn request_in_error(&mut self, stream: u32) {
        self.frame(HEADERS, END_HEADERS, stream, REQUEST_OF_ONE_BYTE);
        self.frame(DATA, 0, stream, b"more");
    }

    /// A request whose headers go on.
    pub(super) fn unfinished_request(&mut self, stream: u32) {
        self.frame(HEADERS, END_STREAM, stream, REQUEST);
    }

    /// More of the headers, of about so many bytes, which do not end either.
    pub(super) fn continuation(&mut self, stream: u32, bytes: usize) {
        // `a: b`, a header that enters no table.
        let headers = b"\x00\x01a\x01b".repeat(bytes.div_ceil(5));
        self.frame(CONTINUATION, 0, stream, &headers);
    }

    pub(super) fn ping(&mut self) {
        self.frame(PING, 0, 0, b"answer!!");
    }

    pub(super) fn settings(&mut self) {
        self.frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    }

    pub(super) fn priority(&mut self) {
        self.frame(PRIORITY, 0, 1_000_001, &[0, 0, 0, 0, 7]);
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) async fn send(&mut self) -> Result<()> {
        self.writer.write_all(&std::mem::take(&mut self.queue)).await?;
        self.writer.flush().await?;
        Ok(())
    }

    /// Waits until the server lets go; with the error that it told, if that came through.
    pub(super) async fn closed(mut self) -> Result<Option<u32>> {
        let _ = self.send().await;
        let read = tokio::time::timeout(PATIENCE, self.reader).await;
        Ok(read.context("the connection stays open")??)
    }
}

/// Reads to the end; the error code of the last GOAWAY.
async fn read(mut reader: ReadHalf<TlsStream<TcpStream>>) -> Option<u32> {
    let mut why = None;
    let mut head = [0; FRAME_HEAD_BYTES];
    while reader.read_exact(&mut head).await.is_ok() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if reader.read_exact(&mut payload).await.is_err() {
            break;
        }
        if head[3] == GOAWAY
            && let Some(code) = payload.get(4..8)
        {
            why = Some(u32::from_be_bytes([code[0], code[1], code[2], code[3]]));
        }
    }
    why
}
