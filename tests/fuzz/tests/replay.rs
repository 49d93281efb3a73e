//! Every target meets its corpus, and a fixed number of mutations of it.

use trireme_fuzz::targets::ALL;
use trireme_fuzz::{Corpus, Found, Runner};

/// The seed of the mutations, and how many of them each target meets.
const SEED: u64 = 1;
const MUTATIONS: u64 = 10_000;

/// A target whose whole corpus is refused sees nothing behind its first check.
#[test]
fn every_target_accepts_some_of_its_corpus_and_breaks_on_none() {
    for target in ALL {
        let runner = Runner::new(target, SEED).expect("a corpus");
        let found = runner.corpus().unwrap_or_else(|broken| panic!("{broken:#}"));
        assert!(
            found.accepted > 0,
            "{} accepts nothing of its corpus: {found:?}",
            target.name
        );
    }
}

#[test]
fn no_mutation_breaks_a_target() {
    for target in ALL {
        println!("{}: {MUTATIONS} mutations of seed {SEED}", target.name);
        let runner = Runner::new(target, SEED).expect("a corpus");
        let Found { refused, .. } = runner
            .mutations(0..MUTATIONS)
            .unwrap_or_else(|broken| panic!("{broken:#}"));
        assert!(refused > 0, "{} refuses nothing at all", target.name);
    }
}

/// What decodes today is what the corpus was made of: a format that changed unnoticed would show here.
#[test]
fn the_corpus_holds_what_the_encoders_write() {
    for target in ALL {
        let corpus = Corpus::read(target).expect("a corpus");
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let name = Corpus::seed_name(number);
            let kept = corpus.inputs.iter().find(|(other, _)| *other == name);
            let same = kept.is_some_and(|(_, bytes)| bytes == seed);
            assert!(
                same,
                "{} {name} is not what is encoded now: ./x fuzz {} --write-seeds",
                target.name, target.name
            );
        }
    }
}
