//! How the console looks: pure functions from what is known to cells of a frame.

pub mod chain;
pub mod frame;
pub mod keymap;
pub mod paint;
pub mod screens;
pub mod spark;
pub mod table;
pub mod text;
pub mod theme;
