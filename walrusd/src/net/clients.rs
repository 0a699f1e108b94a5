//! Who is connected, for whoever asks: [`Connection`] counts by atomics alone, and what a client
//! says of itself is noted once, cut and without control characters.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use walrus_admin::connection::{Activity, Client, Protocol};
use walrus_types::{NodeId, UptimeMs, limits::CLIENT_ID_BYTES_MAX};
use walrus_wire::Api;

/// What [`Connection::last`] holds before the first request.
const NOTHING: i32 = -1;
/// What it holds after a command of the text protocol.
const TEXT: i32 = -2;

/// The connections that are open. As many as are admitted, so it needs no limit of its own.
#[derive(Debug, Default)]
pub struct Clients {
    last: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Connection>>>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    address: SocketAddr,
    since: UptimeMs,
    client_id: OnceLock<Box<str>>,
    /// Name and version.
    software: OnceLock<(Box<str>, Box<str>)>,
    requests: AtomicU64,
    answered: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// A key, [`NOTHING`] or [`TEXT`].
    last: AtomicI32,
    last_at: AtomicU64,
    /// How many requests were what, in the order of [`ACTIVITIES`].
    did: [AtomicU64; ACTIVITIES.len()],
}

const ACTIVITIES: [Activity; 4] =
    [Activity::Produce, Activity::Fetch, Activity::Group, Activity::Other];

/// A connection's entry in the list; it leaves it when this is dropped.
#[derive(Debug)]
pub struct Listed<'a> {
    clients: &'a Clients,
    connection: Arc<Connection>,
}

impl Clients {
    /// Lists a connection for as long as the answer is kept.
    pub fn enter(&self, address: SocketAddr, now: UptimeMs) -> Listed<'_> {
        let number = self.last.fetch_add(1, Relaxed) + 1;
        let connection = Arc::new(Connection::new(number, address, now));
        self.open.lock().insert(number, Arc::clone(&connection));
        Listed { clients: self, connection }
    }

    /// Those after that number, in order; whether there are more.
    pub fn page(&self, after: Option<u64>, limit: usize) -> (Vec<Arc<Connection>>, bool) {
        let open = self.open.lock();
        let first = after.map_or(0, |after| after.saturating_add(1));
        let mut rest = open.range(first..).map(|(_, connection)| Arc::clone(connection));
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        (page, rest.next().is_some())
    }
}

impl Listed<'_> {
    /// The connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.clients.open.lock().remove(&self.connection.number);
    }
}

impl Connection {
    fn new(number: u64, address: SocketAddr, since: UptimeMs) -> Self {
        Self {
            number,
            address,
            since,
            client_id: OnceLock::new(),
            software: OnceLock::new(),
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            last: AtomicI32::new(NOTHING),
            last_at: AtomicU64::new(0),
            did: Default::default(),
        }
    }

    /// One that is in no list, for tests.
    #[cfg(test)]
    pub(crate) fn unlisted(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self::new(0, address, UptimeMs(0)))
    }

    /// Bytes of a request came, whatever becomes of it.
    pub fn came(&self, bytes: usize, now: UptimeMs) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
        self.last_at.store(now.0, Relaxed);
    }

    /// It was a request of Kafka's protocol, by a client of that id.
    pub fn asked(&self, api: Api, client_id: Option<&str>) {
        self.last.store(i32::from(api.key()), Relaxed);
        self.did[activity_of(api)].fetch_add(1, Relaxed);
        if let Some(client_id) = client_id.filter(|id| !id.is_empty()) {
            // The first counts: a connection is one client's.
            self.client_id.get_or_init(|| shown(client_id));
        }
    }

    /// It was a command of the text protocol.
    pub fn commanded(&self, activity: Activity) {
        self.last.store(TEXT, Relaxed);
        let place = ACTIVITIES.iter().position(|one| *one == activity);
        self.did[place.unwrap_or(ACTIVITIES.len() - 1)].fetch_add(1, Relaxed);
    }

    /// What the client's library is.
    pub fn says_software(&self, name: &str, version: &str) {
        self.software.get_or_init(|| (shown(name), shown(version)));
    }

    /// Name and version of its library.
    pub fn software(&self) -> Option<String> {
        self.software.get().map(|(name, version)| format!("{name} {version}"))
    }

    /// A request is dealt with: answered, or in need of no answer.
    pub fn answered(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// The system took so many bytes of answers.
    pub fn took(&self, bytes: usize) {
        self.bytes_out.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    /// All of it, as an operator sees it.
    pub fn look(&self, node: NodeId, now: UptimeMs) -> Client {
        // In this order: an answer that comes between the two must not make it less than none.
        let answered = self.answered.load(Relaxed);
        let requests = self.requests.load(Relaxed);
        let last = self.last.load(Relaxed);
        let software = self.software.get();
        Client {
            node,
            connection: self.number,
            address: SocketAddr::new(self.address.ip().to_canonical(), self.address.port())
                .to_string(),
            client_id: self.client_id.get().map(ToString::to_string),
            software: software.map(|(name, _)| name.to_string()),
            software_version: software.map(|(_, version)| version.to_string()),
            protocol: match last {
                NOTHING => Protocol::Unknown,
                TEXT => Protocol::Text,
                _ => Protocol::Kafka,
            },
            for_ms: now.since(self.since),
            requests,
            under_way: requests.saturating_sub(answered),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            last: name_of(last),
            idle_ms: (requests > 0).then(|| now.since(UptimeMs(self.last_at.load(Relaxed)))),
            mostly: self.mostly(),
        }
    }

    fn mostly(&self) -> Option<Activity> {
        let mut did =
            ACTIVITIES.into_iter().zip(self.did.each_ref().map(|count| count.load(Relaxed)));
        // Clients ask for versions and metadata before they do anything: that is nothing they do
        // where there is something else.
        let (most, count) = did.clone().take(3).max_by_key(|(_, count)| *count)?;
        let most = if count > 0 { Some(most) } else { None };
        most.or_else(|| did.next_back().filter(|(_, count)| *count > 0).map(|(other, _)| other))
    }
}

/// As a holder of what it reads is named.
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client_id.get() {
            Some(client_id) => write!(f, "client {client_id:?} at {}", self.address),
            None => write!(f, "a client at {}", self.address),
        }
    }
}

/// What a client said, as it is kept.
fn shown(said: &str) -> Box<str> {
    let end = (0..=said.len().min(CLIENT_ID_BYTES_MAX)).rev().find(|at| said.is_char_boundary(*at));
    let kept = &said[..end.unwrap_or(0)];
    kept.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

fn name_of(last: i32) -> Option<String> {
    match last {
        NOTHING => None,
        TEXT => Some("text".to_owned()),
        key => i16::try_from(key).ok().and_then(Api::from_key).map(|api| format!("{api:?}")),
    }
}

/// The place in [`ACTIVITIES`].
const fn activity_of(api: Api) -> usize {
    match api {
        Api::Produce => 0,
        Api::Fetch => 1,
        Api::OffsetCommit
        | Api::OffsetFetch
        | Api::JoinGroup
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::SyncGroup => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn here(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn a_connection_is_listed_for_as_long_as_it_is_open() {
        let clients = Clients::default();
        let first = clients.enter(here(1), UptimeMs(5));
        let second = clients.enter(here(2), UptimeMs(6));
        let numbers = |after, limit| {
            let (page, more) = clients.page(after, limit);
            (page.iter().map(|one| one.number).collect::<Vec<_>>(), more)
        };
        assert_eq!(numbers(None, 10), (vec![1, 2], false));
        assert_eq!(numbers(None, 1), (vec![1], true));
        assert_eq!(numbers(Some(1), 1), (vec![2], false));
        assert_eq!(numbers(Some(u64::MAX), 1), (vec![], false));
        drop(first);
        assert_eq!(numbers(None, 10), (vec![2], false));
        drop(second);
        assert_eq!(numbers(None, 10), (vec![], false));
    }

    #[test]
    fn what_a_client_says_is_cut_and_has_no_control_characters() {
        for (said, kept) in [
            ("plain", "plain".to_owned()),
            ("a\u{1b}[31m\nb", "a\u{fffd}[31m\u{fffd}b".to_owned()),
            (&"x".repeat(1_000), "x".repeat(CLIENT_ID_BYTES_MAX)),
            (&"é".repeat(200), "é".repeat(CLIENT_ID_BYTES_MAX / 2)),
        ] {
            let connection = Connection::unlisted(here(1));
            connection.asked(Api::Fetch, Some(said));
            connection.asked(Api::Fetch, Some("another"));
            let told = connection.look(NodeId(1), UptimeMs(0));
            assert_eq!(told.client_id.as_deref(), Some(&*kept), "{said:?}");
        }
    }

    #[test]
    fn a_connection_tells_what_it_did() {
        let connection = Connection::unlisted(here(7));
        let told = connection.look(NodeId(1), UptimeMs(50));
        assert_eq!((told.last, told.idle_ms, told.mostly), (None, None, None));
        assert_eq!((told.protocol, told.under_way), (Protocol::Unknown, 0));

        for (api, at) in [(Api::ApiVersions, 60), (Api::Metadata, 61), (Api::Fetch, 70)] {
            connection.came(100, UptimeMs(at));
            connection.asked(api, Some("c"));
        }
        connection.answered();
        connection.took(33);
        connection.says_software("librdkafka", "2.12.1");
        let told = connection.look(NodeId(3), UptimeMs(75));
        assert_eq!((told.node, told.address.as_str()), (NodeId(3), "127.0.0.1:7"));
        assert_eq!((told.requests, told.under_way), (3, 2));
        assert_eq!((told.bytes_in, told.bytes_out), (300, 33));
        assert_eq!((told.last.as_deref(), told.idle_ms), (Some("Fetch"), Some(5)));
        assert_eq!(told.mostly, Some(Activity::Fetch), "asking who leads is not what it is for");
        assert_eq!(told.software.as_deref(), Some("librdkafka"));
        assert_eq!(connection.to_string(), "client \"c\" at 127.0.0.1:7");
    }
}
