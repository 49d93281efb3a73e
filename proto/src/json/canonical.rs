//! Whether JSON stands as it would be written again, so that it can be copied without being read into values.

use std::cell::RefCell;

/// How deep what is copied may nest. What nests deeper is read and written again.
const DEPTH_MAX: usize = 32;

/// Most digits of a number that certainly is one of 64 bits.
const DIGITS_MAX: usize = 18;

/// Longest text that is remembered, in bytes.
const KNOWN_BYTES_MAX: usize = 4 * 1024;

/// How many texts each thread remembers.
const KNOWN_MAX: usize = 16;

thread_local! {
    /// Texts that were found to be canonical last, each in the place of its length: what many objects have that are made alike,
    /// such as who owns their fields, is the same over and over again.
    static KNOWN: RefCell<[Vec<u8>; KNOWN_MAX]> = RefCell::default();
}

/// Whether a text is one JSON value, letter by letter as `serde_json` writes it: without spaces, the keys of each object in
/// their order and none twice, and no more escaped than must be. False also for some rare texts of that kind: with
/// fractions, very large numbers, or control characters.
pub(super) fn is_canonical(text: &[u8]) -> bool {
    if text.len() > KNOWN_BYTES_MAX {
        return is_canonical_as_read(text);
    }
    KNOWN.with_borrow_mut(|known| {
        let known = &mut known[text.len() % KNOWN_MAX];
        if known == text && !text.is_empty() {
            return true;
        }
        let is_canonical = is_canonical_as_read(text);
        if is_canonical {
            known.clear();
            known.extend_from_slice(text);
        }
        is_canonical
    })
}

fn is_canonical_as_read(text: &[u8]) -> bool {
    let mut reader = Reader { rest: text };
    reader.value(0).is_some() && reader.rest.is_empty() && std::str::from_utf8(text).is_ok()
}

/// Takes off what is as it must be; `None` for anything else.
struct Reader<'t> {
    rest: &'t [u8],
}

impl<'t> Reader<'t> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.rest.first()? {
            b'{' | b'[' if depth == DEPTH_MAX => None,
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.integer(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.word(b"{")?;
        if self.word(b"}").is_some() {
            return Some(());
        }
        let mut before = None;
        loop {
            let key = self.string()?;
            if before.is_some_and(|before| !unescaped(before).lt(unescaped(key))) {
                return None;
            }
            before = Some(key);
            self.word(b":")?;
            self.value(depth + 1)?;
            if self.word(b"}").is_some() {
                return Some(());
            }
            self.word(b",")?;
        }
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        self.word(b"[")?;
        if self.word(b"]").is_some() {
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            if self.word(b"]").is_some() {
                return Some(());
            }
            self.word(b",")?;
        }
    }

    /// What stands between the quotes.
    fn string(&mut self) -> Option<&'t [u8]> {
        self.word(b"\"")?;
        let (text, mut at) = (self.rest, 0);
        loop {
            match text.get(at)? {
                b'"' => break,
                b'\\' if matches!(text.get(at + 1)?, b'"' | b'\\') => at += 2,
                b'\\' | ..b' ' => return None,
                _ => at += 1,
            }
        }
        self.rest = &text[at + 1..];
        Some(&text[..at])
    }

    fn integer(&mut self) -> Option<()> {
        let is_negative = self.word(b"-").is_some();
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_plain = match (self.rest.first()?, digits) {
            // A negative zero is a fraction.
            (b'0', 1) => !is_negative,
            (b'1'..=b'9', 1..=DIGITS_MAX) => true,
            _ => false,
        };
        self.rest = &self.rest[digits..];
        is_plain.then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }
}

/// The bytes that a string stands for, in which nothing but quotes and backslashes is escaped.
fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut bytes = text.iter().copied();
    std::iter::from_fn(move || match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_canonical_is_written_again_as_it_stands() {
        for text in [
            r#"{}"#,
            r#"[]"#,
            r#"null"#,
            r#"-1"#,
            r#"[0,-7,999999999999999999,true,false,null,"",{}]"#,
            r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{}}}}}"#,
            r#"{"\"":1,"A":2,"\\":3,"a":4,"ä":5,"ä\\":6}"#,
        ] {
            assert!(is_canonical(text.as_bytes()), "{text}");
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn what_is_remembered_is_the_whole_text() {
        let long = |letter: char, fill: usize| format!("\"{}{letter}\"", "x".repeat(fill));
        for fill in [0, 10, KNOWN_BYTES_MAX] {
            let canonical = long('a', fill);
            assert!(is_canonical(canonical.as_bytes()) && is_canonical(canonical.as_bytes()));
            let other = long('\n', fill);
            assert!(!is_canonical(other.as_bytes()) && !is_canonical(other.as_bytes()));
            assert!(is_canonical(canonical.as_bytes()));
        }
    }

    #[test]
    fn nothing_else_is() {
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        for text in [
            "",
            " {}",
            "{} ",
            "{}{}",
            "{",
            "[1,]",
            "[1 ,2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":1}",
            "{\"\\\\\":1,\"\\\"\":1}",
            "\"\\/\"",
            "\"\\u0041\"",
            "\"\\n\"",
            "\"a\nb\"",
            "\"a",
            "\"a\\",
            "-0",
            "01",
            "-",
            "1.5",
            "1e3",
            "1234567890123456789",
            "tru",
            "nul",
            &deep,
        ] {
            assert!(!is_canonical(text.as_bytes()), "{text}");
        }
        assert!(!is_canonical(b"\"\xff\""));
        assert!(is_canonical(&deep.as_bytes()[1..deep.len() - 1]));
    }
}
