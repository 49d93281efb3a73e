//! What happened, in order: a hash of it always, the text on demand. The same seed must give the same.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use super::net::Millis;

/// The trace of one run. Clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    hasher: DefaultHasher,
    lines: u64,
    line: String,
    text: Option<String>,
}

impl Trace {
    /// An empty trace, which keeps its text or not.
    pub fn new(keep: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            // Of fixed keys, unlike that of a map.
            hasher: DefaultHasher::new(),
            lines: 0,
            line: String::new(),
            text: keep.then(String::new),
        })))
    }

    /// Notes what happened at a time.
    pub fn note<T: std::fmt::Display>(&self, now: Millis, what: impl FnOnce() -> T) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner {
            hasher,
            lines,
            line,
            text,
        } = &mut *inner;
        line.clear();
        // A string takes everything.
        let _ = writeln!(line, "{now} {}", what());
        hasher.write(line.as_bytes());
        *lines += 1;
        if let Some(text) = text {
            text.push_str(line);
        }
    }

    /// A hash of everything so far, and how many lines it is of.
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.hasher.finish(), inner.lines)
    }

    /// Everything so far, if it was kept.
    pub fn text(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}
