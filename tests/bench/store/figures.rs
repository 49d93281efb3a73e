//! What is measured, in which unit, and what it must reach.

use std::collections::BTreeMap;

use crate::harness::etcd::Peer;

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Puts a second by many clients over all endpoints.
    PutRate,
    /// Their median latency.
    PutMedian,
    /// Their 99th percentile.
    PutP99,
    /// Processor time of all servers a put.
    PutCpu,
    /// Puts a second by many clients at the leader.
    PutRateAtLeader,
    /// Processor time of all servers a put, with clients at the leader.
    PutCpuAtLeader,
    /// Puts a second by eight times as many clients.
    PutRateOfCrowd,
    /// How much of the rate is lost by them.
    PutLoss,
    /// Median latency of one client's puts, at each endpoint in turn.
    OneMedian,
    /// Its 99th percentile.
    OneP99,
    /// Median latency of one client's puts at the leader.
    OneMedianAtLeader,
    /// Linearizable reads of one key a second by many clients.
    GetRate,
    /// Their 99th percentile.
    GetP99,
    /// The same with clients at the leader.
    GetRateAtLeader,
    /// Ranges a second by many clients.
    RangeRate,
    /// Their 99th percentile.
    RangeP99,
    /// Events a second that watchers receive.
    WatchRate,
    /// The 99th percentile of the delay from write to event.
    WatchP99,
    /// What many idle watchers cost the server that they are on, resident.
    CrowdMemory,
    /// Events a second that they receive.
    CrowdRate,
    /// The 99th percentile of their delay from write to event.
    CrowdP99,
    /// Median latency of small writes of a few clients while nothing else is asked.
    CalmMedian,
    /// Its 99th percentile.
    CalmP99,
    /// The same beside a flood of large reads, median.
    FloodedMedian,
    /// Its 99th percentile.
    FloodedP99,
    /// What is left of the rate of those writes beside the flood.
    FloodedRate,
    /// Keys a second loaded in transactions.
    FillRate,
    /// Resident memory of all servers after many keys.
    MemoryRss,
    /// The same with shared pages counted once.
    MemoryPss,
    /// Bytes on disk of all servers after many keys.
    Disk,
    /// From the leader's kill to the first acknowledged write, 99th percentile.
    FailoverP99,
    /// The same, median.
    FailoverMedian,
    /// From the start of a killed server that holds much to its first linearizable read.
    Restart,
    /// Longest gap between acknowledged writes while nothing else happens.
    PauseAtRest,
    /// The same during a compaction.
    PauseAtCompaction,
    /// The same during a backup of each server.
    PauseAtBackup,
    /// The same while a server that fell behind is caught up.
    PauseAtSnapshot,
}

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things a second.
    PerSecond,
    /// Seconds, shown in what fits.
    Seconds,
    /// Bytes, shown in megabytes.
    Bytes,
    /// A part of one, shown in percent.
    Share,
}

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Trireme's is at least so many times etcd's.
    TimesAtLeast(f64),
    /// Trireme's is at most so many times etcd's.
    TimesAtMost(f64),
    /// Trireme's is at most that.
    AtMost(f64),
    /// Nothing is set.
    None,
}

impl Figure {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 37] = [
        Self::PutRate,
        Self::PutMedian,
        Self::PutP99,
        Self::PutCpu,
        Self::PutRateAtLeader,
        Self::PutCpuAtLeader,
        Self::PutRateOfCrowd,
        Self::PutLoss,
        Self::OneMedian,
        Self::OneP99,
        Self::OneMedianAtLeader,
        Self::GetRate,
        Self::GetP99,
        Self::GetRateAtLeader,
        Self::RangeRate,
        Self::RangeP99,
        Self::WatchRate,
        Self::WatchP99,
        Self::CrowdMemory,
        Self::CrowdRate,
        Self::CrowdP99,
        Self::CalmMedian,
        Self::CalmP99,
        Self::FloodedMedian,
        Self::FloodedP99,
        Self::FloodedRate,
        Self::FillRate,
        Self::MemoryRss,
        Self::MemoryPss,
        Self::Disk,
        Self::FailoverP99,
        Self::FailoverMedian,
        Self::Restart,
        Self::PauseAtRest,
        Self::PauseAtCompaction,
        Self::PauseAtBackup,
        Self::PauseAtSnapshot,
    ];

    /// What it is counted in.
    pub fn unit(self) -> Unit {
        match self {
            Self::PutRate
            | Self::PutRateAtLeader
            | Self::PutRateOfCrowd
            | Self::GetRate
            | Self::GetRateAtLeader
            | Self::RangeRate
            | Self::WatchRate
            | Self::CrowdRate
            | Self::FillRate => Unit::PerSecond,
            Self::PutLoss | Self::FloodedRate => Unit::Share,
            Self::CrowdMemory | Self::MemoryRss | Self::MemoryPss | Self::Disk => Unit::Bytes,
            Self::PutMedian
            | Self::PutP99
            | Self::PutCpu
            | Self::PutCpuAtLeader
            | Self::OneMedian
            | Self::OneP99
            | Self::OneMedianAtLeader
            | Self::GetP99
            | Self::RangeP99
            | Self::WatchP99
            | Self::CrowdP99
            | Self::CalmMedian
            | Self::CalmP99
            | Self::FloodedMedian
            | Self::FloodedP99
            | Self::FailoverP99
            | Self::FailoverMedian
            | Self::Restart
            | Self::PauseAtRest
            | Self::PauseAtCompaction
            | Self::PauseAtBackup
            | Self::PauseAtSnapshot => Unit::Seconds,
        }
    }

    /// What it must reach.
    pub fn goal(self) -> Goal {
        match self {
            Self::PutRate => Goal::TimesAtLeast(4.0),
            Self::PutCpu => Goal::TimesAtMost(0.25),
            Self::PutLoss => Goal::AtMost(0.2),
            Self::OneMedian => Goal::TimesAtMost(1.0),
            Self::GetRate | Self::RangeRate => Goal::TimesAtLeast(2.0),
            Self::WatchRate => Goal::TimesAtLeast(3.0),
            Self::MemoryRss => Goal::TimesAtMost(1.0 / 3.0),
            Self::FailoverP99 => Goal::AtMost(1.0),
            Self::Restart => Goal::AtMost(5.0),
            Self::PauseAtCompaction | Self::PauseAtBackup | Self::PauseAtSnapshot => Goal::AtMost(0.1),
            Self::PutMedian
            | Self::PutP99
            | Self::PutRateAtLeader
            | Self::PutCpuAtLeader
            | Self::PutRateOfCrowd
            | Self::OneP99
            | Self::OneMedianAtLeader
            | Self::GetP99
            | Self::GetRateAtLeader
            | Self::RangeP99
            | Self::WatchP99
            | Self::CrowdMemory
            | Self::CrowdRate
            | Self::CrowdP99
            | Self::CalmMedian
            | Self::CalmP99
            | Self::FloodedMedian
            | Self::FloodedP99
            | Self::FloodedRate
            | Self::FillRate
            | Self::MemoryPss
            | Self::Disk
            | Self::FailoverMedian
            | Self::PauseAtRest => Goal::None,
        }
    }
}

/// All values that were measured, by figure and peer, in the order of the rounds.
#[derive(Debug, Clone, Default)]
pub struct Samples(BTreeMap<(Figure, bool), Vec<f64>>);

/// The values of one figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one; of two, the lower.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many there are.
    pub count: usize,
}

impl Samples {
    /// Notes one value.
    pub fn add(&mut self, figure: Figure, peer: Peer, value: f64) {
        self.0.entry((figure, peer == Peer::Trireme)).or_default().push(value);
    }

    /// The spread of a figure, if it was measured.
    pub fn spread(&self, figure: Figure, peer: Peer) -> Option<Spread> {
        let mut values = self.0.get(&(figure, peer == Peer::Trireme))?.clone();
        values.sort_by(f64::total_cmp);
        Some(Spread {
            median: *values.get((values.len() - 1) / 2)?,
            min: *values.first()?,
            max: *values.last()?,
            count: values.len(),
        })
    }
}

impl Goal {
    /// Whether it is reached, as far as that was measured.
    pub fn reached(self, etcd: Option<Spread>, trireme: Option<Spread>) -> Option<bool> {
        let trireme = trireme?.median;
        match self {
            Self::TimesAtLeast(times) => Some(trireme >= etcd?.median * times),
            Self::TimesAtMost(times) => Some(trireme <= etcd?.median * times),
            Self::AtMost(limit) => Some(trireme <= limit),
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_by_the_medians() {
        let mut samples = Samples::default();
        for value in [100.0, 90.0, 400.0] {
            samples.add(Figure::PutRate, Peer::Etcd, value);
        }
        assert_eq!(samples.spread(Figure::PutRate, Peer::Trireme), None);
        samples.add(Figure::PutRate, Peer::Trireme, 399.0);
        let spread = |peer| samples.spread(Figure::PutRate, peer);
        assert_eq!(spread(Peer::Etcd).unwrap().median, 100.0);
        let goal = Figure::PutRate.goal();
        assert_eq!(goal.reached(spread(Peer::Etcd), spread(Peer::Trireme)), Some(false));
        assert_eq!(goal.reached(spread(Peer::Etcd), None), None);
        samples.add(Figure::PutRate, Peer::Trireme, 401.0);
        samples.add(Figure::PutRate, Peer::Trireme, 500.0);
        assert_eq!(
            goal.reached(
                samples.spread(Figure::PutRate, Peer::Etcd),
                samples.spread(Figure::PutRate, Peer::Trireme)
            ),
            Some(true)
        );
    }

    #[test]
    fn every_figure_is_shown_once() {
        let mut all = Figure::ALL.to_vec();
        all.dedup();
        assert_eq!(all.len(), Figure::ALL.len());
        assert!(all.is_sorted());
    }
}
