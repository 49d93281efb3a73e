//! Reading a backup: all of it is checked before any of it is used.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{BLOCK_BYTES, BODY_LENGTH_BYTES, BackupHeader, DIGEST_BYTES, FORMAT, MAGIC};
use crate::limits;

/// Why a file is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is not a backup of a Trireme cluster")]
    NotABackup,
    /// It is of another version.
    #[error("it has format {0}; this version knows format {FORMAT} only")]
    Format(u32),
    /// A part of it is missing, or was changed.
    #[error("it is damaged or was cut off: {0}")]
    Damaged(&'static str),
}

/// A backup whose checksum was found right.
#[derive(Debug)]
pub struct BackupFile {
    file: File,
    header: BackupHeader,
    body_offset: u64,
    body_length: u64,
}

impl BackupFile {
    /// Opens a backup and checks all of it. Blocking.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        Self::read(File::open(path)?)
    }

    pub(crate) fn read(mut file: File) -> Result<Self, BackupError> {
        let length = file.metadata()?.len();
        let mut magic = [0; MAGIC.len()];
        match file.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            Ok(()) | Err(_) => return Err(BackupError::NotABackup),
        }
        let sealed = length.checked_sub(DIGEST_BYTES).filter(|sealed| *sealed >= BLOCK_BYTES);
        let sealed = sealed.ok_or(BackupError::Damaged("it is too short"))?;
        if sealed % BLOCK_BYTES != 0 {
            return Err(BackupError::Damaged("its length is not that of a whole backup"));
        }
        check_digest(&mut file, sealed)?;
        let header = read_header(&mut file)?;
        let body_offset = file.stream_position()?;
        let body_length = read_body_length(&mut file, sealed)?;
        let room = sealed.checked_sub(body_offset + BODY_LENGTH_BYTES);
        if room.is_none_or(|room| body_length > room) {
            return Err(BackupError::Damaged("its parts do not fit together"));
        }
        Ok(Self {
            file,
            header,
            body_offset,
            body_length,
        })
    }

    /// What it is of.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// The state's snapshot in it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn snapshot(mut self) -> io::Result<Take<File>> {
        self.file.seek(SeekFrom::Start(self.body_offset))?;
        Ok(self.file.take(self.body_length))
    }
}

fn check_digest(file: &mut File, sealed: u64) -> Result<(), BackupError> {
    file.seek(SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; limits::BACKUP_CHUNK_BYTES];
    let mut left = sealed;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact(&mut buffer[..piece])?;
        digest.update(&buffer[..piece]);
        left -= piece as u64;
    }
    let mut stored = [0; DIGEST_BYTES as usize];
    file.read_exact(&mut stored)?;
    if digest.finalize()[..] == stored {
        Ok(())
    } else {
        Err(BackupError::Damaged("its checksum does not match"))
    }
}

fn read_header(file: &mut File) -> Result<BackupHeader, BackupError> {
    file.seek(SeekFrom::Start(MAGIC.len() as u64))?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limits::BACKUP_HEADER_BYTES_MAX {
        return Err(BackupError::Damaged("its header is too long"));
    }
    let mut header = vec![0; length];
    file.read_exact(&mut header)?;
    let mut crc = [0; 4];
    file.read_exact(&mut crc)?;
    if u32::from_be_bytes(crc) != crc32fast::hash(&header) {
        return Err(BackupError::Damaged("its header's checksum does not match"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(&header).map_err(|_| BackupError::Damaged("its header is no JSON"))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(BackupError::Format(u32::try_from(format).unwrap_or(u32::MAX))),
        None => return Err(BackupError::Damaged("its header has no format")),
    }
    serde_json::from_value(value).map_err(|_| BackupError::Damaged("its header cannot be understood"))
}

fn read_body_length(file: &mut File, sealed: u64) -> Result<u64, BackupError> {
    file.seek(SeekFrom::Start(sealed - BODY_LENGTH_BYTES))?;
    let mut length = [0; BODY_LENGTH_BYTES as usize];
    file.read_exact(&mut length)?;
    Ok(u64::from_be_bytes(length))
}
