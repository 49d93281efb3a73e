//! The file that a received snapshot goes to, piece by piece: written on the blocking pool, in a simulation on the spot.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use tokio::io::AsyncWriteExt;

/// See the module.
#[derive(Debug)]
pub(crate) enum PartFile {
    Pool(tokio::fs::File),
    #[cfg(feature = "sim")]
    Spot(std::fs::File),
}

impl PartFile {
    /// Opens the file, to begin it anew or to go on at its end.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn open(path: &Path, append: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(!append).append(append).write(true);
        #[cfg(feature = "sim")]
        if crate::sim::is_simulated() {
            return options.open(path).map(Self::Spot);
        }
        let file = tokio::fs::OpenOptions::from(options).open(path).await?;
        Ok(Self::Pool(file))
    }

    /// Writes a piece.
    pub(crate) async fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Pool(file) => file.write_all(piece).await,
            #[cfg(feature = "sim")]
            Self::Spot(file) => io::Write::write_all(file, piece),
        }
    }

    /// Waits until everything is written.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Pool(file) => file.flush().await,
            #[cfg(feature = "sim")]
            Self::Spot(file) => io::Write::flush(file),
        }
    }
}
