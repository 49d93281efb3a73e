//! Gives a target its inputs, one after the other, and says which one broke it.

use std::any::Any;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::corpus::Corpus;
use crate::mutate::mutate;
use crate::targets::Target;
use crate::usage::peak_of;

/// Runs one target.
#[derive(Debug)]
pub struct Runner {
    target: &'static Target,
    corpus: Corpus,
    seed: u64,
    /// Holds the number of the input that is being tried, for what ends the process.
    trace: File,
    folder: PathBuf,
}

/// What inputs were taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Taken for what they should be.
    pub accepted: u64,
    /// Refused.
    pub refused: u64,
}

/// An input that broke a target.
#[derive(Debug, thiserror::Error)]
#[error(
    "{target} is broken by {what}: {why}\n\
     the input is {}\n\
     keep it:    cp {} {}/\n\
     replay it:  ./x fuzz {target} --input {}",
    path.display(), path.display(), corpus.display(), path.display()
)]
pub struct Broken {
    /// The target's name.
    pub target: &'static str,
    /// Where the input comes from.
    pub what: String,
    /// What happened.
    pub why: String,
    /// The input.
    pub path: PathBuf,
    /// Where inputs are kept.
    pub corpus: PathBuf,
}

impl Runner {
    /// Reads the target's corpus.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(target: &'static Target, seed: u64) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        Ok(Self {
            target,
            corpus: Corpus::read(target)?,
            seed,
            trace: File::create(folder.join(format!("{}.at", target.name)))?,
            folder,
        })
    }

    /// Tries every input of the corpus.
    ///
    /// # Errors
    /// The first that breaks the target.
    pub fn corpus(&self) -> Result<Found> {
        let mut found = Found::default();
        for (name, input) in &self.corpus.inputs {
            found.note(self.one(input, &format!("`{name}` of its corpus"))?);
        }
        Ok(found)
    }

    /// Tries the mutation of that number.
    ///
    /// # Errors
    /// If it breaks the target.
    pub fn mutation(&self, number: u64) -> Result<bool> {
        // What ends the process, such as a stack that is used up, leaves the number here.
        let line = format!("seed {:>20} number {number:>20}\n", self.seed);
        self.trace.write_all_at(line.as_bytes(), 0)?;
        let input = self.input(number);
        self.one(&input, &format!("mutation {number} of seed {}", self.seed))
    }

    /// Tries these mutations.
    ///
    /// # Errors
    /// The first that breaks the target.
    pub fn mutations(&self, numbers: std::ops::Range<u64>) -> Result<Found> {
        let mut found = Found::default();
        for number in numbers {
            found.note(self.mutation(number)?);
        }
        Ok(found)
    }

    /// The mutation of that number.
    fn input(&self, number: u64) -> Vec<u8> {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.target.name, number).hash(&mut hasher);
        let mut random = SmallRng::seed_from_u64(hasher.finish());
        mutate(&self.corpus.inputs, self.target.words, &mut random)
    }

    /// Tries one input; whether it was accepted.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn one(&self, input: &[u8], what: &str) -> Result<bool> {
        let (outcome, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (self.target.run)(input))));
        let most = self.target.memory_of(input.len());
        let why = match outcome {
            Err(panic) => said(&*panic),
            Ok(_) if peak > most => {
                let bytes = input.len();
                format!("{bytes} bytes made it hold {peak} bytes at once; {most} are allowed")
            }
            Ok(accepted) => return Ok(accepted),
        };
        let path = self
            .folder
            .join(format!("{}-{:08x}", self.target.name, crc32fast::hash(input)));
        std::fs::write(&path, input)?;
        let (target, corpus) = (self.target.name, Corpus::folder(self.target));
        let what = what.to_owned();
        Err(Broken {
            target,
            what,
            why,
            path,
            corpus,
        }
        .into())
    }
}

impl Found {
    /// Counts one input.
    pub fn note(&mut self, accepted: bool) {
        if accepted {
            self.accepted += 1;
        } else {
            self.refused += 1;
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets;

    const PANICS: Target = Target {
        name: "command",
        about: "",
        run: |_| panic!("on purpose"),
        seeds: Vec::new,
        words: &[],
        memory: (0, 1),
    };
    const HOARDS: Target = Target {
        run: |input| {
            std::hint::black_box(vec![1_u8; input.len() + 1]);
            true
        },
        ..PANICS
    };

    #[test]
    fn what_breaks_a_target_is_told_with_the_way_to_repeat_it() {
        for (target, why) in [(&PANICS, "on purpose"), (&HOARDS, "made it hold")] {
            let target: &'static Target = Box::leak(Box::new(target.clone()));
            let runner = Runner::new(target, 1).unwrap();
            let error = runner.one(b"input", "a test").unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("./x fuzz command --input "),
                "{error}"
            );
            let broken = runner
                .one(b"input", "a test")
                .unwrap_err()
                .downcast::<Broken>()
                .unwrap();
            assert_eq!(std::fs::read(&broken.path).unwrap(), b"input");
            std::fs::remove_file(&broken.path).unwrap();
        }
    }

    #[test]
    fn every_target_has_a_name_of_its_own() {
        let mut names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), targets::ALL.len());
    }
}
