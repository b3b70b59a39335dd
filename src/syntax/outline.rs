//! The part of an object that a canonical form looks at.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::node::BorrowedText;

/// Reads an object's own fields and those of its `spec`. Whatever is nested deeper stands as an
/// empty list: nothing there is ever rewritten, and as a tree it takes hundreds of times its text.
pub fn outline(json: &str) -> Result<Json, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let outline = Level::Object.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(outline)
}

#[derive(Clone, Copy)]
enum Level {
    Object,
    Spec,
    Nested,
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        if matches!(self, Self::Nested) {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Json::Array(Vec::new()));
        }
        let mut fields = Map::new();
        while let Some(BorrowedText(key)) = map.next_key()? {
            let is_spec = matches!(self, Self::Object) && key == "spec";
            let value = map.next_value_seed(if is_spec { Self::Spec } else { Self::Nested })?;
            fields.insert(key.into_owned(), value);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_fields_that_are_rewritten() {
        let json = r#"{"a":1,"b":{"c":2},"spec":{"d":null,"e":[{"f":3}],"g":"h","i":{"j":4.5}}}"#;
        let expected = r#"{"a":1,"b":[],"spec":{"d":null,"e":[],"g":"h","i":[]}}"#;
        assert_eq!(outline(json).unwrap().to_string(), expected);
        assert!(outline("{} {}").is_err());
    }
}
