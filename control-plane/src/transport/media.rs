//! Media types, as `Accept` and `Content-Type` have them. Pure.

use crate::limits;

/// The weight of what a client says nothing about.
const WHOLE_THOUSANDTHS: u32 = 1_000;

/// A media type, or a range of them that a client accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Media {
    /// Type and subtype, in lower case.
    pub(super) essence: String,
    /// How much it is wanted; 0 for not at all.
    pub(super) weight_thousandths: u32,
    /// The kind that an object is to be shown as; empty for its own.
    pub(super) kind: String,
    /// The API group of that kind.
    pub(super) group: String,
    /// The version of that kind.
    pub(super) version: String,
    /// What it is a stream of; empty for none.
    pub(super) stream: String,
}

impl Media {
    /// Reads one, with its parameters. Text that is none fits nothing.
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut media = Self {
            essence: parts.next().unwrap_or_default().to_ascii_lowercase(),
            weight_thousandths: WHOLE_THOUSANDTHS,
            ..Self::default()
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => media.weight_thousandths = weight(value),
                "as" => value.clone_into(&mut media.kind),
                "g" => value.clone_into(&mut media.group),
                "v" => value.clone_into(&mut media.version),
                "stream" => value.clone_into(&mut media.stream),
                _ => {}
            }
        }
        media
    }

    /// What a client accepts, the most wanted first; among equals its own order counts.
    pub(super) fn accepted(accept: &str) -> Vec<Self> {
        let clauses = accept.split(',').map(str::trim).filter(|clause| !clause.is_empty());
        let mut accepted: Vec<Self> = clauses
            .take(limits::ACCEPT_CLAUSES_MAX)
            .map(Self::parse)
            .filter(|media| media.weight_thousandths > 0)
            .collect();
        accepted.sort_by_key(|media| std::cmp::Reverse(media.weight_thousandths));
        accepted
    }

    /// True if a type, such as `application/json`, is in the range.
    pub(super) fn covers(&self, media_type: &str) -> bool {
        if self.essence == media_type || self.essence == "*/*" {
            return true;
        }
        let (main, _) = media_type.split_once('/').unwrap_or_default();
        self.essence.strip_suffix("/*") == Some(main)
    }
}

/// A weight such as `0.8`; what is none counts as the most, as if it was not there.
fn weight(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole.parse::<u32>(), digits.parse::<u32>()) {
        (Ok(0), Ok(thousandths)) => thousandths,
        _ => WHOLE_THOUSANDTHS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wanted_comes_first() {
        for (accept, expected) in [
            ("", vec![]),
            (" , ", vec![]),
            ("a/b, c/d", vec!["a/b", "c/d"]),
            ("a/b;q=0.5, C/D", vec!["c/d", "a/b"]),
            ("a/b;q=0.001, c/d;q=0.01, e/f;q=0.0, g/h;q=0", vec!["c/d", "a/b"]),
            ("a/b;q=0.9, c/d;q=high, e/f; Q=1.0", vec!["c/d", "e/f", "a/b"]),
        ] {
            let accepted = Media::accepted(accept);
            let essences: Vec<&str> = accepted.iter().map(|media| media.essence.as_str()).collect();
            assert_eq!(essences, expected, "{accept:?}");
        }
    }

    #[test]
    fn ranges_cover_types() {
        for (range, media_type, expected) in [
            ("*/*", "application/json", true),
            ("application/*", "application/json", true),
            ("application/json", "application/json", true),
            ("application/json", "application/yaml", false),
            ("text/*", "application/json", false),
            ("app/*", "application/json", false),
            ("rubbish", "application/json", false),
            ("", "application/json", false),
        ] {
            assert_eq!(Media::parse(range).covers(media_type), expected, "{range} {media_type}");
        }
    }

    #[test]
    fn only_the_first_clauses_count() {
        let many = |count: usize| Media::accepted(&format!("{}application/json", "text/html,".repeat(count)));
        let is_json = |media: &Media| media.essence == "application/json";
        assert!(many(limits::ACCEPT_CLAUSES_MAX - 1).iter().any(is_json));
        assert!(!many(limits::ACCEPT_CLAUSES_MAX).iter().any(is_json));
    }
}
