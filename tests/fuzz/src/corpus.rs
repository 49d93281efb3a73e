//! The inputs that are kept in `tests/fuzz/corpus/<target>/`, one a file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::targets::Target;

/// The inputs of one target.
#[derive(Debug)]
pub struct Corpus {
    /// Names and bytes, in the order of the names.
    pub inputs: Vec<(String, Vec<u8>)>,
}

impl Corpus {
    /// Reads the inputs of `target`.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(target: &Target) -> Result<Self> {
        let folder = Self::folder(target);
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut inputs = Vec::new();
        for entry in entries {
            let entry = entry?;
            let bytes = std::fs::read(entry.path())?;
            inputs.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
        inputs.sort();
        Ok(Self { inputs })
    }

    /// Where the inputs of `target` are.
    #[must_use]
    pub fn folder(target: &Target) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
    }

    /// Writes the seeds that the target makes; what else is there stays.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_seeds(target: &Target) -> Result<usize> {
        let folder = Self::folder(target);
        std::fs::create_dir_all(&folder)?;
        let seeds = (target.seeds)();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(Self::seed_name(number)), seed)?;
        }
        Ok(seeds.len())
    }

    /// The file name of a seed.
    #[must_use]
    pub fn seed_name(number: usize) -> String {
        format!("seed-{number:02}")
    }
}
