//! Tells the controller ten times a second that this node is alive.
//!
//! A heartbeat that fails is repeated at once, to whoever leads by then: leases last a second, and
//! an election takes half of that.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::debug;
use walrus_raft::Leadership;

use super::cluster::{Cluster, is_alone};

/// From one heartbeat to the next.
const BEAT_EACH: Duration = Duration::from_millis(100);
/// How long one may take: so much less than a lease lasts that another can still save it.
const BEAT_MAX: Duration = Duration::from_millis(300);
/// Before one that failed is repeated.
const BEAT_AGAIN: Duration = Duration::from_millis(20);

/// Beats for as long as it is polled. A node that is alone has nobody to beat for.
pub async fn run<C: Cluster>(cluster: Arc<C>) {
    let (mut views, mut leadership) = (cluster.views(), cluster.leadership());
    // Of the view nothing is kept: who borrows it holds up the next.
    while views.wait_for(|metadata| !is_alone(metadata)).await.is_ok() {
        let wait = one(&*cluster, &mut leadership).await;
        tokio::select! {
            () = sleep(wait) => {}
            () = changed(&mut leadership) => {}
        }
    }
}

/// One heartbeat; answers how long to wait before the next.
async fn one<C: Cluster>(cluster: &C, leadership: &mut watch::Receiver<Leadership>) -> Duration {
    let leader = leadership.borrow_and_update().leader;
    let Some(leader) = leader else { return BEAT_AGAIN };
    let sent = cluster.uptime();
    let answer = tokio::select! {
        answer = timeout(BEAT_MAX, cluster.beat(leader)) => answer,
        () = changed(leadership) => return Duration::ZERO,
    };
    match answer {
        Ok(Ok(reply)) if reply.controller.is_some() => {
            cluster.beat_answered(sent, &reply);
            BEAT_EACH.saturating_sub(Duration::from_millis(cluster.uptime().since(sent)))
        }
        Ok(Ok(_no_controller)) => BEAT_AGAIN,
        Ok(Err(why)) => {
            debug!(%why, "no answer to a heartbeat");
            BEAT_AGAIN
        }
        Err(_elapsed) => {
            debug!("no answer to a heartbeat in time");
            BEAT_AGAIN
        }
    }
}

/// Waits until another member leads. When the group has stopped it never does.
async fn changed(leadership: &mut watch::Receiver<Leadership>) {
    if leadership.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::controller::fake::{self, Fake};

    #[tokio::test]
    async fn a_heartbeat_goes_to_whoever_leads_and_its_answer_counts_from_when_it_was_sent() {
        let cluster = Fake::of(fake::cluster(3, 1));
        cluster.leads(2, 7);
        cluster.uptime.store(1000, Relaxed);
        let mut leadership = cluster.leadership();
        assert_eq!(one(&*cluster, &mut leadership).await, BEAT_EACH);
        let answered = cluster.log.lock().answered.clone();
        assert_eq!(answered, [(1000, 7)]);
        cluster.down(2);
        assert_eq!(one(&*cluster, &mut leadership).await, BEAT_AGAIN);
        cluster.leads(3, 8);
        assert_eq!(one(&*cluster, &mut leadership).await, BEAT_EACH);
        assert_eq!(cluster.log.lock().beats, [2, 2, 3]);
    }

    #[tokio::test]
    async fn a_heartbeat_that_hangs_is_given_up_when_another_leads() {
        let cluster = Fake::of(fake::cluster(3, 1));
        cluster.leads(2, 7);
        cluster.log.lock().hangs.insert(2);
        let mut leadership = cluster.leadership();
        let (wait, ()) = tokio::join!(one(&*cluster, &mut leadership), async {
            while cluster.log.lock().beats.is_empty() {
                tokio::task::yield_now().await;
            }
            cluster.leads(3, 8);
        });
        assert_eq!(wait, Duration::ZERO);
        assert_eq!(one(&*cluster, &mut leadership).await, BEAT_EACH);
        assert_eq!(cluster.log.lock().answered, [(0, 8)]);
    }

    #[tokio::test]
    async fn who_is_no_controller_is_asked_again_soon() {
        let cluster = Fake::of(fake::cluster(3, 1));
        let mut leadership = cluster.leadership();
        assert_eq!(one(&*cluster, &mut leadership).await, BEAT_AGAIN);
        cluster.leads(2, 7);
        cluster.log.lock().no_controller.insert(2);
        assert_eq!(one(&*cluster, &mut leadership).await, BEAT_AGAIN);
        assert_eq!(cluster.log.lock().answered, []);
    }
}
