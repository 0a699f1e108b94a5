//! The frame around every answer: which API it is of, and what kind of thing it tells.

use serde::{Deserialize, Serialize};

/// The version that every document names.
pub const API_VERSION: &str = "walrus/v1";

/// A model that is an answer of its own.
pub trait Kind {
    /// What `kind` says.
    const KIND: &'static str;
}

/// A model with its frame, as it is sent and shown.
#[derive(Debug, Serialize)]
pub struct Document<'a, T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

impl<'a, T: Kind> Document<'a, T> {
    /// In its frame.
    pub const fn of(body: &'a T) -> Self {
        Self { api_version: API_VERSION, kind: T::KIND, body }
    }
}

/// The frame alone. A reader looks at it before it believes the rest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Head {
    /// Which API.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Which kind of document.
    pub kind: String,
}
