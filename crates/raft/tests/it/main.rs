//! Members of the metadata group on disks that are real, and on disks that lose power; alone, and
//! in groups whose links are cut.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod group;
#[cfg(test)]
mod hub;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod world;
