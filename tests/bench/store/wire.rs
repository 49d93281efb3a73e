//! One connection to an endpoint of gRPC that costs the client next to nothing: gRPC frames written and read in place.
//!
//! The client shares its cores with the servers that it measures. A general gRPC client spends as much on a request as
//! a good server does, so that the ratio of two servers would mostly be that of the client with itself. This one does
//! what such clients do on the wire, and no more: one buffer out, one buffer in, no task and no allocation a request.
//! It knows one answer a request, or a stream of messages, and nothing of reconnecting, deadlines or metadata.

use std::{
    collections::HashMap,
    io::{Read, Write},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::{
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEAD_BYTES, HEADERS, MAX_FRAME_BYTES, PING, PRIORITY,
        RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, take_messages, unpadded, write_head,
    },
    hpack::{self, RequestHeaders},
};

/// What a connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The window that both sides begin with.
const INITIAL_WINDOW_BYTES: u32 = 65_535;
/// The greatest window: answers are never held up by us.
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// How much is received before the connection's window is opened again.
const WINDOW_UPDATE_BYTES: u64 = 256 << 20;
/// Size of the buffer that answers are read into.
const INPUT_BYTES: usize = 256 << 10;

/// The status of an answer that was cut off by the server.
pub const STATUS_RESET: u8 = 255;
/// The status of an answer that had none.
const STATUS_UNKNOWN: u8 = 2;

/// What was received.
#[derive(Debug)]
pub enum Received<'m> {
    /// A stream is answered.
    Opened,
    /// An answer, or a stream, has ended.
    Ended {
        /// When its request was written.
        started: Instant,
        /// How many bytes it had, with their prefixes.
        bytes: usize,
        /// Status of gRPC; 0 is success.
        status: u8,
    },
    /// A message of a stream.
    Message(&'m [u8]),
}

/// TLS, between what is sent and the frames.
#[derive(Debug)]
struct Tls {
    session: ClientConnection,
    /// What came from the socket.
    input: Vec<u8>,
}

/// A request whose answer has not ended.
#[derive(Debug)]
struct Open {
    started: Instant,
    bytes: usize,
    /// The beginning of a message whose end is not here yet; only for streams.
    partial: Option<Vec<u8>>,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// `None` for a connection without TLS.
    tls: Option<Box<Tls>>,
    authority: String,
    headers: RequestHeaders,
    input: Vec<u8>,
    input_end: usize,
    output: Vec<u8>,
    output_start: usize,
    open: HashMap<u32, Open>,
    next_stream: u32,
    send_window: i64,
    max_streams: usize,
    unreported_bytes: u64,
}

impl Wire {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(endpoint: &str) -> Result<Self> {
        Self::connect_with(endpoint, None).await
    }

    /// Connects to `HOST:PORT` over TLS.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect_tls(endpoint: &str, config: Arc<ClientConfig>) -> Result<Self> {
        let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
        let mut session = ClientConnection::new(config, ServerName::try_from(host.to_owned())?)?;
        session.set_buffer_limit(None);
        let input = vec![0; INPUT_BYTES];
        Self::connect_with(endpoint, Some(Box::new(Tls { session, input }))).await
    }

    async fn connect_with(endpoint: &str, tls: Option<Box<Tls>>) -> Result<Self> {
        let stream = TcpStream::connect(endpoint)
            .await
            .with_context(|| format!("connecting to {endpoint}"))?;
        stream.set_nodelay(true)?;
        let mut output = PREFACE.to_vec();
        let mut settings = Vec::new();
        // No dynamic table for answers, no pushed streams, windows as great as they get.
        for (id, value) in [(1_u16, 0), (2, 0), (4, MAX_WINDOW_BYTES)] {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frame(&mut output, SETTINGS, 0, 0, &settings);
        let growth = MAX_WINDOW_BYTES - INITIAL_WINDOW_BYTES;
        frame(&mut output, WINDOW_UPDATE, 0, 0, &growth.to_be_bytes());
        let mut wire = Self {
            stream,
            tls,
            authority: endpoint.to_owned(),
            headers: RequestHeaders::default(),
            input: vec![0; INPUT_BYTES],
            input_end: 0,
            output,
            output_start: 0,
            open: HashMap::new(),
            next_stream: 1,
            send_window: INITIAL_WINDOW_BYTES.into(),
            max_streams: usize::MAX,
            unreported_bytes: 0,
        };
        wire.flush()?;
        Ok(wire)
    }

    /// Requests that have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Whether the server lets a request of that size be sent now.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.open.len() < self.max_streams && self.send_window >= bytes as i64
    }

    /// Appends a request, a message with its gRPC prefix, to what [`Wire::flush`] sends.
    pub fn request(&mut self, path: &str, message: &[u8], now: Instant) {
        self.begin(path, message, now, END_STREAM, None);
    }

    /// The same for a call whose answer is a stream of messages.
    pub fn request_stream(&mut self, path: &str, message: &[u8], now: Instant) {
        self.begin(path, message, now, END_STREAM, Some(Vec::new()));
    }

    /// The same for a call whose request stays open, too.
    pub fn open_stream(&mut self, path: &str, message: &[u8], now: Instant) {
        self.begin(path, message, now, 0, Some(Vec::new()));
    }

    fn begin(&mut self, path: &str, message: &[u8], now: Instant, last_flags: u8, partial: Option<Vec<u8>>) {
        debug_assert!(
            message.len() <= INITIAL_WINDOW_BYTES as usize,
            "a stream's first window must hold it"
        );
        let id = self.next_stream;
        self.next_stream += 2;
        let head = self.output.len();
        self.output.extend_from_slice(&[0; HEAD_BYTES]);
        self.headers.encode(path, &self.authority, &mut self.output);
        let length = self.output.len() - head - HEAD_BYTES;
        write_head(&mut self.output[head..], length, HEADERS, END_HEADERS, id);
        let mut chunks = message.chunks(MAX_FRAME_BYTES).peekable();
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_none() { last_flags } else { 0 };
            frame(&mut self.output, DATA, flags, id, chunk);
        }
        self.send_window -= message.len() as i64;
        let opened = Open {
            started: now,
            bytes: 0,
            partial,
        };
        self.open.insert(id, opened);
    }

    /// Sends what the socket takes without waiting.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn flush(&mut self) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            // The session keeps what the handshake does not let through yet, and so does not hold it up.
            tls.session.writer().write_all(&self.output).context("sending")?;
            self.output.clear();
            let mut socket = Unwaiting(&self.stream);
            while tls.session.wants_write() {
                match tls.session.write_tls(&mut socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error).context("sending"),
                }
            }
            return Ok(());
        }
        while self.output_start < self.output.len() {
            match self.stream.try_write(&self.output[self.output_start..]) {
                Ok(sent) => self.output_start += sent,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("sending"),
            }
        }
        self.output.clear();
        self.output_start = 0;
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.session.wants_write(),
            None => self.output_start < self.output.len(),
        }
    }

    /// Waits until something is received or sent, or until `deadline`; hands on what was received.
    ///
    /// # Errors
    /// If the connection is broken or the server breaks the protocol.
    pub async fn turn(&mut self, deadline: Instant, mut handle: impl FnMut(Received<'_>)) -> Result<()> {
        let unsent = self.has_unsent();
        let (mut reader, writer) = self.stream.split();
        let buffer = match &mut self.tls {
            Some(tls) => &mut tls.input,
            None => &mut self.input[self.input_end..],
        };
        let received = tokio::select! {
            biased;
            received = reader.read(buffer) => Some(received.context("receiving")?),
            writable = writer.writable(), if unsent => {
                writable.context("sending")?;
                None
            }
            () = sleep_until(deadline) => None,
        };
        match received {
            Some(0) => bail!("the server closed the connection"),
            Some(count) if self.tls.is_some() => self.decrypt(count, &mut handle)?,
            Some(count) => {
                self.input_end += count;
                self.take_frames(&mut handle)?;
            }
            None => {}
        }
        self.flush()
    }

    /// Takes the frames in so many bytes from the socket.
    fn decrypt(&mut self, count: usize, handle: &mut impl FnMut(Received<'_>)) -> Result<()> {
        let Some(mut tls) = self.tls.take() else {
            return Ok(());
        };
        let mut encrypted = &tls.input[..count];
        while !encrypted.is_empty() {
            tls.session.read_tls(&mut encrypted).context("receiving")?;
            let ready = tls.session.process_new_packets().context("TLS")?;
            let mut left = ready.plaintext_bytes_to_read();
            while left > 0 {
                let room = &mut self.input[self.input_end..];
                let read = tls.session.reader().read(room).context("receiving")?;
                left -= read;
                self.input_end += read;
                self.take_frames(handle)?;
            }
        }
        self.tls = Some(tls);
        Ok(())
    }

    fn take_frames(&mut self, handle: &mut impl FnMut(Received<'_>)) -> Result<()> {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while self.input_end - at >= HEAD_BYTES {
            let head = &input[at..at + HEAD_BYTES];
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            ensure!(
                length <= MAX_FRAME_BYTES,
                "a frame of {length} bytes, which nobody allowed"
            );
            if self.input_end - at - HEAD_BYTES < length {
                break;
            }
            let (kind, flags) = (head[3], head[4]);
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            let payload = &input[at + HEAD_BYTES..at + HEAD_BYTES + length];
            self.take_frame(kind, flags, id, payload, handle)?;
            at += HEAD_BYTES + length;
        }
        input.copy_within(at..self.input_end, 0);
        self.input_end -= at;
        self.input = input;
        Ok(())
    }

    fn take_frame(
        &mut self,
        kind: u8,
        flags: u8,
        id: u32,
        payload: &[u8],
        handle: &mut impl FnMut(Received<'_>),
    ) -> Result<()> {
        match kind {
            DATA => self.take_data(flags, id, payload, handle),
            HEADERS => {
                ensure!(flags & END_HEADERS != 0, "headers in pieces");
                let block = unpadded(flags, payload)?;
                let block = if flags & PRIORITY != 0 {
                    block.get(5..).context("a short frame")?
                } else {
                    block
                };
                let status = hpack::grpc_status(block)?;
                if flags & END_STREAM != 0 {
                    self.end(id, status.unwrap_or(STATUS_UNKNOWN), handle);
                } else if self.open.get(&id).is_some_and(|open| open.partial.is_some()) {
                    handle(Received::Opened);
                }
                Ok(())
            }
            RST_STREAM => {
                self.end(id, STATUS_RESET, handle);
                Ok(())
            }
            SETTINGS if flags & ACK == 0 => self.take_settings(payload),
            PING if flags & ACK == 0 => {
                frame(&mut self.output, PING, ACK, 0, payload);
                Ok(())
            }
            GOAWAY => bail!("the server ends the connection: {}", String::from_utf8_lossy(payload)),
            WINDOW_UPDATE if id == 0 => {
                let bytes = <[u8; 4]>::try_from(payload).context("a window update has four bytes")?;
                self.send_window += i64::from(u32::from_be_bytes(bytes));
                Ok(())
            }
            CONTINUATION => bail!("headers in pieces"),
            _ => Ok(()),
        }
    }

    fn take_settings(&mut self, payload: &[u8]) -> Result<()> {
        for entry in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                1 => ensure!(value >= 4_096, "the server keeps fewer headers than everyone does"),
                3 => self.max_streams = value as usize,
                4 => ensure!(
                    value >= INITIAL_WINDOW_BYTES,
                    "the server's streams have a small window"
                ),
                _ => {}
            }
        }
        frame(&mut self.output, SETTINGS, ACK, 0, &[]);
        Ok(())
    }

    fn take_data(&mut self, flags: u8, id: u32, payload: &[u8], handle: &mut impl FnMut(Received<'_>)) -> Result<()> {
        self.unreported_bytes += payload.len() as u64;
        if self.unreported_bytes >= WINDOW_UPDATE_BYTES {
            let bytes = self.unreported_bytes as u32;
            frame(&mut self.output, WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes());
            self.unreported_bytes = 0;
        }
        let content = unpadded(flags, payload)?;
        if let Some(open) = self.open.get_mut(&id) {
            open.bytes += content.len();
            if let Some(partial) = &mut open.partial {
                take_messages(partial, content, &mut |message| handle(Received::Message(message)));
            }
        }
        if flags & END_STREAM != 0 {
            self.end(id, STATUS_UNKNOWN, handle);
        }
        Ok(())
    }

    fn end(&mut self, id: u32, status: u8, handle: &mut impl FnMut(Received<'_>)) {
        if let Some(Open { started, bytes, .. }) = self.open.remove(&id) {
            handle(Received::Ended { started, bytes, status });
        }
    }
}

/// A socket that takes what it has room for and never waits.
struct Unwaiting<'s>(&'s TcpStream);

impl Write for Unwaiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
