//! `walrus-tui`: a live console of a Walrus cluster.
//!
//! A pure core, [`app`] and [`ui`], over what is known of the cluster, [`model`]; sources that
//! tell it, [`source`]; and around them the terminal, [`runtime`]. Read next: `app.rs`.

pub mod app;
pub mod args;
pub mod begin;
pub mod model;
pub mod once;
pub mod runtime;
pub mod screen;
pub mod source;
pub mod ui;
