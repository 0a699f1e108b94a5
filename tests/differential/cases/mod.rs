//! The cases: what is asked, in which versions, of what that was made before.

#![expect(clippy::too_many_lines, reason = "tables: a row for each case")]

mod groups;
mod offsets;
mod reads;
mod tools;
mod topics;
mod writes;

use std::{fmt::Debug, io::ErrorKind, net::SocketAddr};

use anyhow::{Context as _, Result};
use walrus_wire::kafka_protocol::protocol::Request;

use crate::{
    scene::{Scene, SetUp},
    shape::{Shape, shape},
};

/// Every version that both brokers serve.
pub(crate) const ALL: &[i16] = &[];

/// One thing that is asked.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The request's key.
    pub(crate) key: i16,
    /// The versions to ask in, or [`ALL`].
    pub(crate) versions: &'static [i16],
    ask: Ask,
}

/// Asks a broker in one version; the text names the case's topic and group.
type Ask = Box<dyn Fn(SocketAddr, &str, i16) -> Result<Shape> + Sync>;

impl Case {
    pub(crate) fn ask(&self, at: SocketAddr, name: &str, version: i16) -> Result<Shape> {
        (self.ask)(at, name, version)
    }
}

fn case<R>(
    name: &'static str,
    versions: &'static [i16],
    set_up: SetUp,
    request: fn(&Scene) -> R,
) -> Case
where
    R: Request + 'static,
    R::Response: Debug,
{
    let ask = move |at: SocketAddr, name: &str, version: i16| {
        let mut scene = Scene::new(at, name, version)?;
        set_up(&mut scene).context("the set-up")?;
        let request = request(&scene);
        match scene.client.ask(version, &request) {
            Ok(answer) => Ok(shape(&format!("{answer:#?}"))),
            Err(why) => ended(why),
        }
    };
    Case { name, key: R::KEY, versions, ask: Box::new(ask) }
}

/// An answer may be the end of the connection.
fn ended(why: anyhow::Error) -> Result<Shape> {
    let kind = why.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let is_end = matches!(
        kind,
        Some(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
    );
    if !is_end {
        return Err(why);
    }
    Ok(Shape::from([("connection".to_owned(), "ended".to_owned())]))
}

/// All of them, in the order in which they are asked.
pub(crate) fn all() -> Vec<Case> {
    let tables = [
        writes::cases(),
        reads::cases(),
        groups::cases(),
        offsets::cases(),
        topics::cases(),
        tools::cases(),
    ];
    tables.into_iter().flatten().collect()
}
