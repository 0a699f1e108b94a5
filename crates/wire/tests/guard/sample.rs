//! Random requests, written by the shape table.

use rand::{RngExt as _, rngs::StdRng};

use crate::shape::{Field, Kind, Shape};

/// What kind of request to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Some of everything.
    Plain,
    /// As many of the smallest elements as fit, in arrays picked at random: what unfolds most.
    Dense { elements: usize },
}

/// The body of a valid request.
pub(crate) fn body(shape: &Shape, version: i16, style: Style, rng: &mut StdRng) -> Vec<u8> {
    let flexible = version >= shape.flexible;
    let mut writer = Writer { rng, out: Vec::new(), version, flexible, style, depth_elements: 1 };
    writer.fields(shape.fields);
    writer.out
}

struct Writer<'a> {
    rng: &'a mut StdRng,
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    style: Style,
    /// How many elements the arrays around this place have, multiplied.
    depth_elements: usize,
}

impl Writer<'_> {
    fn fields(&mut self, fields: &'static [Field]) {
        for Field(_, versions, null, tag, kind) in fields {
            if tag.is_none() && versions.holds(self.version) {
                self.value(kind, null.holds(self.version));
            }
        }
        if self.flexible {
            self.tags(fields);
        }
    }

    fn tags(&mut self, fields: &'static [Field]) {
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        if self.style == Style::Plain {
            for Field(_, versions, null, tag, kind) in fields {
                let Some(tag) = tag.filter(|_| versions.holds(self.version)) else { continue };
                if self.rng.random() {
                    let outer = std::mem::take(&mut self.out);
                    self.value(kind, null.holds(self.version));
                    tags.push((tag, std::mem::replace(&mut self.out, outer)));
                }
            }
            if self.rng.random_ratio(1, 16) {
                tags.push((self.rng.random_range(100..1 << 31), vec![7; 3]));
            }
        }
        tags.sort_by_key(|(tag, _)| *tag);
        self.varint(tags.len());
        for (tag, value) in tags {
            self.varint(usize::try_from(tag).expect("32 bits"));
            self.varint(value.len());
            self.out.extend(value);
        }
    }

    fn value(&mut self, kind: &'static Kind, may_be_null: bool) {
        let null = may_be_null && self.rng.random_ratio(1, 4);
        match kind {
            Kind::Fixed(bytes) => {
                for _ in 0..*bytes {
                    let byte = self.rng.random();
                    self.out.push(byte);
                }
            }
            Kind::String => {
                let length = (!null).then(|| self.length(12));
                self.prefix(length, 2);
                self.out.extend(std::iter::repeat_n(b'a', length.unwrap_or(0)));
            }
            Kind::Bytes => {
                let length = (!null).then(|| self.length(40));
                self.prefix(length, 4);
                for _ in 0..length.unwrap_or(0) {
                    let byte = self.rng.random();
                    self.out.push(byte);
                }
            }
            Kind::Array(of) => self.array(of, null),
            Kind::Struct(fields) => {
                if may_be_null {
                    self.out.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(fields);
                }
            }
        }
    }

    fn array(&mut self, of: &'static Kind, null: bool) {
        let count = match self.style {
            Style::Plain => self.rng.random_range(0..4),
            Style::Dense { elements } if self.rng.random() => elements / self.depth_elements,
            Style::Dense { .. } => 1,
        };
        self.prefix((!null).then_some(count), 4);
        let outer = self.depth_elements;
        self.depth_elements *= count.max(1);
        for _ in 0..if null { 0 } else { count } {
            self.value(of, false);
        }
        self.depth_elements = outer;
    }

    fn length(&mut self, max: usize) -> usize {
        match self.style {
            Style::Plain => self.rng.random_range(0..max),
            Style::Dense { .. } => 0,
        }
    }

    /// A length or count, `None` for null, in as many bytes as a version that is not flexible has.
    fn prefix(&mut self, length: Option<usize>, bytes: usize) {
        if self.flexible {
            self.varint(length.map_or(0, |length| length + 1));
            return;
        }
        let signed = length.map_or(-1, |length| i32::try_from(length).expect("a small sample"));
        self.out.extend_from_slice(&signed.to_be_bytes()[4 - bytes..]);
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(u8::try_from(value & 0x7f | 0x80).expect("masked"));
            value >>= 7;
        }
        self.out.push(u8::try_from(value).expect("below 0x80"));
    }
}
