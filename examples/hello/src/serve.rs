//! The HTTP server: one thread a connection, one request a connection.
//!
//! Under the process runtime all pods share the host's network. There each pod has a loopback address
//! of its own in `TRIREME_POD_IP`, and the server binds it; if the port is taken all the same, any
//! free port does, and the log names it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DEFAULT_PORT: u16 = 8080;
/// A request head longer than this is refused.
const REQUEST_HEAD_MAX_LINES: usize = 100;
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS_MAX: u64 = 64;

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn serve() -> ExitCode {
    crate::signals::exit_on_termination("hello: terminated\n");
    let listener = match bind() {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("hello: cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    match listener.local_addr() {
        Ok(address) => println!("hello: serving on http://{address}/ as {}", name()),
        Err(error) => eprintln!("hello: serving, address unknown: {error}"),
    }
    for connection in listener.incoming().flatten() {
        if CONNECTIONS.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            CONNECTIONS.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        std::thread::spawn(move || {
            if let Err(error) = answer(connection) {
                eprintln!("hello: connection failed: {error}");
            }
            CONNECTIONS.fetch_sub(1, Ordering::SeqCst);
        });
    }
    ExitCode::SUCCESS
}

fn bind() -> std::io::Result<TcpListener> {
    let port = std::env::var("PORT")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_PORT);
    let host = std::env::var("TRIREME_POD_IP").unwrap_or_else(|_| "0.0.0.0".to_owned());
    match TcpListener::bind((host.as_str(), port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            eprintln!("hello: port {port} is taken, choosing a free one");
            TcpListener::bind((host.as_str(), 0))
        }
        outcome => outcome,
    }
}

fn name() -> String {
    std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .ok()
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn answer(connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    for _ in 0..REQUEST_HEAD_MAX_LINES {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
    }
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (status, body) = respond(method, path);
    let mut connection = reader.into_inner();
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    println!("{method} {path} {status}");
    Ok(())
}

fn respond(method: &str, path: &str) -> (&'static str, String) {
    match (method, path) {
        ("GET", "/healthz") => ("200 OK", "ok\n".to_owned()),
        ("GET", "/") => {
            let count = REQUESTS.fetch_add(1, Ordering::SeqCst) + 1;
            ("200 OK", format!("Hello from {}! This is request {count}.\n", name()))
        }
        ("GET", _) => ("404 Not Found", "not found\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    }
}
