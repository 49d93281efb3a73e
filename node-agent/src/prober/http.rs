//! A plain HTTP request whose answer's status alone counts: probes and lifecycle hooks make it.
//!
//! TLS is not spoken: with the scheme HTTPS, that the port answers is all that can be told.

use super::{Failure, connect, host_of, port_number};
use std::net::IpAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trireme_proto::api::core::v1::{Container, HttpGetAction};

/// The longest status line that is read, in bytes.
const STATUS_LINE_MAX_BYTES: u64 = 256;

/// A request whose answer's status is from 200 to 399 succeeded.
pub(crate) async fn get(container: &Container, http: &HttpGetAction, address: Option<IpAddr>) -> Result<(), Failure> {
    let host = host_of(&http.host, address)?;
    let port = port_number(container, http.port.as_ref())?;
    if http.scheme.eq_ignore_ascii_case("HTTPS") {
        return connect(&host, port).await.map(|_| ());
    }
    let request = request(http, &host, port)?;
    let mut stream = connect(&host, port).await?;
    let broken = |error: std::io::Error| format!("Get \"http://{host}:{port}{}\": {error}", path_of(http));
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut head = Vec::new();
    stream
        .take(STATUS_LINE_MAX_BYTES)
        .read_to_end(&mut head)
        .await
        .map_err(broken)?;
    match status_of(&head) {
        Some(status) if (200..400).contains(&status) => Ok(()),
        Some(status) => Err(format!("HTTP probe failed with statuscode: {status}")),
        None => Err(format!(
            "Get \"http://{host}:{port}{}\": the answer is not HTTP",
            path_of(http)
        )),
    }
}

fn path_of(http: &HttpGetAction) -> String {
    if http.path.starts_with('/') {
        http.path.clone()
    } else {
        format!("/{}", http.path)
    }
}

/// The request as text. What could break out of its line is refused or left out.
fn request(http: &HttpGetAction, host: &str, port: u16) -> Result<String, Failure> {
    let is_plain = |text: &str| !text.contains(['\r', '\n']);
    let path = path_of(http);
    if !is_plain(&path) {
        return Err("the path holds a line break".to_owned());
    }
    let mut request = format!("GET {path} HTTP/1.1\r\nUser-Agent: trireme-probe\r\nConnection: close\r\n");
    let has_host = http
        .http_headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case("Host"));
    if !has_host {
        request.push_str(&format!("Host: {host}:{port}\r\n"));
    }
    for header in &http.http_headers {
        if is_plain(&header.name) && is_plain(&header.value) {
            request.push_str(&format!("{}: {}\r\n", header.name, header.value));
        }
    }
    request.push_str("\r\n");
    Ok(request)
}

/// The status in an answer's first line.
fn status_of(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(..12)?)
        .ok()?
        .strip_prefix("HTTP/1.")?
        .get(2..5)?
        .parse()
        .ok()
}
