//! The peer port: nodes that talk to nodes, and nobody else.
//!
//! ```text
//!  0  u32  length of what follows          big endian, as all here
//!  4  u8   kind: 1 hello, 2 welcome, 3 request, 4 answer, 5 push
//!  5  u64  number of the request, given by who asks; the answer has the same, a push has 0
//! 13  u8   subject of a request or a push: see [`Subject`]
//! 14  …    body
//! ```
//!
//! A connection begins with a hello and its answer, so that both ends know whom they talk to: a
//! node of another cluster, or at another disk than was expected, is told so and let go. After
//! that the one that connected asks and the other answers, in any order; a node that wants to ask
//! back has a connection of its own. A push is not answered; what the other end has to say to it
//! is pushed back. Each [`Lane`] has its own connection, so that what is long never holds up what
//! is urgent.
//!
//! `link.rs` asks, `server.rs` answers, `hello.rs` says who is let in, `frame.rs` cuts the bytes,
//! `node.rs` is what this node has to say. `feed.rs` pushes what `append.rs` draws, in its order.

pub mod append;
pub mod feed;
pub mod frame;
pub mod hello;
pub mod link;
pub mod node;
pub mod server;

pub use append::{AnswerMessage, AppendAnswer, AppendMessage};
pub use feed::{Fed, FeedPeer, Feeds};
pub use frame::Subject;
pub use hello::{Hello, HelloRefusal, PeerIdentity};
pub use link::{GreetError, Links};
pub use node::{JoinError, PeerNode};
pub use server::{Back, Serve};
pub use walrus_raft::{CallError, Lane};
