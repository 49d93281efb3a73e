//! Lists of indexes as text: numbers and ranges in ascending order, such as `1,3-5,7`.

/// Inclusive ranges, in ascending order.
pub(super) type Ranges = Vec<(i32, i32)>;

/// Reads a list of indexes below `completions`. Errors say what is wrong.
pub(super) fn parse(text: &str, completions: i32) -> Result<Ranges, String> {
    let mut ranges = Ranges::new();
    if text.is_empty() {
        return Ok(ranges);
    }
    for part in text.split(',') {
        let (low, high) = range(part, completions)?;
        match ranges.last() {
            Some((_, previous)) if *previous >= low => return Err(not_increasing(*previous, low)),
            Some(_) | None => ranges.push((low, high)),
        }
    }
    Ok(ranges)
}

/// How many indexes a list has.
pub(super) fn count(ranges: &Ranges) -> i32 {
    ranges.iter().map(|(low, high)| high - low + 1).sum()
}

/// The first index that two lists share.
pub(super) fn shared(one: &Ranges, other: &Ranges) -> Option<i32> {
    let overlaps = |(low, high): &(i32, i32)| {
        other
            .iter()
            .map(|(other_low, other_high)| ((*low).max(*other_low), (*high).min(*other_high)))
            .find(|(first, last)| first <= last)
            .map(|(first, _)| first)
    };
    one.iter().find_map(overlaps)
}

fn range(text: &str, completions: i32) -> Result<(i32, i32), String> {
    match text.split('-').collect::<Vec<_>>()[..] {
        [only] => index(only, completions).map(|only| (only, only)),
        [low, high] => {
            let (low, high) = (index(low, completions)?, index(high, completions)?);
            if low < high {
                Ok((low, high))
            } else {
                Err(not_increasing(low, high))
            }
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

fn index(text: &str, completions: i32) -> Result<i32, String> {
    match text.parse() {
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
        Ok(index) if index >= completions => Err(format!("too large index: {text:?}")),
        Ok(index) => Ok(index),
    }
}

fn not_increasing(previous: i32, current: i32) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        for (text, ranges, indexes) in [
            ("", vec![], 0),
            ("7", vec![(7, 7)], 1),
            ("1,3-5,9", vec![(1, 1), (3, 5), (9, 9)], 5),
        ] {
            let read = parse(text, 10).expect(text);
            assert_eq!((count(&read), read), (indexes, ranges), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, why) in [
            ("10", "too large index: \"10\""),
            ("1-10", "too large index: \"10\""),
            ("a", "cannot convert string to integer for index: \"a\""),
            ("1,,2", "cannot convert string to integer for index: \"\""),
            ("3,1", "non-increasing order, previous: 3, current: 1"),
            ("3-3", "non-increasing order, previous: 3, current: 3"),
            ("1-4,4", "non-increasing order, previous: 4, current: 4"),
        ] {
            assert_eq!(parse(text, 10).expect_err(text), why);
        }
        assert!(
            parse("1-2-3", 10)
                .expect_err("three ends")
                .contains("at most two parts")
        );
    }

    #[test]
    fn shared_indexes_are_found() {
        let read = |text: &str| parse(text, 100).expect("a list");
        assert_eq!(shared(&read("1-5,9"), &read("6-8,10")), None);
        assert_eq!(shared(&read("1-5,9"), &read("0,4-20")), Some(4));
        assert_eq!(shared(&read("9"), &read("9")), Some(9));
    }
}
