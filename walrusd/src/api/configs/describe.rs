//! DescribeConfigs, versions 1 to 4: every entry with its value, default or not.

use std::{collections::BTreeSet, sync::Arc};

use walrus_types::NodeId;
use walrus_wire::kafka_protocol::{
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
    protocol::StrBytes,
};

use super::{
    Resource, Shown, resource,
    show::{self, Synonym},
    topic,
};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// Answers from this node's copy of the metadata, and from its own configuration.
pub fn begin(broker: &Arc<Broker>, head: Head, request: DescribeConfigsRequest) -> Reply {
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for asked in &request.resources {
        let resource = resource(asked.resource_type, &asked.resource_name);
        // Named again, a resource is answered once: an answer is far longer than its question.
        if let Ok(resource) = &resource
            && !seen.insert(resource.clone())
        {
            continue;
        }
        let shown = resource.and_then(|resource| shown(broker, &resource));
        results.push(result(asked, shown, &request));
    }
    head.ready(&DescribeConfigsResponse::default().with_results(results))
}

fn shown(broker: &Broker, resource: &Resource<'_>) -> Result<Vec<Shown>, Refusal> {
    let NodeId(me) = broker.identity.node;
    match resource {
        Resource::Topic(name) => {
            let metadata = broker.metadata();
            Ok(show::of_topic(broker, topic(&metadata, name)?.configs()))
        }
        // Nothing can be set for all nodes at once yet.
        Resource::Node(None) => Ok(Vec::new()),
        Resource::Node(Some(NodeId(id))) if *id == me => Ok(show::of_node(&broker.config)),
        Resource::Node(Some(NodeId(id))) => Err(Refusal::invalid(format!(
            "Unexpected broker id, expected {me} or empty string, but received {id}"
        ))),
    }
}

fn result(
    asked: &DescribeConfigsResource,
    shown: Result<Vec<Shown>, Refusal>,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone());
    match shown {
        Ok(shown) => {
            let keys = asked.configuration_keys.as_deref().unwrap_or_default();
            let keys: BTreeSet<&str> = keys.iter().map(|key| key.as_str()).collect();
            let wanted = |shown: &Shown| keys.is_empty() || keys.contains(shown.name);
            let configs = shown.into_iter().filter(wanted).map(|shown| entry(shown, request));
            result.with_error_message(None).with_configs(configs.collect())
        }
        Err(refusal) => {
            result.with_error_code(refusal.code.code()).with_error_message(refusal.words())
        }
    }
}

fn entry(shown: Shown, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let Shown { name, value, read_only, source, kind, doc, synonyms } = shown;
    let synonyms = if request.include_synonyms { synonyms } else { Vec::new() };
    let synonyms = synonyms.into_iter().map(|Synonym { name, value, source }| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(value.map(StrBytes::from_string))
            .with_source(source.code())
    });
    let documentation = request.include_documentation.then(|| StrBytes::from_static_str(doc));
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(value.map(StrBytes::from_string))
        .with_read_only(read_only)
        .with_config_source(source.code())
        .with_synonyms(synonyms.collect())
        .with_config_type(kind)
        .with_documentation(documentation)
}

#[cfg(test)]
mod tests {
    use walrus_wire::response;

    use super::*;
    use crate::config::Config;

    fn described(keys: Option<&[&'static str]>, all: bool) -> DescribeConfigsResult {
        let keys = keys.map(|keys| keys.iter().map(|key| StrBytes::from_static_str(key)).collect());
        let asked = DescribeConfigsResource::default().with_configuration_keys(keys);
        let request = DescribeConfigsRequest::default()
            .with_include_synonyms(all)
            .with_include_documentation(all);
        result(&asked, Ok(show::of_node(&Config::default())), &request)
    }

    #[test]
    fn keys_narrow_the_answer_and_none_of_them_means_all() {
        let all = show::of_node(&Config::default()).len();
        for (keys, expected) in [
            (None, all),
            (Some(&[][..]), all),
            (Some(&["node.id"][..]), 1),
            (Some(&["node.id", "no.such", "log.dirs"][..]), 2),
            (Some(&["no.such"][..]), 0),
        ] {
            assert_eq!(described(keys, false).configs.len(), expected, "{keys:?}");
        }
    }

    #[test]
    fn synonyms_and_words_are_told_when_asked_for_in_every_version() {
        for all in [false, true] {
            let result = described(None, all);
            for config in &result.configs {
                assert_eq!(!config.synonyms.is_empty(), all, "{}", &*config.name);
                assert_eq!(config.documentation.is_some(), all, "{}", &*config.name);
            }
            for version in 1..=4 {
                let results = vec![result.clone()];
                let response = DescribeConfigsResponse::default().with_results(results);
                response::encode(1, version, &response).unwrap();
            }
        }
    }
}
