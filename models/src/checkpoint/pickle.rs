//! The data of a Python pickle, read without running anything: what would be a call stays a description of the call.
//!
//! Opcodes are those of CPython's `pickletools`, protocols 2 to 5, as far as `torch.save` writes them.

use std::collections::HashMap;

/// Place of a node in its [`Pickle`].
pub(super) type Id = usize;

/// One value. Children are places, so that shared and deeply nested values cost no recursion and no copies.
#[derive(Debug)]
pub(super) enum Node {
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`
    Global(String),
    /// A callable and the tuple of its arguments.
    Call(Id, Id),
    /// An object that is stored outside of the pickle.
    Persistent(Id),
    /// Anything that weights do not need: None, floats, lists, state of foreign objects.
    Other,
}

/// All values of one pickle and which of them it is about.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// # Errors
    /// What is wrong, and at which byte.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            bytes,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        match machine.run() {
            Ok(root) => Ok(Self {
                nodes: machine.nodes,
                root,
            }),
            Err(reason) => Err(format!("byte {} of its pickle: {reason}", machine.at)),
        }
    }

    pub(super) fn root(&self) -> &Node {
        &self.nodes[self.root]
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at open marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let op = self.take(1)?[0];
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
        }
    }

    fn step(&mut self, op: u8) -> Result<(), String> {
        match op {
            0x80 => self.take(1).map(drop), // protocol
            0x95 => self.take(8).map(drop), // frame
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'N' | b'G' | b'K' | b'M' | b'J' | b'X' | b'c' | 0x88..=0x8a | 0x8c | 0x8d | 0x93 => {
                self.value(op)
            }
            b')' | b't' | b'}' | b'd' | b's' | b'u' | b']' | b'a' | b'e' | 0x85..=0x87 => self.container(op),
            b'R' | b'b' | b'Q' | 0x81 => self.object(op),
            b'q' | b'r' | b'h' | b'j' | 0x94 => self.remember(op),
            other => Err(format!("unknown opcode {other:#04x}")),
        }
    }

    /// Numbers, strings and names.
    fn value(&mut self, op: u8) -> Result<(), String> {
        match op {
            b'G' => self.take(8).and_then(|_| self.push(Node::Other)),
            b'K' | b'M' | b'J' => self.integer(op),
            0x8a => self.long(),
            b'X' | 0x8c | 0x8d => {
                let width = [(b'X', 4), (0x8c, 1), (0x8d, 8)];
                let width = width.iter().find(|w| w.0 == op).map_or(4, |w| w.1);
                let length = self.unsigned(width)?;
                let text = std::str::from_utf8(self.take(length)?).map_err(|e| e.to_string())?;
                self.push(Node::Text(text.to_owned()))
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(format!("{module}.{name}")))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.nodes[module], &self.nodes[name]) {
                    (Node::Text(module), Node::Text(name)) => {
                        let global = format!("{module}.{name}");
                        self.push(Node::Global(global))
                    }
                    _ => Err("a class without a name".to_owned()),
                }
            }
            _ => self.push(Node::Other), // None, True, False
        }
    }

    /// Tuples and dictionaries; lists do not matter.
    fn container(&mut self, op: u8) -> Result<(), String> {
        match op {
            b')' => self.push(Node::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(op - 0x84))?;
                self.push(Node::Tuple(items))
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Tuple(items))
            }
            b'}' => self.push(Node::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.set_items(&items)
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)
            }
            b']' => self.push(Node::Other),
            b'a' => self.pop().map(drop),
            _ => self.pop_to_mark().map(drop),
        }
    }

    /// Calls, which are described and not made, and persistent ids.
    fn object(&mut self, op: u8) -> Result<(), String> {
        match op {
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let ordered =
                    matches!(&self.nodes[callable], Node::Global(name) if name == "collections.OrderedDict");
                self.push(match ordered {
                    true => Node::Dict(Vec::new()),
                    false => Node::Call(callable, arguments),
                })
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))
            }
            _ => self.pop().map(drop), // attributes of the object below
        }
    }

    /// Stores the top of the stack, or pushes what was stored.
    fn remember(&mut self, op: u8) -> Result<(), String> {
        match op {
            b'q' | b'r' => {
                let slot = self.unsigned(if op == b'q' { 1 } else { 4 })?;
                let top = self.top()?;
                self.memo.insert(slot, top);
            }
            0x94 => {
                let (slot, top) = (self.memo.len(), self.top()?);
                self.memo.insert(slot, top);
            }
            _ => {
                let slot = self.unsigned(if op == b'h' { 1 } else { 4 })?;
                let id = *self.memo.get(&slot).ok_or("it refers to what it did not store")?;
                self.stack.push(id);
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("it ends early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// Little-endian, of at most 8 bytes.
    fn unsigned(&mut self, width: usize) -> Result<usize, String> {
        let bytes = self.take(width)?;
        let value = bytes.iter().rev().fold(0u64, |v, &b| v << 8 | u64::from(b));
        usize::try_from(value).map_err(|e| e.to_string())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or("it ends early")?;
        let line = std::str::from_utf8(self.take(length)?).map_err(|e| e.to_string())?;
        self.take(1)?;
        Ok(line)
    }

    fn integer(&mut self, op: u8) -> Result<(), String> {
        let value = match op {
            b'K' => i64::from(self.take(1)?[0]),
            b'M' => self.unsigned(2)? as i64,
            _ => i64::from(self.unsigned(4)? as u32 as i32),
        };
        self.push(Node::Int(value))
    }

    /// Two's complement of any width; what does not fit into 64 bits is no size of a tensor.
    fn long(&mut self) -> Result<(), String> {
        let width = usize::from(self.take(1)?[0]);
        let bytes = self.take(width)?;
        let node = match width {
            0 => Node::Int(0),
            1..=8 => {
                let fill = if bytes[width - 1] & 0x80 == 0 { 0 } else { 0xff };
                let mut whole = [fill; 8];
                whole[..width].copy_from_slice(bytes);
                Node::Int(i64::from_le_bytes(whole))
            }
            _ => Node::Other,
        };
        self.push(node)
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        if self.marks.last().is_some_and(|&mark| self.stack.len() <= mark) {
            return Err("it takes a value that is not there".to_owned());
        }
        self.stack
            .pop()
            .ok_or_else(|| "it takes a value that is not there".to_owned())
    }

    fn top(&self) -> Result<Id, String> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| "it takes a value that is not there".to_owned())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        Ok(self
            .stack
            .split_off(mark.ok_or("it closes what it did not open")?))
    }

    /// Keys and values in turn, into the dictionary on top of the stack; other containers do not matter.
    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".to_owned());
        }
        if let Node::Dict(entries) = &mut self.nodes[top] {
            entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shared_values_and_both_string_forms() {
        // {"a": (1, -2), "b": <the same tuple>}, protocol 2 with a memo
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01J\xfe\xff\xff\xff\x86q\x01\x8c\x01bh\x01u.";
        let pickle = Pickle::parse(bytes).unwrap();
        let Node::Dict(entries) = pickle.root() else {
            panic!("{pickle:?}");
        };
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].1, entries[1].1);
        let Node::Tuple(items) = pickle.node(entries[0].1) else {
            panic!("{pickle:?}");
        };
        assert!(matches!(pickle.node(items[0]), Node::Int(1)));
        assert!(matches!(pickle.node(items[1]), Node::Int(-2)));
    }

    #[test]
    fn calls_are_described_and_not_made() {
        let pickle = Pickle::parse(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.").unwrap();
        let Node::Call(callable, _) = pickle.root() else {
            panic!("{pickle:?}");
        };
        assert!(matches!(pickle.node(*callable), Node::Global(name) if name == "os.system"));
    }

    #[test]
    fn long_integers_keep_their_sign() {
        for (bytes, want) in [
            (&b"\x8a\x00."[..], 0),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x05\x00\x00\x00\x00\x01.", 1 << 32),
        ] {
            let pickle = Pickle::parse(bytes).unwrap();
            assert!(matches!(pickle.root(), Node::Int(v) if *v == want), "{pickle:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_at_its_byte() {
        for bytes in [
            &b""[..],
            b"\x80\x02",
            b".",
            b"(.",
            b"u.",
            b"h\x05.",
            b"}(Nu.",
            b"(K\x01(R.",
            b"X\xff\xff\xff\xffa.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
            b"cos\n",
            b"\xfe.",
            b"X\x01\x00\x00\x00\xff.",
        ] {
            let refused = Pickle::parse(bytes).unwrap_err();
            assert!(refused.starts_with("byte "), "{refused}");
        }
        // nested deeper than a call stack would bear
        let deep = [vec![b'N'], vec![0x85; 3_000_000], vec![b'.']].concat();
        assert!(Pickle::parse(&deep).is_ok());
    }
}
