//! Recorded output, in which a `*` stands for what differs from run to run.

use anyhow::{Result, ensure};

/// Whether text is what was expected. Lines are compared word by word, so that widths of columns do not matter; a `*` within a
/// word stands for anything in it, and a line that is `...` for any lines.
///
/// # Errors
/// If it is not; with both.
pub(crate) fn expect(actual: &str, expected: &str) -> Result<()> {
    let actual_lines: Vec<&str> = actual
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let expected_lines: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    ensure!(
        lines_match(&actual_lines, &expected_lines),
        "expected:\n{expected}\n\nbut this was printed:\n{actual}"
    );
    Ok(())
}

fn lines_match(actual: &[&str], expected: &[&str]) -> bool {
    match (actual, expected) {
        (_, ["...", rest @ ..]) => (0..=actual.len()).any(|skipped| lines_match(&actual[skipped..], rest)),
        ([line, actual @ ..], [pattern, expected @ ..]) => line_matches(line, pattern) && lines_match(actual, expected),
        ([], []) => true,
        _ => false,
    }
}

fn line_matches(line: &str, pattern: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let patterns: Vec<&str> = pattern.split_whitespace().collect();
    words.len() == patterns.len()
        && words
            .iter()
            .zip(patterns)
            .all(|(word, pattern)| word_matches(word, pattern))
}

fn word_matches(word: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => word == pattern,
        Some((before, after)) => {
            let rest = word.strip_prefix(before);
            rest.is_some_and(|rest| {
                (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| word_matches(rest, after)))
            })
        }
    }
}

#[test]
fn patterns_match_what_they_should() {
    expect("NAME   AGE\nweb-1  5s\n", "NAME AGE\nweb-* *s").unwrap();
    expect("a\nb\nc\nd\n", "a\n...\nd").unwrap();
    expect("a\nd\n", "a\n...\nd").unwrap();
    for (actual, expected) in [
        ("a b", "a"),
        ("a", "a b"),
        ("a\nb", "a"),
        ("web", "we-*"),
        ("a\nb", "...\nc"),
    ] {
        expect(actual, expected).unwrap_err();
    }
}
