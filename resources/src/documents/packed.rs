//! A tree packed into one allocation, for the long time between reading a document and showing it.

use std::fmt;

use super::node::{Key, Node, Value};

/// A [`Node`] as bytes, about a tenth of its size. Each node is its line, a tag and its value; numbers of 64 bits are LEB128
/// varints, texts and lists start with their length.
#[derive(Clone)]
pub(crate) struct PackedNode(Box<[u8]>);

impl fmt::Debug for PackedNode {
    /// Not its bytes: they may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedNode({} bytes)", self.0.len())
    }
}

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const LIST: u8 = 6;
const MAP: u8 = 7;

impl PackedNode {
    pub(crate) fn pack(node: &Node) -> Self {
        let mut out = Vec::new();
        pack(node, &mut out);
        Self(out.into())
    }

    pub(crate) fn unpack(&self) -> Node {
        Reader(&self.0).node().expect("only `pack` makes a packed node")
    }
}

fn pack(node: &Node, out: &mut Vec<u8>) {
    number(node.line, out);
    match &node.value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Integer(value) => {
            out.push(INTEGER);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Float(value) => {
            out.push(FLOAT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Text(value) => {
            out.push(TEXT);
            text(value, out);
        }
        Value::List(items) => {
            out.push(LIST);
            number(items.len() as u64, out);
            items.iter().for_each(|item| pack(item, out));
        }
        Value::Map(entries) => {
            out.push(MAP);
            number(entries.len() as u64, out);
            for (key, value) in entries {
                number(key.line, out);
                text(&key.name, out);
                pack(value, out);
            }
        }
    }
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn text(text: &str, out: &mut Vec<u8>) {
    number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn node(&mut self) -> Option<Node> {
        let line = self.number()?;
        let value = match self.bytes(1)?[0] {
            NULL => Value::Null,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INTEGER => Value::Integer(i128::from_le_bytes(self.bytes(16)?.try_into().ok()?)),
            FLOAT => Value::Float(f64::from_le_bytes(self.bytes(8)?.try_into().ok()?)),
            TEXT => Value::Text(self.text()?),
            LIST => Value::List((0..self.number()?).map(|_| self.node()).collect::<Option<_>>()?),
            MAP => Value::Map((0..self.number()?).map(|_| self.entry()).collect::<Option<_>>()?),
            _ => return None,
        };
        Some(Node { line, value })
    }

    fn entry(&mut self) -> Option<(Key, Node)> {
        let key = Key { line: self.number()?, name: self.text()? };
        Some((key, self.node()?))
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        Some(std::str::from_utf8(self.bytes(length)?).ok()?.to_owned())
    }

    fn bytes(&mut self, length: usize) -> Option<&[u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i128>().prop_map(Value::Integer),
            any::<f64>().prop_map(Value::Float),
            ".{0,9}".prop_map(Value::Text),
        ];
        let node = |value: BoxedStrategy<Value>| {
            (any::<u64>(), value).prop_map(|(line, value)| Node { line, value }).boxed()
        };
        node(leaf.boxed()).prop_recursive(4, 40, 6, move |inner| {
            let entry = (any::<u64>(), ".{0,9}", inner.clone())
                .prop_map(|(line, name, node)| (Key { line, name }, node));
            let value = prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::List),
                proptest::collection::vec(entry, 0..6).prop_map(Value::Map),
            ];
            node(value.boxed())
        })
    }

    proptest! {
        #[test]
        fn a_packed_node_is_read_back_with_its_lines(node in node()) {
            let unpacked = PackedNode::pack(&node).unpack();
            prop_assert_eq!(format!("{node:?}"), format!("{unpacked:?}"));
        }
    }
}
