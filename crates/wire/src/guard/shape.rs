//! What a request looks like: the words that the generated table is written in.
//!
//! A shape says, for every version at once, which fields follow each other and how each is
//! laid out. [`super::Walker`] reads bytes by it.

/// A last version that stands for "and all later ones".
pub(super) const FOREVER: i16 = i16::MAX;
/// No version at all.
pub(super) const NEVER: Span = Span(1, 0);

/// Versions, the first and the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) i16, pub(super) i16);

impl Span {
    pub(super) const fn holds(self, version: i16) -> bool {
        self.0 <= version && version <= self.1
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) key: i16,
    pub(super) name: &'static str,
    /// The versions that the definitions know.
    pub(super) versions: Span,
    /// The first version with compact lengths and tagged fields.
    pub(super) flexible: i16,
    pub(super) fields: &'static [Field],
}

/// Name, versions, versions in which it may be null, tag, layout.
#[derive(Debug)]
pub(super) struct Field(
    pub(super) &'static str,
    pub(super) Span,
    pub(super) Span,
    pub(super) Option<u32>,
    pub(super) Kind,
);

/// How a value is laid out. Lengths are compact in flexible versions.
#[derive(Debug)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(u8),
    String,
    /// Bytes or records.
    Bytes,
    Array(&'static Self),
    Struct(&'static [Field]),
}
