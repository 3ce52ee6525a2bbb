//! A byte automaton that accepts exactly the answers of a [`Schema`]. States are small and copyable, so that every
//! token of a vocabulary can be tried from the same state.

#[cfg(test)]
mod tests;
mod text;
mod trie;

use text::{TextPhase, TextStep, step_text};
use trie::Trie;

use super::number::{Digits, NumberSpec};
use super::schema::{MAX_DEPTH, Schema};
use crate::Result;

/// A step of the answer's grammar.
#[derive(Debug)]
enum Op {
    Literal(Vec<u8>),
    Choice {
        field: usize,
        trie: Trie,
    },
    Text {
        field: usize,
        min: usize,
        max: usize,
    },
    Number {
        field: usize,
        spec: NumberSpec,
    },
    /// Behind `[`: the end of an empty array, or the first item.
    Begin {
        slot: usize,
        min: usize,
        max: usize,
        end: usize,
    },
    /// Behind an item: another one from `item` on, or the end.
    Next {
        slot: usize,
        min: usize,
        max: usize,
        item: usize,
    },
    End,
}

/// Part of a field's place in the answer.
#[derive(Debug, Clone)]
enum Segment {
    Key(String),
    /// Index of the item that array number `slot` is at.
    Index(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Offset in a literal, or node of a trie.
    Place(u32),
    Text {
        chars: u32,
        phase: TextPhase,
    },
    Number(Digits),
    Start,
}

/// How many items each of the arrays around us has.
type Counts = [u16; 4];
const _: () = assert!(size_of::<Counts>() == 2 * MAX_DEPTH);

/// Where in the answer we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    op: u32,
    at: At,
    counts: Counts,
}

impl State {
    fn at(self, at: At) -> Self {
        Self { at, ..self }
    }
}

/// What can follow a state that leaves a choice.
#[derive(Debug)]
pub(super) enum Branch {
    /// A finite set; the field that it decides, or none for whether an array goes on.
    Options {
        field: Option<usize>,
        options: Vec<Choice>,
    },
    /// Too many to list: decode token by token. The field that the next byte belongs to.
    Free { field: usize },
}

/// One of finitely many ways to go on.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) bytes: Vec<u8>,
    /// The value that it makes of the field.
    pub(super) value: serde_json::Value,
    pub(super) then: State,
}

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Automaton {
    ops: Vec<Op>,
    fields: Vec<Vec<Segment>>,
}

impl Automaton {
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        schema.check()?;
        let mut this = Self {
            ops: Vec::new(),
            fields: Vec::new(),
        };
        this.compile(schema, &mut Vec::new(), 0);
        this.ops.push(Op::End);
        Ok(this)
    }

    fn literal(&mut self, bytes: &[u8]) {
        // Never joined with the literal before: that one may end where an array jumps to.
        self.ops.push(Op::Literal(bytes.to_vec()));
    }

    fn field(&mut self, path: &[Segment]) -> usize {
        self.fields.push(path.to_vec());
        self.fields.len() - 1
    }

    fn compile(&mut self, schema: &Schema, path: &mut Vec<Segment>, slot: usize) {
        match schema {
            Schema::Object(fields) => {
                if fields.is_empty() {
                    return self.literal(b"{}");
                }
                for (i, (key, value)) in fields.iter().enumerate() {
                    let open = if i == 0 { '{' } else { ',' };
                    self.literal(format!("{open}{}:", quoted(key)).as_bytes());
                    path.push(Segment::Key(key.clone()));
                    self.compile(value, path, slot);
                    path.pop();
                }
                self.literal(b"}");
            }
            Schema::Text { min_chars, max_chars } => {
                let field = self.field(path);
                self.ops.push(Op::Text {
                    field,
                    min: *min_chars,
                    max: *max_chars,
                });
            }
            Schema::Enum(values) => {
                let field = self.field(path);
                let trie = Trie::new(values.iter().map(|v| quoted(v).into_bytes()));
                self.ops.push(Op::Choice { field, trie });
            }
            Schema::Boolean => {
                let field = self.field(path);
                let trie = Trie::new([b"true".to_vec(), b"false".to_vec()]);
                self.ops.push(Op::Choice { field, trie });
            }
            Schema::Integer { min, max } => {
                let field = self.field(path);
                let spec = NumberSpec::new(*min as f64, *max as f64, 0);
                self.ops.push(Op::Number { field, spec });
            }
            Schema::Number { min, max, decimals } => {
                let field = self.field(path);
                let spec = NumberSpec::new(*min, *max, *decimals);
                self.ops.push(Op::Number { field, spec });
            }
            Schema::Array {
                items,
                min_len,
                max_len,
            } => {
                self.literal(b"[");
                let begin = self.ops.len();
                self.ops.push(Op::End);
                path.push(Segment::Index(slot));
                self.compile(items, path, slot + 1);
                path.pop();
                let (min, max, item) = (*min_len, *max_len, begin + 1);
                self.ops.push(Op::Next { slot, min, max, item });
                let end = self.ops.len();
                self.ops[begin] = Op::Begin { slot, min, max, end };
            }
        }
    }

    pub(super) fn start(&self) -> State {
        self.enter(0, Counts::default())
    }

    fn enter(&self, op: usize, counts: Counts) -> State {
        let at = match &self.ops[op] {
            Op::Literal(_) | Op::Choice { .. } => At::Place(0),
            Op::Text { .. } => At::Text {
                chars: 0,
                phase: TextPhase::Open,
            },
            Op::Number { .. } => At::Number(Digits::default()),
            Op::Begin { .. } | Op::Next { .. } | Op::End => At::Start,
        };
        State {
            op: op as u32,
            at,
            counts,
        }
    }

    pub(super) fn is_end(&self, state: State) -> bool {
        matches!(self.ops[state.op as usize], Op::End)
    }

    /// The state behind one more byte; `None` if no answer goes on like that.
    pub(super) fn step(&self, state: State, byte: u8) -> Option<State> {
        let op = state.op as usize;
        let next = || self.enter(op + 1, state.counts);
        match (&self.ops[op], state.at) {
            (Op::Literal(text), At::Place(i)) => {
                let i = i as usize;
                (text[i] == byte).then(|| {
                    if i + 1 == text.len() {
                        next()
                    } else {
                        state.at(At::Place(i as u32 + 1))
                    }
                })
            }
            (Op::Choice { trie, .. }, At::Place(node)) => {
                let node = trie.step(node, byte)?;
                Some(if trie.is_leaf(node) {
                    next()
                } else {
                    state.at(At::Place(node))
                })
            }
            (Op::Text { min, max, .. }, At::Text { chars, phase }) => {
                match step_text(chars, phase, byte, *min as u32, *max as u32)? {
                    TextStep::Goes { chars, phase } => Some(state.at(At::Text { chars, phase })),
                    TextStep::Ends => Some(next()),
                }
            }
            (Op::Number { spec, .. }, At::Number(digits)) => match spec.step(digits, byte) {
                Some(digits) => Some(state.at(At::Number(digits))),
                None if spec.complete(digits) => self.step(next(), byte),
                None => None,
            },
            (Op::Begin { slot, min, max, end }, _) => {
                if byte == b']' && *min == 0 {
                    return Some(self.enter(*end, state.counts));
                }
                if *max == 0 {
                    return None;
                }
                let mut counts = state.counts;
                counts[*slot] = 1;
                self.step(self.enter(op + 1, counts), byte)
            }
            (Op::Next { slot, min, max, item }, _) => {
                let count = usize::from(state.counts[*slot]);
                match byte {
                    b',' if count < *max => {
                        let mut counts = state.counts;
                        counts[*slot] += 1;
                        Some(self.enter(*item, counts))
                    }
                    b']' if count >= *min => Some(next()),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn step_all(&self, state: State, bytes: &[u8]) -> Option<State> {
        bytes
            .iter()
            .try_fold(state, |state, &byte| self.step(state, byte))
    }

    fn next_bytes(&self, state: State) -> impl Iterator<Item = (u8, State)> {
        (0..=u8::MAX).filter_map(move |byte| Some((byte, self.step(state, byte)?)))
    }

    /// The bytes that must come next, and the state behind them.
    pub(super) fn forced(&self, mut state: State) -> (Vec<u8>, State) {
        let mut out = Vec::new();
        while !self.is_end(state) {
            let mut next = self.next_bytes(state);
            let (Some((byte, then)), None) = (next.next(), next.next()) else {
                break;
            };
            out.push(byte);
            state = then;
        }
        (out, state)
    }

    /// What follows a state at which nothing is forced and the answer is not complete.
    pub(super) fn branch(&self, state: State) -> Branch {
        match (&self.ops[state.op as usize], state.at) {
            (Op::Choice { field, trie }, At::Place(node)) => {
                let then = self.enter(state.op as usize + 1, state.counts);
                let known = trie.depth(node);
                let choice = |word: &[u8]| Choice {
                    bytes: word[known..].to_vec(),
                    value: serde_json::from_slice(word).unwrap_or_default(),
                    then,
                };
                Branch::Options {
                    field: Some(*field),
                    options: trie.words(node).into_iter().map(choice).collect(),
                }
            }
            (Op::Text { field, .. } | Op::Number { field, .. }, _) => Branch::Free { field: *field },
            _ => {
                let choice = |(byte, then)| Choice {
                    bytes: vec![byte],
                    value: serde_json::Value::Null,
                    then,
                };
                Branch::Options {
                    field: None,
                    options: self.next_bytes(state).map(choice).collect(),
                }
            }
        }
    }

    /// JSON pointer of `field` in the answer that `state` is part of.
    pub(super) fn pointer(&self, field: usize, state: State) -> String {
        let mut out = String::new();
        for segment in &self.fields[field] {
            out.push('/');
            match segment {
                Segment::Key(key) => out.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Segment::Index(slot) => out.push_str(&state.counts[*slot].saturating_sub(1).to_string()),
            }
        }
        out
    }
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
