//! ListGroups, versions 0 to 5: the groups that this node coordinates, by state (KIP-518) and type
//! (KIP-848).

use std::sync::Arc;

use walrus_groups::Listed;
use walrus_wire::kafka_protocol::{
    messages::{GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
    protocol::StrBytes,
};

use super::text;
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// The only type of group that there is.
const TYPE: &str = "classic";

/// Lists groups.
pub async fn list(broker: &Arc<Broker>, head: Head, request: ListGroupsRequest) -> Reply {
    let shards = match broker.groups.all(broker).await {
        Ok(shards) => shards,
        Err(why) => {
            let code = Refusal::from(&why).code.code();
            return head.ready(&ListGroupsResponse::default().with_error_code(code));
        }
    };
    let mut groups = Vec::new();
    for shard in shards {
        // One that this node does not lead any more is listed by the node that does.
        let listed =
            shard.ask_now(|coordinator, _, _| coordinator.list().collect::<Vec<_>>()).await;
        let wanted = listed.unwrap_or_default().into_iter();
        groups.extend(wanted.filter(|group| is_wanted(&request, group)).map(|group| {
            ListedGroup::default()
                .with_group_id(GroupId(text(group.group)))
                .with_protocol_type(text(group.protocol_type))
                .with_group_state(StrBytes::from_static_str(group.state.name()))
                .with_group_type(StrBytes::from_static_str(TYPE))
        }));
    }
    head.ready(&ListGroupsResponse::default().with_groups(groups))
}

/// No filter lets all through; names are matched without regard to their case, as Kafka does.
fn is_wanted(request: &ListGroupsRequest, group: &Listed) -> bool {
    let passes = |filter: &[StrBytes], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    passes(&request.states_filter, group.state.name()) && passes(&request.types_filter, TYPE)
}

#[cfg(test)]
mod tests {
    use walrus_groups::State;

    use super::*;

    #[test]
    fn filters_of_state_and_type_hold_together() {
        let group =
            Listed { group: "g".into(), protocol_type: "consumer".into(), state: State::Stable };
        for (states, types, wanted) in [
            (&[][..], &[][..], true),
            (&["Stable"], &[], true),
            (&["stable", "Empty"], &["Classic"], true),
            (&["Empty"], &[], false),
            (&[], &["consumer"], false),
        ] {
            let texts = |texts: &[&str]| {
                texts.iter().map(|text| StrBytes::from_string((*text).to_owned())).collect()
            };
            let request = ListGroupsRequest::default()
                .with_states_filter(texts(states))
                .with_types_filter(texts(types));
            assert_eq!(is_wanted(&request, &group), wanted, "{states:?} {types:?}");
        }
    }
}
