//! The rules of metadata, command by command, and what must hold after any sequence of them.

#[cfg(test)]
mod cost;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod random;
#[cfg(test)]
mod rules_assign;
#[cfg(test)]
mod rules_lives;
#[cfg(test)]
mod rules_nodes;
#[cfg(test)]
mod rules_operations;
#[cfg(test)]
mod rules_partitions;
#[cfg(test)]
mod rules_seals;
#[cfg(test)]
mod rules_topics;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod v1;
#[cfg(test)]
mod v2;
#[cfg(test)]
mod v3;
#[cfg(test)]
mod world;
