//! AlterConfigs (0 to 2) and IncrementalAlterConfigs (0 and 1). What is answered with success is
//! in force on this node: settings are resolved from the metadata, which has them by then.

use std::{collections::BTreeMap, sync::Arc};

use walrus_metadata::{Command, ConfigResource, Metadata, Reply as Answer, SetConfigs};
use walrus_wire::kafka_protocol::{
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, alter_configs_response,
        incremental_alter_configs_response,
    },
    protocol::StrBytes,
};

use super::{Resource, change, resource, topic};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// Resources that travel in one command: with the longest values it stays below a megabyte.
const RESOURCES_PER_COMMAND_MAX: usize = 100;

/// One resource of a request: what is to be changed, then what became of it.
#[derive(Debug)]
struct Part {
    kind: i8,
    name: StrBytes,
    outcome: Result<SetConfigs, Refusal>,
}

/// Replaces all that the named topics set.
pub async fn begin(broker: &Arc<Broker>, head: Head, request: AlterConfigsRequest) -> Reply {
    let metadata = broker.metadata();
    let names = request.resources.iter().map(|one| (one.resource_type, &one.resource_name));
    let twice = times(names);
    let parts = request.resources.iter().map(|one| {
        let key = (one.resource_type, &one.resource_name);
        let given = one.configs.iter().map(|config| (&*config.name, config.value.as_deref()));
        let outcome = target(&metadata, key, &twice).and_then(|resource| {
            let ConfigResource::Topic(id) = resource else { return Err(of_process()) };
            let set = metadata.topic(id).map(|topic| topic.configs().clone()).unwrap_or_default();
            Ok(SetConfigs { resource, changes: change::replace(&set, given)? })
        });
        Part { kind: one.resource_type, name: one.resource_name.clone(), outcome }
    });
    let parts = carry_out(broker, parts.collect(), request.validate_only).await;
    let responses = parts.into_iter().map(|(kind, name, code, message)| {
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(kind)
            .with_resource_name(name)
    });
    head.ready(&AlterConfigsResponse::default().with_responses(responses.collect()))
}

/// Changes what the named topics set, config by config.
pub async fn begin_incrementally(
    broker: &Arc<Broker>,
    head: Head,
    request: IncrementalAlterConfigsRequest,
) -> Reply {
    let metadata = broker.metadata();
    let names = request.resources.iter().map(|one| (one.resource_type, &one.resource_name));
    let twice = times(names);
    let parts = request.resources.iter().map(|one| {
        let key = (one.resource_type, &one.resource_name);
        let given = one.configs.iter();
        let given = given.map(|one| (&*one.name, one.config_operation, one.value.as_deref()));
        let outcome = target(&metadata, key, &twice).and_then(|resource| {
            let changes = match resource {
                ConfigResource::Topic(id) => {
                    let view = broker.topic_by_id(id).ok_or_else(Refusal::unknown_topic)?;
                    change::alter(view.topic.configs(), &view.config, given)?
                }
                // Nothing is ever set for nodes, and what is not set may be deleted: so
                // Kafka's tools take back a throttle that they may have set.
                ConfigResource::Node(_) | ConfigResource::Cluster => {
                    if !change::only_deletes(given) {
                        return Err(of_process());
                    }
                    change::Changes::new()
                }
            };
            Ok(SetConfigs { resource, changes })
        });
        Part { kind: one.resource_type, name: one.resource_name.clone(), outcome }
    });
    let parts = carry_out(broker, parts.collect(), request.validate_only).await;
    let responses = parts.into_iter().map(|(kind, name, code, message)| {
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(kind)
            .with_resource_name(name)
    });
    head.ready(&IncrementalAlterConfigsResponse::default().with_responses(responses.collect()))
}

type Key<'r> = (i8, &'r StrBytes);

/// How often each resource is named.
fn times<'r>(keys: impl Iterator<Item = Key<'r>>) -> BTreeMap<(i8, &'r str), usize> {
    let mut times = BTreeMap::new();
    for (kind, name) in keys {
        *times.entry((kind, name.as_str())).or_insert(0) += 1;
    }
    times
}

/// What is to be changed.
fn target(
    metadata: &Metadata,
    (kind, name): Key<'_>,
    times: &BTreeMap<(i8, &str), usize>,
) -> Result<ConfigResource, Refusal> {
    if times.get(&(kind, name.as_str())).is_some_and(|times| *times > 1) {
        return Err(Refusal::invalid("Each resource must appear at most once."));
    }
    match resource(kind, name)? {
        Resource::Topic(name) => Ok(ConfigResource::Topic(topic(metadata, name)?.id)),
        Resource::Node(Some(id)) => Ok(ConfigResource::Node(id)),
        Resource::Node(None) => Ok(ConfigResource::Cluster),
    }
}

fn of_process() -> Refusal {
    Refusal::invalid(
        "a node's configs are settings of its process (flag, variable or file) and change with \
         its next start",
    )
}

/// Proposes what was judged sound; answers kind, name, code and words of each resource.
async fn carry_out(
    broker: &Broker,
    mut parts: Vec<Part>,
    validate_only: bool,
) -> Vec<(i8, StrBytes, i16, Option<StrBytes>)> {
    if !validate_only {
        let mut sound: Vec<&mut Part> =
            parts.iter_mut().filter(|part| part.outcome.is_ok()).collect();
        for some in sound.chunks_mut(RESOURCES_PER_COMMAND_MAX) {
            propose(broker, some).await;
        }
    }
    let told = parts.into_iter().map(|Part { kind, name, outcome }| match outcome {
        Ok(_) => (kind, name, 0, None),
        Err(refusal) => (kind, name, refusal.code.code(), refusal.words()),
    });
    told.collect()
}

async fn propose(broker: &Broker, parts: &mut [&mut Part]) {
    let sets = parts.iter().filter_map(|part| part.outcome.as_ref().ok().cloned()).collect();
    let outcomes = match broker.raft.propose(&Command::SetConfigs(sets)).await {
        Ok(Answer::ConfigsSet(outcomes)) => outcomes,
        Ok(other) => return all_refused(parts, &Refusal::unexpected(&other)),
        Err(why) => return all_refused(parts, &why.into()),
    };
    for (part, outcome) in parts.iter_mut().zip(outcomes) {
        if let Err(refusal) = outcome {
            part.outcome = Err(refusal.into());
        }
    }
}

fn all_refused(parts: &mut [&mut Part], refusal: &Refusal) {
    for part in parts {
        part.outcome = Err(refusal.clone());
    }
}

#[cfg(test)]
mod tests {
    use walrus_wire::kafka_protocol::error::ResponseError;

    use super::*;
    use crate::api::world::World;

    #[test]
    fn what_is_changed_is_a_node_or_a_topic_that_is_there_and_is_named_once() {
        use ResponseError::{InvalidRequest, InvalidTopicException, UnknownTopicOrPartition};
        let World { metadata, .. } = World::with_topics(&[("there", 1), ("twice", 1)]);
        let keys = [
            (2, "there", None),
            (2, "twice", Some(InvalidRequest)),
            (2, "twice", Some(InvalidRequest)),
            (2, "missing", Some(UnknownTopicOrPartition)),
            (2, "", Some(InvalidTopicException)),
            (4, "1", None),
            (4, "", None),
            (4, "one", Some(InvalidRequest)),
            (8, "1", Some(InvalidRequest)),
        ]
        .map(|(kind, name, expected)| (kind, StrBytes::from_static_str(name), expected));
        let times = times(keys.iter().map(|(kind, name, _)| (*kind, name)));
        for (kind, name, expected) in &keys {
            let refused = target(&metadata, (*kind, name), &times).err().map(|why| why.code);
            assert_eq!(refused, *expected, "{kind} {name}");
        }
    }
}
