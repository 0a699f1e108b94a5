//! The rules of groups, each a table of what happens and what is said to it. How to read a table
//! stands in `play.rs`.

mod admin;
mod membership;
mod moves;
mod offsets;
mod play;
mod static_members;
