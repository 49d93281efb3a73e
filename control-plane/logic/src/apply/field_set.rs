//! Sets of fields, as trees of path elements.
//!
//! An element of a set is a path. That a path is in the set says nothing about the paths below it: who owns an item of a
//! list need not own the item's fields. The root, the whole object, is never in a set.

use std::cmp::Ordering;

use super::path::PathElement;

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Ordered by element, each once, none of them empty.
    nodes: Vec<(PathElement, Node)>,
}

/// What a set holds at and below one element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The path that ends here is in the set.
    pub member: bool,
    /// What is below.
    pub children: FieldSet,
}

impl Node {
    /// The path that ends here, and nothing below.
    pub fn leaf() -> Self {
        Self {
            member: true,
            children: FieldSet::default(),
        }
    }

    /// Nothing at all.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl FieldSet {
    /// A set of the nodes, in any order. The last of an element counts.
    pub fn from_nodes(mut nodes: Vec<(PathElement, Node)>) -> Self {
        nodes.retain(|(_, node)| !node.is_empty());
        if !nodes.is_sorted_by(|(one, _), (two, _)| one < two) {
            nodes.sort_by(|(one, _), (two, _)| one.cmp(two));
            nodes.reverse();
            nodes.dedup_by(|(one, _), (two, _)| one == two);
            nodes.reverse();
        }
        Self { nodes }
    }

    /// A set of paths.
    pub fn of_paths(paths: &[&[PathElement]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    /// Whether there is no path in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many paths are in it.
    pub fn len(&self) -> usize {
        let nodes = self.nodes.iter();
        nodes
            .map(|(_, node)| usize::from(node.member) + node.children.len())
            .sum()
    }

    /// The first level of the tree, in order.
    pub fn nodes(&self) -> &[(PathElement, Node)] {
        &self.nodes
    }

    /// What it holds at and below an element.
    pub fn node(&self, element: &PathElement) -> Option<&Node> {
        let found = self.nodes.binary_search_by(|(present, _)| present.cmp(element));
        found.ok().map(|index| &self.nodes[index].1)
    }

    /// What it holds at and below a field.
    pub fn field(&self, name: &str) -> Option<&Node> {
        let order = |element: &PathElement| match element {
            PathElement::Field(present) => present.as_ref().cmp(name),
            // They come behind all fields.
            PathElement::Key(_) | PathElement::Value(_) | PathElement::Index(_) => Ordering::Greater,
        };
        let found = self.nodes.binary_search_by(|(present, _)| order(present));
        found.ok().map(|index| &self.nodes[index].1)
    }

    /// Whether there is an item of a list on its first level.
    pub fn has_items(&self) -> bool {
        // They come last.
        let last = self.nodes.last();
        last.is_some_and(|(element, _)| !matches!(element, PathElement::Field(_)))
    }

    /// Whether a path is in it. The empty path never is.
    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.node(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.node(first).is_some_and(|node| node.children.has(rest)),
        }
    }

    /// Puts a path in; not those above it.
    pub fn insert(&mut self, path: &[PathElement]) {
        let [first, rest @ ..] = path else { return };
        let found = self.nodes.binary_search_by(|(present, _)| present.cmp(first));
        let index = found.unwrap_or_else(|index| {
            self.nodes.insert(index, (first.clone(), Node::default()));
            index
        });
        let node = &mut self.nodes[index].1;
        if rest.is_empty() {
            node.member = true;
        } else {
            node.children.insert(rest);
        }
    }

    /// The paths that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.add(other);
        union
    }

    /// Puts in all paths of another set.
    pub fn add(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            match self.nodes.binary_search_by(|(present, _)| present.cmp(element)) {
                Ok(index) => {
                    let node = &mut self.nodes[index].1;
                    node.member |= theirs.member;
                    node.children.add(&theirs.children);
                }
                Err(index) => self.nodes.insert(index, (element.clone(), theirs.clone())),
            }
        }
    }

    /// The paths that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.merge(other, |one, two| match (one, two) {
            (Some(one), Some(two)) => Node {
                member: one.member && two.member,
                children: one.children.intersection(&two.children),
            },
            _ => Node::default(),
        })
    }

    /// The paths that are in this one alone.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        difference.subtract(other);
        difference
    }

    /// Takes out all paths of another set.
    pub fn subtract(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            let Ok(index) = self.nodes.binary_search_by(|(present, _)| present.cmp(element)) else {
                continue;
            };
            let node = &mut self.nodes[index].1;
            node.member &= !theirs.member;
            node.children.subtract(&theirs.children);
            if node.is_empty() {
                self.nodes.remove(index);
            }
        }
    }

    /// The paths that are neither in the other one nor below a path that is.
    #[must_use]
    pub fn difference_below(&self, other: &Self) -> Self {
        self.merge(other, |one, two| match (one, two) {
            (Some(_), Some(two)) if two.member => Node::default(),
            (Some(one), Some(two)) => Node {
                member: one.member,
                children: one.children.difference_below(&two.children),
            },
            (Some(one), None) => one.clone(),
            (None, _) => Node::default(),
        })
    }

    /// The paths at and below one element.
    #[must_use]
    pub fn only(&self, element: &PathElement) -> Self {
        let node = self.node(element).cloned();
        Self::from_nodes(node.map(|node| (element.clone(), node)).into_iter().collect())
    }

    /// The paths outside of one element.
    #[must_use]
    pub fn without(mut self, element: &PathElement) -> Self {
        self.nodes.retain(|(present, _)| present != element);
        self
    }

    /// Every path, in order.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Vec<PathElement>>) {
        for (element, node) in &self.nodes {
            prefix.push(element.clone());
            if node.member {
                paths.push(prefix.clone());
            }
            node.children.collect_paths(prefix, paths);
            prefix.pop();
        }
    }

    /// Walks both trees side by side. What `join` makes of two nodes of one element is kept unless it is empty.
    fn merge(&self, other: &Self, join: impl Fn(Option<&Node>, Option<&Node>) -> Node) -> Self {
        let mut nodes = Vec::new();
        let mut keep = |element: &PathElement, node: Node| {
            if !node.is_empty() {
                nodes.push((element.clone(), node));
            }
        };
        let (mut ours, mut theirs) = (self.nodes.as_slice(), other.nodes.as_slice());
        loop {
            match (ours, theirs) {
                ([], []) => return Self { nodes },
                ([(element, node), rest @ ..], []) => {
                    keep(element, join(Some(node), None));
                    ours = rest;
                }
                ([], [(element, node), rest @ ..]) => {
                    keep(element, join(None, Some(node)));
                    theirs = rest;
                }
                ([(one, our_node), our_rest @ ..], [(two, their_node), their_rest @ ..]) => match one.cmp(two) {
                    Ordering::Less => {
                        keep(one, join(Some(our_node), None));
                        ours = our_rest;
                    }
                    Ordering::Greater => {
                        keep(two, join(None, Some(their_node)));
                        theirs = their_rest;
                    }
                    Ordering::Equal => {
                        keep(one, join(Some(our_node), Some(their_node)));
                        (ours, theirs) = (our_rest, their_rest);
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of dotted paths.
    fn set(paths: &[&'static str]) -> FieldSet {
        let mut set = FieldSet::default();
        for path in paths {
            let path: Vec<PathElement> = path.split('.').map(PathElement::known).collect();
            set.insert(&path);
        }
        set
    }

    #[test]
    fn sets_are_sets() {
        let one = set(&["a", "a.b", "a.c.d", "e"]);
        let two = set(&["a.b", "a.c", "e", "f.g"]);
        assert_eq!(one.union(&two), set(&["a", "a.b", "a.c", "a.c.d", "e", "f.g"]));
        assert_eq!(one.intersection(&two), set(&["a.b", "e"]));
        assert_eq!(one.difference(&two), set(&["a", "a.c.d"]));
        assert_eq!(two.difference(&one), set(&["a.c", "f.g"]));
        assert_eq!(one.difference_below(&two), set(&["a"]));
        assert_eq!(one.difference_below(&set(&["a"])), set(&["e"]));
        assert_eq!((one.len(), one.paths().len(), FieldSet::default().len()), (4, 4, 0));
        assert!(one.difference(&one).is_empty() && one.intersection(&FieldSet::default()).is_empty());
    }

    #[test]
    fn membership_is_of_the_path_alone() {
        let set = set(&["a.b.c"]);
        let path = |path: &'static str| path.split('.').map(PathElement::known).collect::<Vec<_>>();
        assert!(set.has(&path("a.b.c")));
        assert!(!set.has(&path("a.b")) && !set.has(&path("a.b.c.d")) && !set.has(&[]));
    }

    #[test]
    fn nodes_come_in_any_order() {
        let nodes = ["c", "a", "b", "a"].map(|name| (PathElement::known(name), Node::leaf()));
        assert_eq!(FieldSet::from_nodes(nodes.to_vec()), set(&["a", "b", "c"]));
        let empty = vec![(PathElement::known("a"), Node::default())];
        assert!(FieldSet::from_nodes(empty).is_empty());
    }

    #[test]
    fn parts_are_cut_out() {
        let all = set(&["status", "status.phase", "spec.a"]);
        let status = PathElement::known("status");
        assert_eq!(all.only(&status), set(&["status", "status.phase"]));
        assert_eq!(all.without(&status), set(&["spec.a"]));
    }
}
