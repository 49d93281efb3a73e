//! JSON in which a field stands twice: the last one counts, and which they were is told.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::ParseError;

/// The most fields that are told; further ones are dropped untold.
const TOLD_MAX: usize = trireme_proto::limits::JSON_UNKNOWN_FIELDS_REPORTED_MAX;

/// Reads JSON text in which fields may stand twice. Answers with the paths of those that do, such as `spec.replicas`.
pub fn parse_last_wins(text: &[u8]) -> Result<(Value, Vec<String>), ParseError> {
    super::check(text)?;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut place = Place::default();
    let value = Seed(&mut place).deserialize(&mut reader).map_err(ParseError::Syntax)?;
    reader.end().map_err(ParseError::Syntax)?;
    Ok((value, place.twice))
}

/// Where in the text the reader is, and what it has seen twice.
#[derive(Default)]
struct Place {
    path: String,
    twice: Vec<String>,
}

impl Place {
    /// Runs `read` one step deeper.
    fn deeper<T>(&mut self, step: fmt::Arguments<'_>, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        let _ = fmt::Write::write_fmt(&mut self.path, step);
        let outcome = read(self);
        self.path.truncate(length);
        outcome
    }
}

struct Seed<'a>(&'a mut Place);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let index = items.len();
            let item = self
                .0
                .deeper(format_args!("[{index}]"), |place| list.next_element_seed(Seed(place)))?;
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        let dot = if self.0.path.is_empty() { "" } else { "." };
        while let Some(name) = map.next_key::<String>()? {
            self.0.deeper(format_args!("{dot}{name}"), |place| {
                if fields.contains_key(&name) && place.twice.len() < TOLD_MAX && !place.twice.contains(&place.path) {
                    let path = place.path.clone();
                    place.twice.push(path);
                }
                let value = map.next_value_seed(Seed(place))?;
                fields.insert(name.clone(), value);
                Ok(())
            })?;
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::limits;

    #[test]
    fn the_last_counts_and_all_are_told() {
        let text = br#"{"a":1,"b":[{"c":1,"c":2,"c":3},{"c":4}],"a":{"d":"x"},"e":null}"#;
        let (value, twice) = parse_last_wins(text).expect("JSON");
        assert_eq!(value, json!({"a": {"d": "x"}, "b": [{"c": 3}, {"c": 4}], "e": null}));
        assert_eq!(twice, ["b[0].c", "a"]);
        assert_eq!(
            parse_last_wins(b"{\"a\":-1.5}").expect("JSON"),
            (json!({"a": -1.5}), Vec::new())
        );
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        assert!(matches!(parse_last_wins(b"{\"a\":1} x"), Err(ParseError::Syntax(_))));
        let deep = "[".repeat(limits::JSON_DEPTH + 1);
        assert!(matches!(parse_last_wins(deep.as_bytes()), Err(ParseError::TooDeep)));
    }

    #[test]
    fn what_is_told_has_a_bound() {
        let many: Vec<String> = (0..2 * TOLD_MAX)
            .map(|index| format!("\"f{}\":1", index % (TOLD_MAX + 5)))
            .collect();
        let again: Vec<String> = many.iter().chain(&many).cloned().collect();
        let (_, twice) = parse_last_wins(format!("{{{}}}", again.join(",")).as_bytes()).expect("JSON");
        assert_eq!(twice.len(), TOLD_MAX);
    }
}
