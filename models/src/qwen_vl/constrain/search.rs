//! A finite choice as a tree of token sequences, walked best first: that finds the likeliest options in order without
//! asking the model about the rest.

use std::collections::{BTreeMap, BinaryHeap};

use super::super::automaton::{Choice, State};

/// One way to go on.
pub(super) struct Candidate {
    /// Index of the option that it belongs to.
    pub(super) option: usize,
    /// All bytes up to the next choice.
    pub(super) bytes: Vec<u8>,
    pub(super) ids: Vec<u32>,
    pub(super) then: State,
}

/// A node of the tree of token sequences.
#[derive(Default)]
struct Node {
    children: BTreeMap<u32, usize>,
    /// Index of the candidate that ends here.
    candidate: Option<usize>,
}

/// A finite choice whose tree of token sequences is walked best first.
pub(super) struct Search {
    pub(super) at: State,
    pub(super) field: Option<usize>,
    pub(super) options: Vec<Choice>,
    pub(super) candidates: Vec<Candidate>,
    /// So many of the likeliest candidates are looked for.
    wanted: usize,
    tree: Vec<Node>,
    open: BinaryHeap<Ranked>,
    /// The fork whose scores have been asked for.
    fork: Option<Ranked>,
    /// Candidates found so far and their log probabilities, falling.
    pub(super) ranked: Vec<(usize, f64)>,
}

impl Search {
    /// Looks for the `wanted` likeliest of `candidates`.
    pub(super) fn new(
        at: State,
        field: Option<usize>,
        options: Vec<Choice>,
        candidates: Vec<Candidate>,
        wanted: usize,
    ) -> Self {
        Self {
            at,
            field,
            options,
            tree: tree(&candidates),
            candidates,
            wanted,
            open: BinaryHeap::from([Ranked(0., 0, Vec::new())]),
            fork: None,
            ranked: Vec::new(),
        }
    }

    /// Up to the next fork whose scores are needed: the tokens to it, and those that it branches into. `None` when enough candidates
    /// are found.
    pub(super) fn next_fork(&mut self) -> Option<(Vec<u32>, Vec<u32>)> {
        while self.ranked.len() < self.wanted {
            let Ranked(log_probability, mut node, mut path) = self.open.pop()?;
            // A lone branch has probability one.
            while let (1, Some((&id, &next))) = (
                self.tree[node].children.len(),
                self.tree[node].children.first_key_value(),
            ) {
                path.push(id);
                node = next;
            }
            if let Some(candidate) = self.tree[node].candidate {
                self.ranked.push((candidate, log_probability));
                continue;
            }
            self.fork = Some(Ranked(log_probability, node, path.clone()));
            return Some((path, self.tree[node].children.keys().copied().collect()));
        }
        None
    }

    /// Opens the branches of the fork that was asked about, by their scores.
    pub(super) fn split(&mut self, scores: &[f32]) {
        let Some(Ranked(log_probability, node, path)) = self.fork.take() else {
            return;
        };
        let scores = scores.iter().map(|&score| f64::from(score));
        let norm = log_sum_exp(scores.clone());
        for ((&id, &child), score) in self.tree[node].children.iter().zip(scores) {
            let mut path = path.clone();
            path.push(id);
            self.open
                .push(Ranked(log_probability + score - norm, child, path));
        }
    }
}

fn tree(candidates: &[Candidate]) -> Vec<Node> {
    let mut tree = vec![Node::default()];
    for (i, candidate) in candidates.iter().enumerate() {
        let mut at = 0;
        for &id in &candidate.ids {
            let fresh = tree.len();
            let next = *tree[at].children.entry(id).or_insert(fresh);
            if next == fresh {
                tree.push(Node::default());
            }
            at = next;
        }
        tree[at].candidate = Some(i);
    }
    tree
}

pub(super) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        top
    } else {
        top + values.map(|v| (v - top).exp()).sum::<f64>().ln()
    }
}

/// Log probability, node, tokens to it; ordered by probability.
struct Ranked(f64, usize, Vec<u32>);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then_with(|| other.1.cmp(&self.1))
    }
}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Ranked {}
