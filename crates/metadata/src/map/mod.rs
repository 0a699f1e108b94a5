//! An ordered map whose clone costs nothing and shares what does not change.
//!
//! A B-tree of reference-counted nodes. A change copies the nodes on the way to it that a clone
//! still shares, a few kilobytes whatever the size of the map, and edits in place those that none
//! does. So a reader may hold a view for as long as it likes, a snapshot is a clone, and what
//! differs between two views is found without a look at what they share.
//!
//! Nodes split when they are full and go when they are empty; they are never merged. Metadata
//! grows at the end of its chains and is pruned at their front, which leaves no thin nodes behind.

mod diff;
#[cfg(test)]
mod tests;

use std::{borrow::Borrow, fmt, slice, sync::Arc};

pub use diff::Change;

/// The most entries of a node.
const FANOUT: usize = 32;

/// A persistent ordered map. See the module's head.
pub struct Map<K, V> {
    root: Option<Arc<Node<K, V>>>,
    len: usize,
}

/// Invariant: a node is never empty, a branch's children are all of one height and each key in it
/// but the first is at most the least key below its child and greater than all before it.
#[derive(Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    Branch(Vec<(K, Arc<Self>)>),
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for Map<K, V> {}

impl<K, V> Map<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries, in order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter { above: Vec::new(), leaf: [].iter() };
        if let Some(root) = &self.root {
            iter.descend(root);
        }
        iter
    }

    /// The entry with the least key.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.root.as_deref().map(Node::first)
    }

    /// The entry with the greatest key.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.root.as_deref().map(Node::last)
    }

    /// The last entry whose key `holds`, which must be true up to some key and false after it.
    pub fn last_where(&self, holds: impl Fn(&K) -> bool) -> Option<(&K, &V)> {
        self.root.as_deref().and_then(|root| root.last_where(&holds))
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// What is stored under `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
                    return Some(&entries[at].1);
                }
                Node::Branch(children) => node = &children[child_of(children, key)].1,
            }
        }
    }

    /// What is stored under `key`, to be changed. Copies what is shared on the way, if it is there.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        let mut node = Arc::make_mut(self.root.as_mut()?);
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
                    return Some(&mut entries[at].1);
                }
                Node::Branch(children) => {
                    let at = child_of(children, key);
                    node = Arc::make_mut(&mut children[at].1);
                }
            }
        }
    }

    /// Stores `value` under `key` and answers what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![(key, value)])));
            self.len = 1;
            return None;
        };
        match insert_below(root, key, value) {
            Inserted::Replaced(old) => return Some(old),
            Inserted::Added => {}
            Inserted::Split(right_key, right) => {
                let left_key = root.first().0.clone();
                let children = vec![(left_key, Arc::clone(root)), (right_key, right)];
                *root = Arc::new(Node::Branch(children));
            }
        }
        self.len += 1;
        None
    }

    /// Takes out what is stored under `key`.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        let root = self.root.as_mut()?;
        let removed = remove_below(root, key)?;
        self.len -= 1;
        while let Node::Branch(children) = root.as_ref() {
            let [(_, only)] = children.as_slice() else { break };
            *root = Arc::clone(only);
        }
        if self.len == 0 {
            self.root = None;
        }
        Some(removed)
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K, V> Node<K, V> {
    fn first(&self) -> (&K, &V) {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(entries) => return (&entries[0].0, &entries[0].1),
                Self::Branch(children) => node = &children[0].1,
            }
        }
    }

    fn last(&self) -> (&K, &V) {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(entries) => {
                    let (key, value) = entries.last().expect("no node is empty");
                    return (key, value);
                }
                Self::Branch(children) => node = &children.last().expect("no node is empty").1,
            }
        }
    }

    fn last_where(&self, holds: &impl Fn(&K) -> bool) -> Option<(&K, &V)> {
        match self {
            Self::Leaf(entries) => {
                let after = entries.partition_point(|(key, _)| holds(key));
                let (key, value) = entries.get(after.checked_sub(1)?)?;
                Some((key, value))
            }
            Self::Branch(children) => {
                let at = children.partition_point(|(key, _)| holds(key)).saturating_sub(1);
                let found = children[at].1.last_where(holds);
                // The child's key may stand for an entry that is gone; then the one before is last.
                match at.checked_sub(1) {
                    Some(before) if found.is_none() => Some(children[before].1.last()),
                    _ => found,
                }
            }
        }
    }

    fn height(&self) -> usize {
        match self {
            Self::Leaf(_) => 0,
            Self::Branch(children) => 1 + children[0].1.height(),
        }
    }
}

/// Which child `key` belongs below.
fn child_of<K: Borrow<Q>, Q: Ord + ?Sized, C>(children: &[(K, C)], key: &Q) -> usize {
    children.partition_point(|(least, _)| least.borrow() <= key).saturating_sub(1)
}

enum Inserted<K, V> {
    Replaced(V),
    Added,
    /// Added, and the node was full: its right part, with the least key in it.
    Split(K, Arc<Node<K, V>>),
}

fn insert_below<K: Ord + Clone, V: Clone>(
    node: &mut Arc<Node<K, V>>,
    key: K,
    value: V,
) -> Inserted<K, V> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => match entries.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => Inserted::Replaced(std::mem::replace(&mut entries[at].1, value)),
            Err(at) => split_of(place(entries, at, (key, value)), Node::Leaf),
        },
        Node::Branch(children) => {
            let at = child_of(children, &key);
            match insert_below(&mut children[at].1, key, value) {
                Inserted::Split(key, right) => {
                    split_of(place(children, at + 1, (key, right)), Node::Branch)
                }
                done @ (Inserted::Replaced(_) | Inserted::Added) => done,
            }
        }
    }
}

fn split_of<K: Clone, V, E>(
    right: Option<Vec<(K, E)>>,
    node: impl Fn(Vec<(K, E)>) -> Node<K, V>,
) -> Inserted<K, V> {
    match right {
        None => Inserted::Added,
        Some(right) => Inserted::Split(right[0].0.clone(), Arc::new(node(right))),
    }
}

/// Puts `entry` at `at`; answers the right part when that takes two nodes. What is appended to a
/// full node starts a new one, so a map that grows at its end has full nodes.
fn place<E>(entries: &mut Vec<E>, at: usize, entry: E) -> Option<Vec<E>> {
    if entries.len() < FANOUT {
        entries.insert(at, entry);
        return None;
    }
    if at == entries.len() {
        return Some(vec![entry]);
    }
    let mut right = entries.split_off(FANOUT / 2);
    match at.checked_sub(entries.len()) {
        Some(at) if at > 0 => right.insert(at, entry),
        _ => entries.insert(at, entry),
    }
    Some(right)
}

/// Takes `key` out; the caller has seen that it is there. May leave `node` empty.
fn remove_below<K: Ord + Clone + Borrow<Q>, V: Clone, Q: Ord + ?Sized>(
    node: &mut Arc<Node<K, V>>,
    key: &Q,
) -> Option<V> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let at = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
            Some(entries.remove(at).1)
        }
        Node::Branch(children) => {
            let at = child_of(children, key);
            let removed = remove_below(&mut children[at].1, key)?;
            let emptied = match children[at].1.as_ref() {
                Node::Leaf(entries) => entries.is_empty(),
                Node::Branch(children) => children.is_empty(),
            };
            if emptied {
                children.remove(at);
            }
            Some(removed)
        }
    }
}

/// The children of a branch that are still ahead.
type Children<'a, K, V> = slice::Iter<'a, (K, Arc<Node<K, V>>)>;

/// The entries of a [`Map`], in order.
pub struct Iter<'a, K, V> {
    above: Vec<Children<'a, K, V>>,
    leaf: slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iter<'a, K, V> {
    fn descend(&mut self, mut node: &'a Node<K, V>) {
        loop {
            match node {
                Node::Leaf(entries) => {
                    self.leaf = entries.iter();
                    return;
                }
                Node::Branch(children) => {
                    let mut children = children.iter();
                    let (_, first) = children.next().expect("no node is empty");
                    self.above.push(children);
                    node = first;
                }
            }
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            let children = self.above.last_mut()?;
            match children.next() {
                Some((_, child)) => self.descend(child),
                None => drop(self.above.pop()),
            }
        }
    }
}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}
