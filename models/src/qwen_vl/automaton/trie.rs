//! A finite set of byte strings, walked byte by byte.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<BTreeMap<u8, u32>>,
    /// Bytes from the root to each node.
    prefixes: Vec<Vec<u8>>,
}

impl Trie {
    pub(super) fn new(words: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut nodes = vec![BTreeMap::new()];
        let mut prefixes = vec![Vec::new()];
        for word in words {
            let mut at = 0;
            for (i, &byte) in word.iter().enumerate() {
                let fresh = nodes.len() as u32;
                let next = *nodes[at as usize].entry(byte).or_insert(fresh);
                if next == fresh {
                    nodes.push(BTreeMap::new());
                    prefixes.push(word[..=i].to_vec());
                }
                at = next;
            }
        }
        Self { nodes, prefixes }
    }

    pub(super) fn step(&self, at: u32, byte: u8) -> Option<u32> {
        self.nodes[at as usize].get(&byte).copied()
    }

    /// Bytes from the root.
    pub(super) fn depth(&self, at: u32) -> usize {
        self.prefixes[at as usize].len()
    }

    pub(super) fn is_leaf(&self, at: u32) -> bool {
        self.nodes[at as usize].is_empty()
    }

    /// All whole words that pass through `at`.
    pub(super) fn words(&self, at: u32) -> Vec<&[u8]> {
        let mut open = vec![at];
        let mut out = Vec::new();
        while let Some(at) = open.pop() {
            if self.is_leaf(at) {
                out.push(self.prefixes[at as usize].as_slice());
            }
            open.extend(self.nodes[at as usize].values().rev());
        }
        out
    }
}
