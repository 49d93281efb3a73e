//! Where the reader is, so that errors and unknown fields are named by their path.

use std::fmt::Write as _;

use crate::limits::{JSON_UNKNOWN_FIELDS_REPORTED_MAX, MESSAGES_MAX};

/// The state of one reading. After an error it still holds the path to where that happened.
#[derive(Debug, Default)]
pub struct Context {
    path: Vec<Segment>,
    unknown_fields: Vec<String>,
    /// How many messages were begun.
    messages: usize,
}

#[derive(Debug)]
enum Segment {
    Field(&'static str),
    Key(String),
    Index(usize),
}

impl Context {
    /// The path to the current value, such as `spec.containers[0].image`; empty at the root.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.path {
            match segment {
                Segment::Index(index) => {
                    let _ = write!(path, "[{index}]");
                }
                Segment::Field(name) => push_name(&mut path, name),
                Segment::Key(name) => push_name(&mut path, name),
            }
        }
        path
    }

    /// The paths of the fields that the messages do not have, in the order of the input.
    pub fn into_unknown_fields(self) -> Vec<String> {
        self.unknown_fields
    }

    /// Counts a message; whether there may be so many.
    pub(super) fn begin_message(&mut self) -> bool {
        self.messages += 1;
        self.messages <= MESSAGES_MAX
    }

    pub(super) fn enter_field(&mut self, name: &'static str) {
        self.path.push(Segment::Field(name));
    }

    /// How many segments the path has.
    pub(super) fn depth(&self) -> usize {
        self.path.len()
    }

    /// Adds a map's key to the path after an error below it. Keys are entered only then, because unlike
    /// the names of fields they must be copied.
    pub(super) fn insert_key(&mut self, depth: usize, key: String) {
        self.path.insert(depth, Segment::Key(key));
    }

    pub(super) fn enter_index(&mut self, index: usize) {
        self.path.push(Segment::Index(index));
    }

    /// Called only on success: after an error the path stays for the message.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    pub(super) fn unknown_field(&mut self, name: &str) {
        if self.unknown_fields.len() < JSON_UNKNOWN_FIELDS_REPORTED_MAX {
            let mut path = self.path();
            push_name(&mut path, name);
            self.unknown_fields.push(path);
        }
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
