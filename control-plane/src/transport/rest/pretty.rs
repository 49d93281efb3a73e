//! JSON for people: indented as it goes by, piece by piece. Pure.
//!
//! It knows only brackets, commas, colons and strings, so that it needs no more memory for a large answer than for a small one.

const INDENT: &[u8] = b"  ";

/// Where in the text the pieces have come to.
#[derive(Debug, Default)]
pub(super) struct Pretty {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// A bracket was opened, and nothing has come after it yet.
    opened: bool,
}

impl Pretty {
    /// Indents the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() * 2);
        for byte in piece {
            self.byte(*byte, &mut out);
        }
        out
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            out.push(byte);
            return;
        }
        match byte {
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !std::mem::take(&mut self.opened) {
                    self.line(out);
                }
                out.push(byte);
                return;
            }
            b' ' | b'\t' | b'\r' | b'\n' => return,
            _ => {}
        }
        if std::mem::take(&mut self.opened) {
            self.line(out);
        }
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.line(out),
            b':' => out.push(b' '),
            b'"' => self.in_string = true,
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        for _ in 0..self.depth {
            out.extend_from_slice(INDENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_looks_as_others_write_it_wherever_it_is_cut() {
        let value = json!({"a": [], "b": {}, "c": [1, {"d": "x\\\",:{}[]\n"}, null], "e": {"f": true}});
        let plain = value.to_string().into_bytes();
        let expected = serde_json::to_string_pretty(&value).expect("text");
        for cut in 0..plain.len() {
            let mut pretty = Pretty::default();
            let mut out = pretty.feed(&plain[..cut]);
            out.extend(pretty.feed(&plain[cut..]));
            assert_eq!(String::from_utf8(out).expect("text"), expected, "cut at {cut}");
        }
        let read: Value = serde_json::from_slice(&Pretty::default().feed(&plain)).expect("JSON");
        assert_eq!(read, value);
    }
}
