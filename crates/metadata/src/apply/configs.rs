//! Configs: strings under names. Their bounds are judged here, their meaning where they are used.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    command::{ConfigResource, SetConfigs},
    limits::{CONFIG_KEY_BYTES_MAX, CONFIG_VALUE_BYTES_MAX, CONFIGS_MAX},
    metadata::Metadata,
    reply::{ConfigBounds, ConfigRefusal, UnknownTopic},
};

impl Metadata {
    pub(super) fn set_configs(&mut self, set: &SetConfigs) -> Result<(), ConfigRefusal> {
        let changes = set.changes.iter().map(|(key, value)| (key, value.as_ref()));
        match set.resource {
            ConfigResource::Cluster => {
                self.cluster_configs = Arc::new(change(&self.cluster_configs, changes)?);
            }
            ConfigResource::Node(node) => {
                let known = self.nodes.get(&node).ok_or(ConfigRefusal::UnknownNode { node })?;
                let configs = change(&known.configs, changes)?;
                let known = self.nodes.get_mut(&node).expect("it was there a line above");
                Arc::make_mut(known).configs = configs;
            }
            ConfigResource::Topic(topic) => {
                let known = self.topics.get(&topic).ok_or(UnknownTopic { topic })?;
                let configs = change(&known.configs, changes)?;
                let known = self.topics.get_mut(&topic).expect("it was there a line above");
                Arc::make_mut(known).configs = Arc::new(configs);
            }
        }
        Ok(())
    }
}

/// `configs` with `changes`; `None` deletes.
pub(super) fn change<'a>(
    configs: &BTreeMap<String, String>,
    changes: impl Iterator<Item = (&'a String, Option<&'a String>)>,
) -> Result<BTreeMap<String, String>, ConfigBounds> {
    let mut configs = configs.clone();
    for (key, value) in changes {
        if !(1..=CONFIG_KEY_BYTES_MAX).contains(&key.len()) {
            return Err(ConfigBounds::Key { limit: CONFIG_KEY_BYTES_MAX as u64 });
        }
        match value {
            Some(value) if value.len() > CONFIG_VALUE_BYTES_MAX => {
                return Err(ConfigBounds::Value { limit: CONFIG_VALUE_BYTES_MAX as u64 });
            }
            Some(value) => drop(configs.insert(key.clone(), value.clone())),
            None => drop(configs.remove(key)),
        }
    }
    if configs.len() > CONFIGS_MAX {
        return Err(ConfigBounds::Count { limit: CONFIGS_MAX as u64 });
    }
    Ok(configs)
}
