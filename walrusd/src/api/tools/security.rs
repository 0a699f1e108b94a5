//! ACLs and users with passwords: there are none. ACLs are refused as by a Kafka without an
//! authorizer; users are described as a Kafka describes them that has none, and none is made.

use std::collections::BTreeMap;

use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, CreateAclsRequest,
        CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsResponse,
        DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
        alter_user_scram_credentials_response::AlterUserScramCredentialsResult,
        create_acls_response::AclCreationResult, delete_acls_response::DeleteAclsFilterResult,
        describe_user_scram_credentials_response::DescribeUserScramCredentialsResult,
    },
    protocol::StrBytes,
};

use crate::{
    api::{Head, codes::Refusal},
    net::replies::Reply,
};

/// SCRAM-SHA-256 and SCRAM-SHA-512 by their numbers (KIP-554).
const MECHANISMS: [i8; 2] = [1, 2];

fn no_authorizer() -> Refusal {
    Refusal::new(ResponseError::SecurityDisabled, "No Authorizer is configured.")
}

/// Answers that there is nothing that forbids.
pub(super) fn describe_acls(head: Head) -> Reply {
    let refusal = no_authorizer();
    let response = DescribeAclsResponse::default().with_error_code(refusal.code.code());
    head.ready(&response.with_error_message(refusal.words()))
}

/// Refuses each.
pub(super) fn create_acls(head: Head, request: &CreateAclsRequest) -> Reply {
    let refusal = no_authorizer();
    let refused = AclCreationResult::default()
        .with_error_code(refusal.code.code())
        .with_error_message(refusal.words());
    let results = vec![refused; request.creations.len()];
    head.ready(&CreateAclsResponse::default().with_results(results))
}

/// Refuses each.
pub(super) fn delete_acls(head: Head, request: &DeleteAclsRequest) -> Reply {
    let refusal = no_authorizer();
    let refused = DeleteAclsFilterResult::default()
        .with_error_code(refusal.code.code())
        .with_error_message(refusal.words());
    let results = vec![refused; request.filters.len()];
    head.ready(&DeleteAclsResponse::default().with_filter_results(results))
}

/// Answers that none of them is known; all users are no user.
pub(super) fn describe_users(head: Head, request: &DescribeUserScramCredentialsRequest) -> Reply {
    head.ready(&described(request))
}

fn described(
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let asked = request.users.iter().flatten().map(|user| &user.name);
    let results = times(asked).into_iter().map(|(user, times)| {
        let refusal = if times > 1 {
            let why = format!(
                "Cannot describe SCRAM credentials for the same user twice in a single request: \
                 {user}"
            );
            Refusal::new(ResponseError::DuplicateResource, why)
        } else {
            let why = format!("Attempt to describe a user credential that does not exist: {user}");
            Refusal::new(ResponseError::ResourceNotFound, why)
        };
        DescribeUserScramCredentialsResult::default()
            .with_user(user.clone())
            .with_error_code(refusal.code.code())
            .with_error_message(refusal.words())
    });
    let results = results.collect();
    DescribeUserScramCredentialsResponse::default().with_error_message(None).with_results(results)
}

/// Refuses each: nobody is asked for a password, so none is taken.
pub(super) fn alter_users(head: Head, request: &AlterUserScramCredentialsRequest) -> Reply {
    head.ready(&altered(request))
}

fn altered(request: &AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse {
    let deleted = request.deletions.iter().map(|one| (&one.name, one.mechanism, false));
    let set = request.upsertions.iter().map(|one| (&one.name, one.mechanism, true));
    let asked: Vec<_> = deleted.chain(set).collect();
    let times = times(asked.iter().map(|(user, _, _)| *user));
    let mut seen = BTreeMap::new();
    for (user, mechanism, sets) in asked {
        let twice = times.get(user).is_some_and(|times| *times > 1);
        seen.entry(user).or_insert_with(|| refused(user, mechanism, (sets, twice)));
    }
    let results = seen.into_iter().map(|(user, refusal)| {
        AlterUserScramCredentialsResult::default()
            .with_user(user.clone())
            .with_error_code(refusal.code.code())
            .with_error_message(refusal.words())
    });
    AlterUserScramCredentialsResponse::default().with_results(results.collect())
}

fn refused(user: &str, mechanism: i8, (sets, twice): (bool, bool)) -> Refusal {
    if user.is_empty() {
        return Refusal::new(ResponseError::UnacceptableCredential, "Username must not be empty");
    }
    if twice {
        let why = "A user credential cannot be altered twice in the same request";
        return Refusal::new(ResponseError::DuplicateResource, why);
    }
    if !MECHANISMS.contains(&mechanism) {
        return Refusal::new(ResponseError::UnsupportedSaslMechanism, "Unknown SCRAM mechanism");
    }
    if sets {
        let why = "users with passwords are not built yet: whoever connects may do anything";
        return Refusal::new(ResponseError::SecurityDisabled, why);
    }
    let why = "Attempt to delete a user credential that does not exist";
    Refusal::new(ResponseError::ResourceNotFound, why)
}

/// How often each is named, in order.
fn times<'r>(users: impl Iterator<Item = &'r StrBytes>) -> BTreeMap<&'r StrBytes, usize> {
    let mut times = BTreeMap::new();
    for user in users {
        *times.entry(user).or_insert(0) += 1;
    }
    times
}

#[cfg(test)]
mod tests {
    use ResponseError::{
        DuplicateResource, ResourceNotFound, SecurityDisabled, UnacceptableCredential,
        UnsupportedSaslMechanism,
    };
    use walrus_wire::{
        kafka_protocol::messages::{
            alter_user_scram_credentials_request::{
                ScramCredentialDeletion, ScramCredentialUpsertion,
            },
            describe_user_scram_credentials_request::UserName,
        },
        response,
    };

    use super::*;

    fn text(text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    #[test]
    fn all_users_are_none_and_each_one_asked_for_is_unknown() {
        for (users, expected) in [
            (None, vec![]),
            (Some(vec![]), vec![]),
            (Some(vec!["a"]), vec![("a", ResourceNotFound)]),
            (Some(vec!["b", "", "b"]), vec![("", ResourceNotFound), ("b", DuplicateResource)]),
        ] {
            let named = |users: Vec<&str>| {
                users.into_iter().map(|user| UserName::default().with_name(text(user))).collect()
            };
            let request =
                DescribeUserScramCredentialsRequest::default().with_users(users.map(named));
            let response = described(&request);
            response::encode(1, 0, &response).unwrap();
            assert_eq!(response.error_code, 0);
            let told: Vec<_> =
                response.results.iter().map(|one| (&*one.user, one.error_code)).collect();
            let expected: Vec<_> =
                expected.into_iter().map(|(user, code)| (user, code.code())).collect();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_user_that_is_altered_gets_the_first_reason_why_not() {
        type Case<'a> = (&'a [(&'a str, i8)], &'a [(&'a str, i8)], &'a [(&'a str, ResponseError)]);
        let cases: &[Case<'_>] = &[
            (&[], &[], &[]),
            (&[("a", 1)], &[("b", 2)], &[("a", ResourceNotFound), ("b", SecurityDisabled)]),
            (&[("a", 1)], &[("a", 1)], &[("a", DuplicateResource)]),
            (&[("a", 1), ("a", 2)], &[], &[("a", DuplicateResource)]),
            (&[], &[("", 1)], &[("", UnacceptableCredential)]),
            (
                &[("a", 0)],
                &[("b", -1)],
                &[("a", UnsupportedSaslMechanism), ("b", UnsupportedSaslMechanism)],
            ),
        ];
        for (deletions, upsertions, expected) in cases {
            let deletions = deletions.iter().map(|(user, mechanism)| {
                ScramCredentialDeletion::default().with_name(text(user)).with_mechanism(*mechanism)
            });
            let upsertions = upsertions.iter().map(|(user, mechanism)| {
                ScramCredentialUpsertion::default().with_name(text(user)).with_mechanism(*mechanism)
            });
            let request = AlterUserScramCredentialsRequest::default()
                .with_deletions(deletions.collect())
                .with_upsertions(upsertions.collect());
            let response = altered(&request);
            response::encode(1, 0, &response).unwrap();
            let told: Vec<_> =
                response.results.iter().map(|one| (&*one.user, one.error_code)).collect();
            let expected: Vec<_> =
                expected.iter().map(|(user, code)| (*user, code.code())).collect();
            assert_eq!(told, expected);
        }
    }
}
