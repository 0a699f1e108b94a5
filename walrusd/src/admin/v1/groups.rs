//! Consumer groups and what they have to read. Any node answers for all: it asks those that
//! coordinate them.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::Uri,
};
use walrus_admin::{
    ApiError, Code,
    group::{GROUPS_PAGE_MAX, GroupList, GroupStatus},
    unescape,
};

use super::answer::{Answer, Live, Told, parameter, parameters};
use crate::lag::{self, Untold};

pub(super) async fn list(Live(broker): Live, uri: Uri) -> Answer<GroupList> {
    let given = parameters(&uri, &["after", "limit"])?;
    let limit = parameter(&given, "limit")?.unwrap_or(GROUPS_PAGE_MAX).clamp(1, GROUPS_PAGE_MAX);
    let name = |escaped: &&str| {
        let wrong = || ApiError::new(Code::BadRequest, format!("{escaped:?} is no escaped name"));
        unescape(escaped).ok_or_else(wrong)
    };
    let after = given.get("after").map(name).transpose()?;
    Ok(Told(lag::list(&broker, after.as_deref(), limit).await))
}

pub(super) async fn one(
    Live(broker): Live,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer<GroupStatus> {
    let Path(name) = name.map_err(|why| ApiError::new(Code::BadRequest, why.body_text()))?;
    parameters(&uri, &[])?;
    let found = lag::group(&broker, &name).await.map_err(|why| match why {
        Untold::NoSuchGroup => ApiError::new(Code::NotFound, format!("there is no group {name:?}"))
            .hint("walrusctl group list"),
        Untold::NotNow(why) => ApiError::new(Code::Unavailable, why).hint("ask again in a moment"),
    })?;
    Ok(Told(found))
}
