//! A byte automaton that accepts exactly the answers of a [`Schema`]. States are small and copyable, so that every
//! token of a vocabulary can be tried from the same state.

use std::collections::BTreeMap;

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
enum TextPhase {
    /// Before the opening quote.
    Open,
    Inside,
    Escape,
    /// Inside a UTF-8 sequence: so many bytes to come, the next one within these bounds.
    Tail {
        left: u8,
        low: u8,
        high: u8,
    },
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

#[derive(Debug)]
struct Trie {
    nodes: Vec<BTreeMap<u8, u32>>,
    /// Bytes from the root to each node.
    prefixes: Vec<Vec<u8>>,
}

impl Trie {
    fn new(words: impl IntoIterator<Item = Vec<u8>>) -> Self {
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

    fn step(&self, at: u32, byte: u8) -> Option<u32> {
        self.nodes[at as usize].get(&byte).copied()
    }

    fn is_leaf(&self, at: u32) -> bool {
        self.nodes[at as usize].is_empty()
    }

    /// All whole words that pass through `at`.
    fn words(&self, at: u32) -> Vec<&[u8]> {
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
                let known = trie.prefixes[node as usize].len();
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

enum TextStep {
    Goes { chars: u32, phase: TextPhase },
    Ends,
}

/// One byte of a JSON string of `min ..= max` characters, `chars` of which are complete.
fn step_text(chars: u32, phase: TextPhase, byte: u8, min: u32, max: u32) -> Option<TextStep> {
    let goes = |chars, phase| Some(TextStep::Goes { chars, phase });
    let inside = |chars| goes(chars, TextPhase::Inside);
    let tail = |left, low, high| goes(chars, TextPhase::Tail { left, low, high });
    match phase {
        TextPhase::Open => {
            if byte == b'"' {
                inside(0)
            } else {
                None
            }
        }
        TextPhase::Escape => {
            if b"\"\\/".contains(&byte) {
                inside(chars + 1)
            } else {
                None
            }
        }
        TextPhase::Tail { left, low, high } => {
            if !(low..=high).contains(&byte) {
                return None;
            }
            if left == 1 {
                inside(chars + 1)
            } else {
                tail(left - 1, 0x80, 0xBF)
            }
        }
        TextPhase::Inside if byte == b'"' => (chars >= min).then_some(TextStep::Ends),
        TextPhase::Inside if chars >= max => None,
        // Well-formed UTF-8 (Unicode 15, table 3-7) without the controls of C0 and DEL.
        TextPhase::Inside => match byte {
            b'\\' => goes(chars, TextPhase::Escape),
            0x20..=0x7E => inside(chars + 1),
            0xC2..=0xDF => tail(1, 0x80, 0xBF),
            0xE0 => tail(2, 0xA0, 0xBF),
            0xED => tail(2, 0x80, 0x9F),
            0xE1..=0xEF => tail(2, 0x80, 0xBF),
            0xF0 => tail(3, 0x90, 0xBF),
            0xF1..=0xF3 => tail(3, 0x80, 0xBF),
            0xF4 => tail(3, 0x80, 0x8F),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn accepts(schema: &Schema, text: &str) -> bool {
        let automaton = Automaton::new(schema).unwrap();
        automaton
            .step_all(automaton.start(), text.as_bytes())
            .is_some_and(|s| automaton.is_end(s))
    }

    fn food() -> Schema {
        Schema::object([
            ("kind", Schema::one_of(["food", "plate"])),
            ("label", Schema::one_of(["rice", "rice cake", "crème \"x\""])),
        ])
    }

    #[test]
    fn objects_and_enums() {
        assert!(accepts(&food(), r#"{"kind":"food","label":"rice"}"#));
        assert!(accepts(&food(), r#"{"kind":"plate","label":"rice cake"}"#));
        assert!(accepts(&food(), r#"{"kind":"food","label":"crème \"x\""}"#));
        for wrong in [
            r#"{"kind":"food","label":"rice"#,
            r#"{"kind":"food", "label":"rice"}"#,
            r#"{"label":"rice","kind":"food"}"#,
            r#"{"kind":"fool","label":"rice"}"#,
            r#"{"kind":"food","label":"rice"}}"#,
        ] {
            assert!(!accepts(&food(), wrong), "{wrong}");
        }
    }

    #[test]
    fn texts() {
        let text = Schema::Text {
            min_chars: 1,
            max_chars: 4,
        };
        for right in [r#""a""#, r#""äöü€""#, r#""\"\\ab""#, r#""😀""#] {
            assert!(accepts(&text, right), "{right}");
        }
        for wrong in [r#""""#, r#""abcde""#, "\"a\nb\"", r#""\u0041""#, r#""a"#] {
            assert!(!accepts(&text, wrong), "{wrong}");
        }
        let automaton = Automaton::new(&text).unwrap();
        for broken in [
            &[b'"', 0xC0, 0x80][..],
            &[b'"', 0xED, 0xA0],
            &[b'"', 0xF5],
            &[b'"', 0x80],
        ] {
            assert!(
                automaton.step_all(automaton.start(), broken).is_none(),
                "{broken:?}"
            );
        }
    }

    #[test]
    fn arrays_and_numbers() {
        let numbers = |min_len, max_len| Schema::Array {
            items: Box::new(Schema::Integer { min: -5, max: 120 }),
            min_len,
            max_len,
        };
        for (schema, right) in [
            (numbers(0, 2), "[]"),
            (numbers(0, 2), "[7]"),
            (numbers(0, 2), "[-5,120]"),
            (numbers(0, 0), "[]"),
            (Schema::Boolean, "true"),
        ] {
            assert!(accepts(&schema, right), "{right}");
        }
        for (schema, wrong) in [
            (numbers(1, 2), "[]"),
            (numbers(0, 2), "[1,2,3]"),
            (numbers(0, 2), "[121]"),
            (numbers(0, 2), "[07]"),
            (numbers(0, 2), "[1,]"),
            (numbers(0, 2), "[-6]"),
        ] {
            assert!(!accepts(&schema, wrong), "{wrong}");
        }
        let nested = Schema::Array {
            items: Box::new(numbers(0, 3)),
            min_len: 0,
            max_len: 2,
        };
        assert!(accepts(&nested, "[[1,2,3],[]]") && !accepts(&nested, "[[],[],[]]"));
    }

    #[test]
    fn forced_bytes_and_options() {
        let automaton = Automaton::new(&food()).unwrap();
        let (forced, state) = automaton.forced(automaton.start());
        assert_eq!(forced, br#"{"kind":""#);
        let Branch::Options { options, .. } = automaton.branch(state) else {
            panic!()
        };
        let words: Vec<_> = options
            .iter()
            .map(|o| String::from_utf8_lossy(&o.bytes).into_owned())
            .collect();
        assert_eq!(words, ["food\"", "plate\""]);
        let (forced, state) = automaton.forced(options[0].then);
        assert_eq!(forced, br#","label":""#);
        assert_eq!(automaton.pointer(1, state), "/label");
    }

    #[test]
    fn refuses_empty_shapes() {
        for schema in [
            Schema::one_of::<String>([]),
            Schema::one_of(["a", "a"]),
            Schema::Array {
                items: Box::new(Schema::Integer { min: 2, max: 1 }),
                min_len: 0,
                max_len: 1,
            },
            Schema::Integer { min: 0, max: 1 },
            Schema::object([(
                "n",
                Schema::Number {
                    min: f64::NAN,
                    max: 1.,
                    decimals: 1,
                },
            )]),
            Schema::object([("a", Schema::Boolean), ("a", Schema::Boolean)]),
        ] {
            assert!(Automaton::new(&schema).is_err(), "{schema:?}");
        }
    }
}
