//! Section `groups`: what consumer groups may take.

use walrus_groups::GroupLimits;

use super::{
    kafka::KafkaKind,
    setting::{Conflict, Section, Setting, millis, whole},
};

/// `groups`: what consumer groups may take, and how long their offsets are kept.
#[derive(Debug, Clone)]
pub struct GroupsConfig {
    /// Partitions of the topic of offsets, when it is made.
    pub offsets_partitions: i32,
    /// The shortest session that a member may ask for.
    pub session_ms_min: u32,
    /// The longest.
    pub session_ms_max: u32,
    /// How long a group that was empty waits for more members.
    pub initial_delay_ms: u32,
    /// Members of one group.
    pub members_max: u32,
    /// The longest metadata of a committed offset.
    pub metadata_max: u32,
    /// How long offsets of a group without members are kept.
    pub retention_minutes: u32,
    /// How often that is looked at.
    pub retention_check_ms: u32,
    /// When a commit that is not confirmed is answered as unknown.
    pub commit_timeout_ms: u32,
    /// Records beyond the live state after which it is written anew.
    pub spent_records_max: u32,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            offsets_partitions: 50,
            session_ms_min: 6_000,
            session_ms_max: 1_800_000,
            initial_delay_ms: 3_000,
            members_max: 5_000,
            metadata_max: 4_096,
            retention_minutes: 7 * 24 * 60,
            retention_check_ms: 600_000,
            commit_timeout_ms: 5_000,
            spent_records_max: 100_000,
        }
    }
}

impl GroupsConfig {
    /// The same, as the decider takes it.
    pub fn limits(&self) -> GroupLimits {
        let length = |max: u32| usize::try_from(max).unwrap_or(usize::MAX);
        GroupLimits {
            session_timeout_min_ms: self.session_ms_min,
            session_timeout_max_ms: self.session_ms_max,
            initial_delay_ms: self.initial_delay_ms,
            members_max: length(self.members_max),
            offset_metadata_max: length(self.metadata_max),
            offsets_retention_ms: u64::from(self.retention_minutes) * 60_000,
            commit_timeout_ms: self.commit_timeout_ms,
        }
    }
}

impl Section for GroupsConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self {
            offsets_partitions,
            session_ms_min,
            session_ms_max,
            initial_delay_ms,
            members_max,
            metadata_max,
            retention_minutes,
            retention_check_ms,
            commit_timeout_ms,
            spent_records_max,
        } = self;
        let mut settings = members([session_ms_min, session_ms_max, initial_delay_ms], members_max);
        settings.extend(offsets(
            (offsets_partitions, metadata_max),
            (retention_minutes, retention_check_ms),
            (commit_timeout_ms, spent_records_max),
        ));
        settings
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let refuse = || Conflict {
            key: "groups.session-ms-min",
            why: "is above groups.session-ms-max: no member could join".into(),
        };
        (self.session_ms_min > self.session_ms_max).then(refuse).into_iter().collect()
    }
}

/// The settings of what members may do.
fn members<'a>(
    [session_ms_min, session_ms_max, initial_delay_ms]: [&'a mut u32; 3],
    members_max: &'a mut u32,
) -> Vec<Setting<'a>> {
    vec![
        Setting::new(
            "groups.session-ms-min",
            "The shortest session that a member may ask for",
            millis(session_ms_min, 1..=86_400_000),
        )
        .kafka("group.min.session.timeout.ms", KafkaKind::Int),
        Setting::new(
            "groups.session-ms-max",
            "The longest session that a member may ask for",
            millis(session_ms_max, 1..=86_400_000),
        )
        .kafka("group.max.session.timeout.ms", KafkaKind::Int),
        Setting::new(
            "groups.initial-delay-ms",
            "How long a group that was empty waits for more members",
            millis(initial_delay_ms, 0..=3_600_000),
        )
        .kafka("group.initial.rebalance.delay.ms", KafkaKind::Int),
        Setting::new(
            "groups.members-max",
            "Members that one group may have",
            whole(members_max, 1..=100_000),
        )
        .kafka("group.max.size", KafkaKind::Int),
    ]
}

/// The settings of the topic of offsets and of what is kept there.
fn offsets<'a>(
    (offsets_partitions, metadata_max): (&'a mut i32, &'a mut u32),
    (retention_minutes, retention_check_ms): (&'a mut u32, &'a mut u32),
    (commit_timeout_ms, spent_records_max): (&'a mut u32, &'a mut u32),
) -> Vec<Setting<'a>> {
    vec![
        Setting::new(
            "groups.offsets-partitions",
            "Partitions of the topic of committed offsets, when it is made",
            whole(offsets_partitions, 1..=1_000),
        )
        .kafka("offsets.topic.num.partitions", KafkaKind::Int),
        Setting::new(
            "groups.metadata-max",
            "The longest metadata of a committed offset",
            whole(metadata_max, 0..=8_192),
        )
        .kafka("offset.metadata.max.bytes", KafkaKind::Int),
        Setting::new(
            "groups.retention-minutes",
            "How long offsets of a group without members are kept, in minutes",
            whole(retention_minutes, 1..=i32::MAX.unsigned_abs()),
        )
        .kafka("offsets.retention.minutes", KafkaKind::Int),
        Setting::new(
            "groups.retention-check-ms",
            "How often it is looked at which offsets are kept no longer",
            millis(retention_check_ms, 10..=86_400_000),
        )
        .kafka("offsets.retention.check.interval.ms", KafkaKind::Long),
        Setting::new(
            "groups.commit-timeout-ms",
            "When a commit that is not confirmed is answered as unknown",
            millis(commit_timeout_ms, 1..=600_000),
        )
        .kafka("offsets.commit.timeout.ms", KafkaKind::Int),
        Setting::new(
            "groups.spent-records-max",
            "Records of a partition of offsets beyond the live state after which it is written anew",
            whole(spent_records_max, 10..=100_000_000),
        ),
    ]
}
