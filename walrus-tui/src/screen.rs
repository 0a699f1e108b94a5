//! The screens by name: as keys, the command line and the header call them.

use clap::ValueEnum;

/// A screen of the cluster as a whole. A single partition has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Screen {
    /// Is the cluster well?
    Overview,
    /// What each node does and holds.
    Nodes,
    /// Topics and their partitions.
    Topics,
    /// Who leads what.
    Leases,
    /// The metadata group.
    Raft,
    /// Write-ahead logs and disks.
    Storage,
    /// Consumer groups and how far they are behind.
    Groups,
    /// What changed.
    Events,
    /// Runs of playbooks.
    Playbooks,
    /// What operators asked for.
    Operations,
    /// What is deleted, and what waits for that.
    Gc,
    /// Who is connected.
    Clients,
}

impl Screen {
    /// As it is called at the top.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Nodes => "Nodes",
            Self::Topics => "Topics",
            Self::Leases => "Leases",
            Self::Raft => "Raft",
            Self::Storage => "Storage",
            Self::Groups => "Groups",
            Self::Events => "Events",
            Self::Playbooks => "Playbooks",
            Self::Operations => "Operations",
            Self::Gc => "GC",
            Self::Clients => "Clients",
        }
    }

    /// Why it shows nothing, if it is not there yet.
    #[must_use]
    pub const fn absent(self) -> Option<&'static str> {
        match self {
            Self::Playbooks => Some("no playbook runs, and nothing here runs one yet"),
            Self::Overview
            | Self::Nodes
            | Self::Topics
            | Self::Leases
            | Self::Raft
            | Self::Storage
            | Self::Groups
            | Self::Events
            | Self::Operations
            | Self::Gc
            | Self::Clients => None,
        }
    }
}
