//! Following something to its end: asking again and again, over nodes that come and go.

use std::time::{Duration, Instant};

use walrus_admin::client::ClientError;

use crate::failure::{Exit, Failure};

/// Between two questions.
pub const ASK_AGAIN: Duration = Duration::from_millis(200);

/// When it is given up.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    begun: Instant,
    timeout: Duration,
}

impl Until {
    /// So long from now on.
    pub fn after(timeout: Duration) -> Self {
        Self { begun: Instant::now(), timeout }
    }

    /// Whether the time is up.
    pub fn is_past(self) -> bool {
        self.begun.elapsed() >= self.timeout
    }

    /// How long it was given.
    pub const fn timeout(self) -> Duration {
        self.timeout
    }
}

/// Asks until `ends` finds the end in an answer. What will pass is waited out.
///
/// # Errors
/// What will not pass; or, when the time is up, that it goes on, with what `left` makes of the last
/// answer.
pub async fn follow<T, E, F: Future<Output = Result<T, ClientError>>>(
    until: Until,
    mut ask: impl FnMut() -> F,
    mut ends: impl FnMut(&T) -> Option<E>,
    left: impl Fn(Option<&T>) -> String,
) -> Result<E, Failure> {
    let mut last = None;
    loop {
        let trouble = match ask().await {
            Ok(answer) => {
                if let Some(end) = ends(&answer) {
                    return Ok(end);
                }
                last = Some(answer);
                None
            }
            Err(why) if why.is_passing() => Some(why),
            Err(why) => return Err(why.into()),
        };
        if until.is_past() {
            let mut what = left(last.as_ref());
            if let Some(why) = trouble {
                what += &format!(" (nobody answers now: {why})");
            }
            let after = format!("not done after {:?}", until.timeout());
            return Err(Failure::new(Exit::Running, after, what));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
