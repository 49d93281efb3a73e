//! Which fields a new object has: what its creator comes to own.
//!
//! This is what comparing it with an empty object would find, but found in one pass over the object itself, without making
//! JSON of it, because it is part of every create. In an empty object stand the fields that are always written; such a
//! field is new only if it has another value than there.

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeMap, SerializeSeq},
};
use serde_json::Error;
use trireme_proto::schema::{FieldSchema, MessageSchema};

use super::{
    extract::distinct_items,
    field_set::{FieldSet, Node},
    path::{Name, PathElement, Scalar},
    types::{Type, name_by_keys},
};

/// The fields of a new object of a kind, be it the object itself or its JSON.
///
/// # Errors
/// If the object has no JSON: a time that cannot be said.
pub fn new_fields(schema: Option<&'static MessageSchema>, object: &impl Serialize) -> Result<FieldSet, Error> {
    let walk = Walk {
        of_type: Type::root(schema),
        stands_in_empty: true,
        keys: &[],
    };
    Ok(object.serialize(walk)?.node.children)
}

/// Walks one value.
#[derive(Clone, Copy)]
struct Walk {
    of_type: Type,
    /// An empty object has the value, too.
    stands_in_empty: bool,
    /// The fields by which the item that this is is named; empty if it is none.
    keys: &'static [&'static str],
}

/// What a walk found.
struct Walked {
    node: Node,
    /// The values of the keys that the item has.
    keys: Vec<(&'static str, Scalar)>,
}

impl Walk {
    /// A value that is owned as a whole. `is_zero` if it is what an empty object would have.
    fn whole(self, is_zero: bool) -> Walked {
        let node = if self.stands_in_empty && is_zero {
            Node::default()
        } else {
            Node::leaf()
        };
        Walked { node, keys: Vec::new() }
    }

    fn in_parts(self, children: FieldSet, keys: Vec<(&'static str, Scalar)>) -> Walked {
        let node = Node {
            member: !self.stands_in_empty,
            children,
        };
        Walked { node, keys }
    }
}

macro_rules! whole_numbers {
    ($($method:ident: $number:ty,)*) => {$(
        fn $method(self, value: $number) -> Result<Walked, Error> {
            Ok(self.whole(value == <$number>::default()))
        }
    )*};
}

/// The forms that neither JSON values nor the messages of the API have.
macro_rules! never_written {
    () => {
        type SerializeTuple = Impossible<Self::Ok, Error>;
        type SerializeTupleStruct = Impossible<Self::Ok, Error>;
        type SerializeTupleVariant = Impossible<Self::Ok, Error>;
        type SerializeStruct = Impossible<Self::Ok, Error>;
        type SerializeStructVariant = Impossible<Self::Ok, Error>;

        fn serialize_unit_struct(self, name: &'static str) -> Result<Self::Ok, Error> {
            Err(unexpected(name))
        }
        fn serialize_unit_variant(self, name: &'static str, _: u32, _: &'static str) -> Result<Self::Ok, Error> {
            Err(unexpected(name))
        }
        fn serialize_newtype_struct<T: ?Sized + Serialize>(self, name: &'static str, _: &T) -> Result<Self::Ok, Error> {
            Err(unexpected(name))
        }
        fn serialize_newtype_variant<T: ?Sized + Serialize>(
            self,
            name: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<Self::Ok, Error> {
            Err(unexpected(name))
        }
        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
            Err(unexpected("tuple"))
        }
        fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
            Err(unexpected(name))
        }
        fn serialize_tuple_variant(
            self,
            name: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Error> {
            Err(unexpected(name))
        }
        fn serialize_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeStruct, Error> {
            Err(unexpected(name))
        }
        fn serialize_struct_variant(
            self,
            name: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Error> {
            Err(unexpected(name))
        }
    };
}

fn unexpected(what: &str) -> Error {
    Error::custom(format_args!("{what} is no value of an object"))
}

impl Serializer for Walk {
    type Ok = Walked;
    type Error = Error;
    type SerializeSeq = WalkItems;
    type SerializeMap = WalkFields;

    whole_numbers! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_f32: f32,
        serialize_f64: f64,
    }

    fn serialize_char(self, _: char) -> Result<Walked, Error> {
        Ok(self.whole(false))
    }

    fn serialize_str(self, text: &str) -> Result<Walked, Error> {
        Ok(self.whole(text.is_empty()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Walked, Error> {
        Ok(self.whole(bytes.is_empty()))
    }

    fn serialize_none(self) -> Result<Walked, Error> {
        Ok(self.whole(true))
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Walked, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Walked, Error> {
        Ok(self.whole(true))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<WalkItems, Error> {
        Ok(WalkItems {
            walk: self,
            is_empty: true,
            nodes: Vec::new(),
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<WalkFields, Error> {
        Ok(WalkFields {
            walk: self,
            is_empty: true,
            nodes: Vec::new(),
            field: None,
            place: 0,
            keys: Vec::new(),
        })
    }

    never_written!();
}

/// Walks a list.
struct WalkItems {
    walk: Walk,
    is_empty: bool,
    nodes: Vec<(PathElement, Node)>,
}

impl SerializeSeq for WalkItems {
    type Ok = Walked;
    type Error = Error;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.is_empty = false;
        match self.walk.of_type {
            Type::Keyed { keys, item } => {
                let walked = value.serialize(Walk {
                    of_type: self.walk.of_type.item(),
                    stands_in_empty: false,
                    keys,
                })?;
                let value_of = |key: &str| {
                    let found = walked.keys.iter().find(|(name, _)| *name == key);
                    found.map(|(_, value)| value.clone())
                };
                // An item without a name cannot be owned.
                if let Ok(name) = name_by_keys(keys, item, value_of) {
                    let children = walked.node.children;
                    self.nodes.push((name, Node { member: true, children }));
                }
            }
            Type::Set => {
                let value = Scalar::of(&serde_json::to_value(value)?);
                self.nodes
                    .extend(value.map(|value| (PathElement::Value(value), Node::leaf())));
            }
            Type::Leaf | Type::Struct(_) | Type::Map(_) => {}
        }
        Ok(())
    }

    fn end(self) -> Result<Walked, Error> {
        let is_in_parts = matches!(self.walk.of_type, Type::Keyed { .. } | Type::Set);
        Ok(if self.is_empty || !is_in_parts {
            self.walk.whole(self.is_empty)
        } else {
            self.walk.in_parts(distinct_items(self.nodes), Vec::new())
        })
    }
}

/// Walks an object.
struct WalkFields {
    walk: Walk,
    is_empty: bool,
    nodes: Vec<(PathElement, Node)>,
    /// The field whose value comes next.
    field: Option<Field>,
    /// Where in its message the last field stands: they come in the message's order.
    place: usize,
    keys: Vec<(&'static str, Scalar)>,
}

/// A field, as the object that it is in knows it.
struct Field {
    name: Name,
    of_type: Type,
    /// It is written even if it has no value.
    always: bool,
}

impl WalkFields {
    fn walk_field<T: ?Sized + Serialize>(&mut self, field: Field, value: &T) -> Result<(), Error> {
        if let Some(key) = self.walk.keys.iter().find(|key| **key == field.name) {
            let value = Scalar::of(&serde_json::to_value(value)?);
            self.keys.extend(value.map(|value| (*key, value)));
        }
        let stands_in_empty = self.walk.stands_in_empty && field.always;
        // What is whole and new needs no look at its value.
        let mut node = if matches!(field.of_type, Type::Leaf) && !stands_in_empty {
            Node::leaf()
        } else {
            let walk = Walk {
                of_type: field.of_type,
                stands_in_empty,
                keys: &[],
            };
            value.serialize(walk)?.node
        };
        node.member |= matches!(self.walk.of_type, Type::Map(_));
        if !node.is_empty() {
            self.nodes.push((PathElement::Field(field.name), node));
        }
        Ok(())
    }
}

impl SerializeMap for WalkFields {
    type Ok = Walked;
    type Error = Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        self.is_empty = false;
        self.field = key.serialize(FieldOf {
            of_type: self.walk.of_type,
            place: &mut self.place,
        })?;
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        match self.field.take() {
            Some(field) => self.walk_field(field, value),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<Walked, Error> {
        let is_in_parts = matches!(self.walk.of_type, Type::Struct(_) | Type::Map(_));
        Ok(if self.is_empty || !is_in_parts {
            self.walk.whole(self.is_empty)
        } else {
            self.walk.in_parts(FieldSet::from_nodes(self.nodes), self.keys)
        })
    }
}

/// Finds the field of a name. `None` for what says of which kind an object is, and if the whole object is one value.
struct FieldOf<'a> {
    of_type: Type,
    place: &'a mut usize,
}

/// The field of a name, looked for from a place on and then everywhere. Almost always it is there or soon after.
fn field_from(message: &'static MessageSchema, name: &str, place: &mut usize) -> Option<&'static FieldSchema> {
    for (index, field) in message.fields.iter().enumerate().skip(*place) {
        let found = match field.message() {
            Some(inlined) if field.inline => inlined.field(name),
            Some(_) | None => (field.json_name == name).then_some(field),
        };
        if found.is_some() {
            *place = index;
            return found;
        }
    }
    message.field(name)
}

macro_rules! no_names {
    ($($method:ident: $value:ty,)*) => {$(
        fn $method(self, _: $value) -> Result<Self::Ok, Error> {
            Err(unexpected("a name that is no text"))
        }
    )*};
}

impl Serializer for FieldOf<'_> {
    type Ok = Option<Field>;
    type Error = Error;
    type SerializeSeq = Impossible<Self::Ok, Error>;
    type SerializeMap = Impossible<Self::Ok, Error>;

    fn serialize_str(self, name: &str) -> Result<Self::Ok, Error> {
        Ok(match self.of_type {
            Type::Struct(message) => field_from(message, name, self.place).map(|field| Field {
                name: field.json_name.into(),
                of_type: Type::of_field(field),
                always: field.always,
            }),
            Type::Map(field) => Some(Field {
                name: name.to_owned().into(),
                of_type: Type::of_value(field),
                always: false,
            }),
            Type::Leaf | Type::Set | Type::Keyed { .. } => None,
        })
    }

    no_names! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_bytes: &[u8],
    }

    fn serialize_none(self) -> Result<Self::Ok, Error> {
        Err(unexpected("a name that is no text"))
    }

    fn serialize_some<T: ?Sized + Serialize>(self, name: &T) -> Result<Self::Ok, Error> {
        name.serialize(self)
    }

    fn serialize_unit(self) -> Result<Self::Ok, Error> {
        self.serialize_none()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        Err(unexpected("a name that is a list"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        Err(unexpected("a name that is an object"))
    }

    never_written!();
}
