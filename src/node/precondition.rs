//! The condition of a write, owned, so that the write can be repeated when the engine had no
//! room for it at first.

use emberkeep_storage::Condition;

/// What must hold for a write to happen. Decided by the engine, atomically with the write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    Always,
    /// There is no entry.
    Absent,
    /// There is an entry.
    Present,
    /// There is an entry with one of these versions.
    VersionIn(Vec<u64>),
    /// There is no entry with one of these versions.
    VersionNotIn(Vec<u64>),
}

impl Precondition {
    /// A condition that no entry meets, and no absence: no frame has number 0.
    pub fn never() -> Self {
        Precondition::VersionIn(vec![0])
    }

    /// Whether an absent key fails it.
    pub fn needs_entry(&self) -> bool {
        matches!(self, Precondition::Present | Precondition::VersionIn(_))
    }

    pub(super) fn for_engine(&self) -> Condition<'_> {
        match self {
            Precondition::Always => Condition::Always,
            Precondition::Absent => Condition::Absent,
            Precondition::Present => Condition::Present,
            Precondition::VersionIn(versions) => Condition::VersionIn(versions),
            Precondition::VersionNotIn(versions) => Condition::VersionNotIn(versions),
        }
    }
}
