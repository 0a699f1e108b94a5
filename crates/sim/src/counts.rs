//! What was reached: a world in which nothing goes wrong proves nothing.

use std::fmt;

macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        /// How often each thing happened.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Counts { $(pub $name: u64),* }

        impl Counts {
            /// All of them, by name.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            /// Adds those of another world.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts!(
    acked,
    duplicates,
    reads,
    elections,
    fences,
    planned,
    forced,
    narrow,
    quorum_lost,
    carried,
    cuts,
    copies,
    pulls,
    crashes,
    power_cuts,
    pauses,
    partitions,
    one_way,
    lost_disks,
    refused_disks,
    drains,
    assigned,
    behind,
    lost_messages,
    repeated_messages,
    late_proposals,
    unknown_outcomes,
    stale_leaders,
);

impl Counts {
    /// What did not happen at all.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.all().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, count)) in self.all().into_iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {count}", name.replace('_', " "))?;
        }
        Ok(())
    }
}
