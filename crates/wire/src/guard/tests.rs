//! Guard and decoder held against each other.
