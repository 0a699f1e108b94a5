//! How the console looks: pure functions from what is known to cells of a frame.

pub mod chain;
mod doing;
mod footer;
pub mod frame;
mod heat;
pub mod hits;
pub mod keymap;
mod overlay;
pub mod paint;
pub mod screens;
pub mod scrubber;
pub mod spark;
pub mod table;
mod terms;
pub mod text;
pub mod theme;
