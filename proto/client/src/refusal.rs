//! Whether a server refused our certificate. With TLS 1.3 it judges the certificate only after our side of the handshake
//! is over, so the refusal comes as the first thing that is read from a connection which seemed to stand; by then HTTP/2
//! owns the stream and reports no more than that it broke.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a server said against our certificate, if it said anything. Cloning shares the memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusal(Arc<OnceLock<String>>);

impl Refusal {
    /// The refusal as a sentence; none if the certificate was not refused, or not yet.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    fn note(&self, error: &io::Error) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = inner
            && is_about_certificate(*alert)
        {
            // The first refusal says it all.
            let _ = self.0.set(format!("it does not accept our certificate ({alert:?})"));
        }
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

/// A stream that remembers the refusal that was read from it.
pub(crate) struct Attentive<S> {
    stream: S,
    refusal: Refusal,
}

impl<S> Attentive<S> {
    /// Listens to a TLS stream.
    pub(crate) fn new(stream: S, refusal: Refusal) -> Self {
        Self { stream, refusal }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Attentive<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &polled {
            self.refusal.note(error);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Attentive<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alerts_about_the_certificate_are_refusals() {
        let check = |error: io::Error, refused: bool| {
            let refusal = Refusal::default();
            refusal.note(&error);
            assert_eq!(refusal.reason().is_some(), refused, "{error}");
        };
        let alert = |alert| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        check(alert(AlertDescription::UnknownCA), true);
        check(alert(AlertDescription::CertificateExpired), true);
        check(alert(AlertDescription::InternalError), false);
        check(io::Error::from(io::ErrorKind::ConnectionReset), false);
    }
}
