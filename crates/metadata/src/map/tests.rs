//! The map against the standard one, and what sharing promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
    PopFirst,
    Edit(u16, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..600_u16;
    let step = prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => key.clone().prop_map(Step::Remove),
        1 => Just(Step::PopFirst),
        1 => (key, any::<u8>()).prop_map(|(key, value)| Step::Edit(key, value)),
    ];
    prop::collection::vec(step, 0..900)
}

fn take(step: &Step, map: &mut Map<u16, u8>, model: &mut BTreeMap<u16, u8>) {
    match *step {
        Step::Insert(key, value) => {
            assert_eq!(map.insert(key, value), model.insert(key, value));
        }
        Step::Remove(key) => assert_eq!(map.remove(&key), model.remove(&key)),
        Step::PopFirst => {
            let first = map.first().map(|(key, _)| *key);
            assert_eq!(first, model.first_key_value().map(|(key, _)| *key));
            if let Some(key) = first {
                assert_eq!(map.remove(&key), model.remove(&key));
            }
        }
        Step::Edit(key, value) => {
            if let Some(at) = map.get_mut(&key) {
                *at = value;
            }
            model.entry(key).and_modify(|at| *at = value);
        }
    }
}

#[track_caller]
fn check(map: &Map<u16, u8>, model: &BTreeMap<u16, u8>) {
    assert_eq!(map.len(), model.len());
    assert!(map.iter().eq(model.iter()), "{map:?} is not {model:?}");
    assert_eq!(map.last(), model.last_key_value());
    for key in (0..600).step_by(7) {
        assert_eq!(map.get(&key), model.get(&key));
        let floor = map.last_where(|k| *k <= key);
        assert_eq!(floor, model.range(..=key).next_back(), "the last up to {key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn it_holds_what_a_btree_map_holds(steps in steps()) {
        let (mut map, mut model) = (Map::default(), BTreeMap::new());
        for step in &steps {
            take(step, &mut map, &mut model);
        }
        check(&map, &model);
    }

    #[test]
    fn a_clone_never_changes_and_differs_by_what_was_done(
        before in steps(),
        after in steps(),
    ) {
        let (mut map, mut model) = (Map::default(), BTreeMap::new());
        for step in &before {
            take(step, &mut map, &mut model);
        }
        let (old, old_model) = (map.clone(), model.clone());
        for step in &after {
            take(step, &mut map, &mut model);
        }
        check(&old, &old_model);
        check(&map, &model);

        let mut replayed = old_model;
        map.diff(&old, u8::eq, &mut |key, change| match change {
            Change::Added(new) => assert_eq!(replayed.insert(*key, *new), None),
            Change::Removed(old) => assert_eq!(replayed.remove(key), Some(*old)),
            Change::Changed { old, new } => {
                assert_eq!(replayed.insert(*key, *new), Some(*old));
            }
        });
        prop_assert_eq!(replayed, model);
    }
}

#[test]
fn a_map_that_grows_at_its_end_has_full_leaves() {
    let map: Map<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
    let mut leaves = 0;
    let mut nodes: Vec<_> = map.root.iter().collect();
    while let Some(node) = nodes.pop() {
        match node.as_ref() {
            Node::Leaf(_) => leaves += 1,
            Node::Branch(children) => nodes.extend(children.iter().map(|(_, child)| child)),
        }
    }
    assert_eq!(leaves, 10_000_usize.div_ceil(FANOUT));
}

#[test]
fn a_diff_looks_only_at_what_is_not_shared() {
    use std::cell::Cell;

    thread_local!(static COMPARED: Cell<u32> = const { Cell::new(0) });
    #[derive(Clone, Eq, PartialOrd, Ord)]
    struct Counted(u32);
    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }
    let old: Map<u32, Counted> = (0..100_000).map(|n| (n, Counted(n))).collect();
    let mut new = old.clone();
    new.insert(50_000, Counted(1));
    let mut changes = 0;
    new.diff(&old, Counted::eq, &mut |_, _| changes += 1);
    assert_eq!(changes, 1);
    assert!(COMPARED.get() <= 32, "{} values compared", COMPARED.get());
}
