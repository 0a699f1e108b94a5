//! What changed, a page at a time.

use axum::http::Uri;
use walrus_admin::event::{EVENTS_PAGE_MAX, Event, EventList};

use super::answer::{Answer, Live, Told, parameter, parameters};
use crate::{broker::Broker, events::Page};

pub(super) async fn list(Live(broker): Live, uri: Uri) -> Answer<EventList> {
    let given = parameters(&uri, &["after", "limit"])?;
    let after: Option<u64> = parameter(&given, "after")?;
    let limit = parameter(&given, "limit")?.unwrap_or(EVENTS_PAGE_MAX).clamp(1, EVENTS_PAGE_MAX);
    Ok(Told(page(&broker, broker.events.page(after, limit), |_| true)))
}

/// A page as a document, of the events that are wanted.
pub(super) fn page(broker: &Broker, page: Page, wanted: impl Fn(&Event) -> bool) -> EventList {
    let Page { events, truncated, through, is_more } = page;
    EventList {
        answered_by: broker.identity.node,
        metadata_version: through,
        truncated,
        items: events.iter().filter(|one| wanted(one)).map(|one| Event::clone(one)).collect(),
        next: is_more.then_some(through),
    }
}
