//! What differs between two maps, found without a look at the nodes that they share.

use std::{cmp::Ordering, slice, sync::Arc};

use super::{Children, Map, Node};

/// One difference between two maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a, V> {
    /// Only the newer has it.
    Added(&'a V),
    /// Only the older has it.
    Removed(&'a V),
    /// Both have it, with other values.
    Changed {
        /// What the older has.
        old: &'a V,
        /// What the newer has.
        new: &'a V,
    },
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// What differs from `old`, in order of the keys; values that are the `same` do not. Costs as
    /// much as there are differences.
    pub fn diff<'a>(
        &'a self,
        old: &'a Self,
        same: impl Fn(&V, &V) -> bool,
        each: &mut dyn FnMut(&'a K, Change<'a, V>),
    ) {
        let mut now = Cursor::over(self.root.as_ref());
        let mut was = Cursor::over(old.root.as_ref());
        loop {
            match (now.peek(), was.peek()) {
                (None, None) => return,
                (Some(At::Node(a)), Some(At::Node(b))) if Arc::ptr_eq(a, b) => {
                    now.skip();
                    was.skip();
                }
                // The higher node is opened first, so that equals meet at their own height.
                (Some(At::Node(a)), Some(At::Node(b))) => {
                    let (a, b) = (a.height(), b.height());
                    if a >= b {
                        now.open();
                    }
                    if b >= a {
                        was.open();
                    }
                }
                (Some(At::Node(_)), _) => now.open(),
                (_, Some(At::Node(_))) => was.open(),
                (Some(At::Entry(key, value)), other) => match other {
                    Some(At::Entry(was_key, was_value)) => match key.cmp(was_key) {
                        Ordering::Less => {
                            each(key, Change::Added(value));
                            now.skip();
                        }
                        Ordering::Greater => {
                            each(was_key, Change::Removed(was_value));
                            was.skip();
                        }
                        Ordering::Equal => {
                            if !same(value, was_value) {
                                each(key, Change::Changed { old: was_value, new: value });
                            }
                            now.skip();
                            was.skip();
                        }
                    },
                    _ => {
                        each(key, Change::Added(value));
                        now.skip();
                    }
                },
                (None, Some(At::Entry(key, value))) => {
                    each(key, Change::Removed(value));
                    was.skip();
                }
            }
        }
    }
}

/// Where [`Map::diff`] stands in one of its maps: in front of a node not yet opened, or an entry.
struct Cursor<'a, K, V> {
    root: Option<&'a Arc<Node<K, V>>>,
    above: Vec<Children<'a, K, V>>,
    leaf: slice::Iter<'a, (K, V)>,
}

enum At<'a, K, V> {
    Node(&'a Arc<Node<K, V>>),
    Entry(&'a K, &'a V),
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn over(root: Option<&'a Arc<Node<K, V>>>) -> Self {
        Self { root, above: Vec::new(), leaf: [].iter() }
    }

    fn peek(&mut self) -> Option<At<'a, K, V>> {
        if let Some(root) = self.root {
            return Some(At::Node(root));
        }
        if let Some((key, value)) = self.leaf.as_slice().first() {
            return Some(At::Entry(key, value));
        }
        while let Some(children) = self.above.last() {
            if let Some((_, child)) = children.as_slice().first() {
                return Some(At::Node(child));
            }
            self.above.pop();
        }
        None
    }

    fn skip(&mut self) {
        if self.root.take().is_some() || self.leaf.next().is_some() {
            return;
        }
        if let Some(children) = self.above.last_mut() {
            children.next();
        }
    }

    fn open(&mut self) {
        if let Some(At::Node(node)) = self.peek() {
            self.skip();
            match node.as_ref() {
                Node::Leaf(entries) => self.leaf = entries.iter(),
                Node::Branch(children) => self.above.push(children.iter()),
            }
        }
    }
}
