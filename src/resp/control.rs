//! What commands on the connection and the server see.

use super::{session::Session, shared::Shared};
use crate::node::rests::Rests;

/// The client that sent a command, and what all share.
#[derive(Debug)]
pub(super) struct Control<'a> {
    pub(super) shared: &'a Shared,
    pub(super) session: &'a mut Session,
    /// What the replies rest on.
    pub(super) rests: &'a mut Rests,
}
