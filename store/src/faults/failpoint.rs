//! Points of the code at which a server can be made to crash, as if it had been killed right there.
//!
//! A point that is armed counts down each time it is passed; at zero the process is aborted: nothing is flushed, closed or
//! told to anybody. What is armed is of the process, and comes from a file, so that a running server can be told.

/// One point.
#[cfg_attr(
    not(feature = "faults"),
    expect(unreachable_pub, reason = "it is the feature's to show")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failpoint {
    /// The log is about to write a batch.
    LogBeforeWrite,
    /// The log has written a batch and not synced it.
    LogAfterWrite,
    /// The log has synced a batch and told nobody.
    LogAfterSync,
    /// The log goes over to a new segment: the file has its name, and nothing in it.
    LogSegmentChange,
    /// The log's purge is durable, and the files that it freed are still there.
    LogPurged,
    /// A vote is about to be written.
    VoteBeforePersist,
    /// A vote is durable and not answered yet.
    VoteAfterPersist,
    /// Committed entries are about to be applied.
    ApplyBefore,
    /// They are applied, and nobody was told.
    ApplyAfter,
    /// The state is about to be flushed.
    FlushBefore,
    /// It is flushed, and the log not cut yet.
    FlushAfter,
    /// A snapshot to be sent is pinned.
    SnapshotPinned,
    /// Part of a snapshot was sent.
    SnapshotSending,
    /// A snapshot was received, whole.
    SnapshotReceived,
    /// A received snapshot is a state of its own beside the present one.
    SnapshotInstalling,
    /// It has taken the place of the present one, and consensus does not know.
    SnapshotInstalled,
    /// A compaction was applied; nothing was removed yet.
    CompactionMarked,
    /// Some of what is compacted away was removed.
    CompactionRemoving,
    /// A learner was added, and whoever asked for it was not told.
    MembershipLearnerAdded,
    /// A voter is being added: the configuration is both the old and the new one.
    MembershipJointAdding,
    /// A voter is being removed: the configuration is both the old and the new one.
    MembershipJointRemoving,
    /// A server id is taken, and was given to nobody.
    MembershipIdAllocated,
    /// A member was removed, and whoever asked for it was not told.
    MembershipRemoved,
    /// Events are ready to be sent to a watcher.
    WatchBeforeSend,
    /// Part of the history was read for a watcher that is behind.
    WatchCatchingUp,
    /// The mark of a quarantine is written beside its place.
    QuarantineMarking,
    /// A lease has expired and is about to be revoked.
    LeaseRevoking,
}

#[cfg(not(feature = "faults"))]
pub(crate) use off::point;
#[cfg(feature = "faults")]
pub use on::follow;
#[cfg(feature = "faults")]
pub(crate) use on::point;

#[cfg(not(feature = "faults"))]
mod off {
    use super::Failpoint;

    /// Nothing.
    #[inline(always)]
    pub(crate) const fn point(_at: Failpoint) {}
}

#[cfg(feature = "faults")]
mod on {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::str::FromStr;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::Failpoint;

    /// How often the file is looked at.
    const LOOK_PERIOD: Duration = Duration::from_millis(20);

    /// How often each point is still to be passed until it crashes; 0 for never.
    static ARMED: [AtomicU32; Failpoint::ALL.len()] = [const { AtomicU32::new(0) }; Failpoint::ALL.len()];

    impl Failpoint {
        /// All of them.
        pub const ALL: [Self; 27] = [
            Self::LogBeforeWrite,
            Self::LogAfterWrite,
            Self::LogAfterSync,
            Self::LogSegmentChange,
            Self::LogPurged,
            Self::VoteBeforePersist,
            Self::VoteAfterPersist,
            Self::ApplyBefore,
            Self::ApplyAfter,
            Self::FlushBefore,
            Self::FlushAfter,
            Self::SnapshotPinned,
            Self::SnapshotSending,
            Self::SnapshotReceived,
            Self::SnapshotInstalling,
            Self::SnapshotInstalled,
            Self::CompactionMarked,
            Self::CompactionRemoving,
            Self::MembershipLearnerAdded,
            Self::MembershipJointAdding,
            Self::MembershipJointRemoving,
            Self::MembershipIdAllocated,
            Self::MembershipRemoved,
            Self::WatchBeforeSend,
            Self::WatchCatchingUp,
            Self::QuarantineMarking,
            Self::LeaseRevoking,
        ];

        /// Its name, in the file that arms it and in the last words of who crashes there.
        pub fn name(self) -> String {
            let mut name = String::new();
            for letter in format!("{self:?}").chars() {
                if letter.is_ascii_uppercase() && !name.is_empty() {
                    name.push('-');
                }
                name.push(letter.to_ascii_lowercase());
            }
            name
        }

        /// The last words of a process that crashes there.
        pub fn last_words(self) -> String {
            format!("trireme: crashes at the failpoint {}", self.name())
        }

        fn armed(self) -> &'static AtomicU32 {
            &ARMED[self as usize]
        }
    }

    impl FromStr for Failpoint {
        type Err = String;

        fn from_str(name: &str) -> Result<Self, String> {
            let found = Self::ALL.into_iter().find(|point| point.name() == name);
            found.ok_or_else(|| format!("no failpoint is called `{name}`"))
        }
    }

    /// Passes a point. If it is armed and this was the last time, the process ends here.
    pub(crate) fn point(at: Failpoint) {
        if at.armed().load(Ordering::Relaxed) == 0 {
            return;
        }
        let left = at
            .armed()
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left == Ok(1) {
            eprintln!("{}", at.last_words());
            std::process::abort();
        }
    }

    /// Arms what the file `path` says, now and whenever it changes: lines of a point's name and, after a space, at
    /// which passage it crashes, the first if none is given. Without the file nothing is armed.
    ///
    /// # Errors
    /// If the file says something else, or the thread that looks cannot be started.
    pub fn follow(path: PathBuf) -> io::Result<()> {
        let mut known = read(&path)?;
        arm(&known)?;
        let look = move || {
            loop {
                pause();
                match read(&path) {
                    Ok(found) if found != known => {
                        if let Err(error) = arm(&found) {
                            eprintln!("trireme: {}: {error}", path.display());
                        }
                        known = found;
                    }
                    Ok(_) => {}
                    Err(error) => eprintln!("trireme: {}: {error}", path.display()),
                }
            }
        };
        std::thread::Builder::new().name("failpoints".into()).spawn(look)?;
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of its own, which has nothing else to do"
    )]
    fn pause() {
        std::thread::sleep(LOOK_PERIOD);
    }

    fn read(path: &Path) -> io::Result<String> {
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        }
    }

    fn arm(text: &str) -> io::Result<()> {
        let points = parse(text).map_err(io::Error::other)?;
        for point in Failpoint::ALL {
            let passages = points
                .iter()
                .find(|(armed, _)| *armed == point)
                .map_or(0, |(_, passages)| *passages);
            point.armed().store(passages, Ordering::Relaxed);
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Vec<(Failpoint, u32)>, String> {
        let one = |line: &str| {
            let (name, passages) = line.split_once(' ').unwrap_or((line, "1"));
            let passages = passages.parse().map_err(|error| format!("`{line}`: {error}"))?;
            Ok((name.parse()?, passages))
        };
        text.lines().filter(|line| !line.is_empty()).map(one).collect()
    }
}
