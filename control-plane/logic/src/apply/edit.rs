//! Changes of a set of fields in its stored form, where it stands.
//!
//! A change names some fields of an object whose owners have hundreds, so all that it does not lead to is taken over as it is.
//! Only text as [`fields_v1`] writes it is understood here.

use std::{cmp::Ordering, iter::Peekable, slice};

use super::{
    field_set::{FieldSet, Node},
    fields_v1::{self, SELF},
    path::PathElement,
};

/// The stored form of a set without any path.
pub(super) const EMPTY: &[u8] = b"{}";

/// Takes paths out of the set whose stored form `text` is, and then puts others in. `None` if the text is not understood.
pub(super) fn edit(text: &[u8], lost: &FieldSet, won: &FieldSet) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 64);
    out.push(b'{');
    edit_nodes(inside(text)?, lost, won, &mut out)?;
    out.push(b'}');
    Some(out)
}

/// A key of the stored form, as far as it must be understood.
enum Key<'a> {
    /// A field.
    Field(&'a str),
    /// Something else, or a field whose name is not plain.
    Element(PathElement),
    /// An item that nobody asks for.
    OtherItem,
}

impl Key<'_> {
    /// How an element that is asked for stands to it.
    fn order_of(&self, element: &PathElement) -> Ordering {
        match (self, element) {
            (Self::Field(name), PathElement::Field(asked)) => asked.as_ref().cmp(name),
            // Items come behind fields.
            (Self::Field(_), _) => Ordering::Greater,
            (Self::Element(present), asked) => asked.cmp(present),
            (Self::OtherItem, _) => Ordering::Less,
        }
    }

    fn find<'s>(&self, set: &'s FieldSet) -> Option<&'s Node> {
        match self {
            Self::Field(name) => set.field(name),
            Self::Element(element) => set.node(element),
            Self::OtherItem => None,
        }
    }
}

/// Edits one node, which is written only if something is left of it. Whether it is.
fn edit_node(text: &[u8], lost: &Node, won: &Node, out: &mut Vec<u8>) -> Option<bool> {
    const WITH_SELF: &[u8] = b"\".\":{}";
    let mut nodes = inside(text)?;
    let mut member = nodes.is_empty();
    if let Some(others) = nodes.strip_prefix(WITH_SELF) {
        member = true;
        nodes = others.strip_prefix(b",").unwrap_or(others);
    }
    member = (member && !lost.member) || won.member;
    let start = out.len();
    out.push(b'{');
    if member {
        out.extend_from_slice(WITH_SELF);
    }
    if edit_nodes(nodes, &lost.children, &won.children, out)? {
        out.push(b'}');
        return Some(true);
    }
    out.truncate(start);
    if member {
        out.extend_from_slice(EMPTY);
    }
    Some(member)
}

/// Edits the nodes of one level. Whether any are left.
fn edit_nodes(mut nodes: &[u8], lost: &FieldSet, won: &FieldSet, out: &mut Vec<u8>) -> Option<bool> {
    let none = Node::default();
    let has_items = lost.has_items() || won.has_items();
    let mut won = won.nodes().iter().peekable();
    let mut is_any_left = false;
    while !nodes.is_empty() {
        let (key, node, rest) = first_node(nodes)?;
        nodes = rest;
        let name = understand(key, has_items)?;
        is_any_left |= write_won(&mut won, |asked| name.order_of(asked).is_lt(), out);
        let won_here = won.next_if(|(asked, _)| name.order_of(asked).is_eq());
        let won_here = won_here.map(|(_, node)| node);
        let lost_here = name.find(lost);
        let start = out.len();
        begin_node(out);
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        if lost_here.is_none() && won_here.is_none() {
            out.extend_from_slice(node);
            is_any_left = true;
        } else if edit_node(node, lost_here.unwrap_or(&none), won_here.unwrap_or(&none), out)? {
            is_any_left = true;
        } else {
            out.truncate(start);
        }
    }
    is_any_left |= write_won(&mut won, |_| true, out);
    Some(is_any_left)
}

/// Writes the nodes to be put in for which `is_due` holds. Whether there were any.
fn write_won(
    won: &mut Peekable<slice::Iter<'_, (PathElement, Node)>>,
    is_due: impl Fn(&PathElement) -> bool,
    out: &mut Vec<u8>,
) -> bool {
    let mut is_any = false;
    while let Some((element, node)) = won.next_if(|(element, _)| is_due(element)) {
        begin_node(out);
        fields_v1::write_element(element, out);
        out.push(b':');
        fields_v1::write_set(&node.children, node.member, out);
        is_any = true;
    }
    is_any
}

/// Divides a node from the one before it on its level, if there is one.
fn begin_node(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

/// What a key says, as it stands between its quotes.
fn understand(key: &[u8], has_items: bool) -> Option<Key<'_>> {
    let is_plain = !key.contains(&b'\\');
    match key {
        [b'f', b':', name @ ..] if is_plain => std::str::from_utf8(name).ok().map(Key::Field),
        [b'k' | b'v' | b'i', b':', ..] if !has_items => Some(Key::OtherItem),
        _ => {
            let quoted = [b"\"", key, b"\""].concat();
            let key: String = serde_json::from_slice(&quoted).ok()?;
            // What ends here stands first on its level, where it has been seen.
            let element = fields_v1::parse_element(&key).ok().flatten();
            element.filter(|_| key != SELF).map(Key::Element)
        }
    }
}

/// What stands between the braces of a node.
fn inside(node: &[u8]) -> Option<&[u8]> {
    node.strip_prefix(b"{")?.strip_suffix(b"}")
}

/// The key of the first of some nodes, that node, and the nodes behind it.
fn first_node(nodes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let key_length = text_length(nodes)?;
    let (key, rest) = nodes.split_at(key_length);
    let rest = rest.strip_prefix(b":")?;
    let (node, rest) = rest.split_at(node_length(rest)?);
    let rest = match rest {
        [] => rest,
        [b',', rest @ ..] if !rest.is_empty() => rest,
        _ => return None,
    };
    Some((&key[1..key.len() - 1], node, rest))
}

/// How long the quoted text is that stands at the beginning.
fn text_length(text: &[u8]) -> Option<usize> {
    let inside = text.strip_prefix(b"\"")?;
    let mut is_escaped = false;
    let end = inside.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some(end + 2)
}

/// How long the node is that stands at the beginning.
fn node_length(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    loop {
        match text.get(at)? {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth -= 1,
            b'"' => {
                at += text_length(&text[at..])?;
                continue;
            }
            b':' | b',' if depth > 0 => {}
            _ => return None,
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = r#"{"f:metadata":{"f:annotations":{".":{},"f:a":{},"f:b\"c":{}},"f:labels":{"f:a":{}}},"f:spec":{"f:ports":{"k:{\"port\":80}":{".":{},"f:port":{}},"k:{\"port\":81}":{"f:port":{}}},"f:set":{"v:1":{}}},"f:x":{}}"#;

    /// The edited text is that of the edited set.
    fn check(stored: &FieldSet, lost: &FieldSet, won: &FieldSet) {
        let edited = edit(&fields_v1::to_json(stored), lost, won).expect("understood");
        let mut expected = stored.clone();
        expected.subtract(lost);
        expected.add(won);
        let expected = String::from_utf8(fields_v1::to_json(&expected)).expect("text");
        assert_eq!(
            String::from_utf8(edited).expect("text"),
            expected,
            "lost {lost:?}, won {won:?}"
        );
    }

    #[test]
    fn text_is_edited_as_the_set_would_be() {
        let stored = fields_v1::from_json(STORED.as_bytes()).expect("a set");
        assert_eq!(fields_v1::to_json(&stored), STORED.as_bytes(), "the canonical form");
        let paths = stored.paths();
        assert_eq!(paths.len(), 9);
        let mut sets = vec![FieldSet::default(), stored.clone()];
        for path in &paths {
            let before = PathElement::known("");
            let behind = PathElement::Index(7);
            let of = |last: &[PathElement]| FieldSet::of_paths(&[&[&path[..path.len() - 1], last].concat()]);
            sets.push(FieldSet::of_paths(&[path]));
            sets.push(FieldSet::of_paths(&[&path[..path.len() - 1]]));
            sets.push(of(slice::from_ref(&before)));
            sets.push(of(slice::from_ref(&behind)));
            sets.push(of(&[path[path.len() - 1].clone(), before]));
            sets.push(of(&[path[path.len() - 1].clone(), behind]));
        }
        for lost in &sets {
            for won in &sets {
                check(&stored, lost, won);
                check(lost, won, &stored);
                check(won, &stored, lost);
            }
        }
    }

    #[test]
    fn other_text_is_not_understood() {
        let set = FieldSet::of_paths(&[&[PathElement::known("a"), PathElement::Index(1)]]);
        for text in [
            "",
            "[]",
            "{",
            r#"{"f:a":{}"#,
            r#"{"f:a":{},}"#,
            r#"{"f:a": {}}"#,
            r#"{"f:a":1}"#,
            r#"{"f:a":{}}{}"#,
            r#"{"f:a":{"i:x":{}}}"#,
            r#"{"z:a":{}}"#,
            r#"{"a":{}}"#,
        ] {
            assert_eq!(edit(text.as_bytes(), &set, &set), None, "{text}");
        }
    }
}
