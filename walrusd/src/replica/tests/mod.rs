//! What members do, with real stores: one file for each part.

mod appends;
mod ends;
mod fences;
mod repairs;
mod world;
