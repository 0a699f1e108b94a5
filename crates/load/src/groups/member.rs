//! What a client does in a group: joins, has the leader assign, keeps its session, and goes after
//! its coordinator. It is assigned nothing, for it reads nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use kafka_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use tokio::time::{Instant, sleep};

use super::link::{Finder, Link, RETRY};
use super::name_of;

const JOIN_VERSION: i16 = 7;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
/// What is said of subscriptions and assignments is in the words of the first clients.
const EMBEDDED_VERSION: i16 = 0;
const PROTOCOL: StrBytes = StrBytes::from_static_str("range");
const CONSUMER: StrBytes = StrBytes::from_static_str("consumer");
/// How long the others wait for a member that has to join again.
const REBALANCE_TIMEOUT_MS: i32 = 20_000;
/// Something is broken when joining takes so long.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// What became of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    /// The session is kept, in the generation that the member is in.
    Kept,
    /// The member has to join again.
    Rejoin(String),
    /// Nobody heard it; the next one may be heard.
    Missed(String),
}

/// One member of a group.
#[derive(Debug)]
pub struct Member {
    finder: Finder,
    group: StrBytes,
    session_timeout_ms: i32,
    link: Option<Link>,
    id: StrBytes,
    /// Of the group, as it joined last; 0 before.
    pub generation: i32,
    /// Members of that generation, if it leads it.
    pub led: Option<usize>,
}

impl Member {
    pub fn new(finder: Finder, group: &str, session_timeout_ms: i32) -> Self {
        Self {
            finder,
            group: StrBytes::from_string(group.to_owned()),
            session_timeout_ms,
            link: None,
            id: StrBytes::new(),
            generation: 0,
            led: None,
        }
    }

    async fn link(&mut self) -> Result<&mut Link> {
        if self.link.is_none() {
            self.link = Some(self.finder.connect(&self.group).await?.1);
        }
        Ok(self.link.as_mut().expect("it was just set"))
    }

    /// Sends a heartbeat. One that meets nobody, or a node that coordinates no more, is sent once
    /// more to whom the others name now.
    pub async fn beat(&mut self) -> Beat {
        match self.beat_once().await {
            Beat::Missed(_) if self.link.is_none() => self.beat_once().await,
            heard => heard,
        }
    }

    async fn beat_once(&mut self) -> Beat {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        let heard = match self.link().await {
            Ok(link) => link.ask(HEARTBEAT_VERSION, &request).await,
            Err(why) => return Beat::Missed(why.to_string()),
        };
        match heard {
            Ok(answer) if answer.error_code == 0 => Beat::Kept,
            Ok(answer) => self.refused(answer.error_code),
            Err(why) => {
                self.link = None;
                Beat::Missed(why.to_string())
            }
        }
    }

    /// What a client makes of an error code.
    fn refused(&mut self, code: i16) -> Beat {
        let name = name_of(code);
        match ResponseError::try_from_code(code) {
            Some(ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable) => {
                self.link = None;
                Beat::Missed(name)
            }
            Some(ResponseError::UnknownMemberId) => {
                self.id = StrBytes::new();
                Beat::Rejoin(name)
            }
            Some(ResponseError::RebalanceInProgress | ResponseError::IllegalGeneration) => {
                Beat::Rejoin(name)
            }
            _ => Beat::Missed(name),
        }
    }

    /// Joins the group, or joins again, until it is in a generation.
    pub async fn join(&mut self) -> Result<()> {
        let until = Instant::now() + JOIN_MAX;
        loop {
            match self.join_once().await {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() > until => return Err(why).context("it never joined"),
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    async fn join_once(&mut self) -> Result<()> {
        let mut joined = self.ask_to_join().await?;
        if joined.error_code == ResponseError::MemberIdRequired.code() {
            self.id = joined.member_id.clone();
            joined = self.ask_to_join().await?;
        }
        self.accept(joined.error_code)?;
        self.id = joined.member_id.clone();
        let leads = joined.leader == self.id;
        let assignments = if leads { nothing_for_each(&joined)? } else { Vec::new() };
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_generation_id(joined.generation_id)
            .with_member_id(self.id.clone())
            .with_protocol_type(Some(CONSUMER))
            .with_protocol_name(Some(PROTOCOL))
            .with_assignments(assignments);
        let synced = self.ask_coordinator(SYNC_VERSION, &request).await?;
        self.accept(synced.error_code)?;
        self.generation = joined.generation_id;
        self.led = leads.then_some(joined.members.len());
        Ok(())
    }

    async fn ask_to_join(&mut self) -> Result<JoinGroupResponse> {
        let subscription =
            ConsumerProtocolSubscription::default().with_topics(vec![self.group.clone()]);
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(PROTOCOL)
            .with_metadata(embedded(&subscription)?);
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_session_timeout_ms(self.session_timeout_ms)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(self.id.clone())
            .with_protocol_type(CONSUMER)
            .with_protocols(vec![protocol]);
        self.ask_coordinator(JOIN_VERSION, &request).await
    }

    async fn ask_coordinator<R>(&mut self, version: i16, request: &R) -> Result<R::Response>
    where
        R: kafka_protocol::protocol::Request,
    {
        let answer = self.link().await?.ask(version, request).await;
        if answer.is_err() {
            self.link = None;
        }
        answer
    }

    fn accept(&mut self, code: i16) -> Result<()> {
        if code != 0 {
            match self.refused(code) {
                Beat::Kept => {}
                Beat::Rejoin(why) | Beat::Missed(why) => bail!(why),
            }
        }
        Ok(())
    }
}

/// Without user data, and behind its version, as clients embed it.
fn embedded(message: &impl Encodable) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&EMBEDDED_VERSION.to_be_bytes());
    message.encode(&mut bytes, EMBEDDED_VERSION)?;
    Ok(bytes.freeze())
}

fn nothing_for_each(joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>> {
    let nothing = embedded(&ConsumerProtocolAssignment::default())?;
    let assignment = |member: &StrBytes| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.clone())
            .with_assignment(nothing.clone())
    };
    Ok(joined.members.iter().map(|member| assignment(&member.member_id)).collect())
}
