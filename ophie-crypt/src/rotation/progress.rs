//! What a rotation did in one call, and what it waits for.

/// How far an owner's rotation came in one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Values that were sealed anew, over all columns.
    pub resealed: u64,
    /// Rows that were given a new fingerprint, over all indexes.
    pub reindexed: u64,
    /// Envelopes that are bound to their rows, which the application must seal anew; or whose fingerprint it must.
    pub row_bound: u64,
    /// Envelopes that do not open: changed, or another owner's or column's. They stay as they are, and so does the
    /// fingerprint beside them.
    pub failed: u64,
    /// Rows whose new fingerprint a unique index refused, as another row has it: two rows with one value. They stay as
    /// they are.
    pub duplicates: u64,
    /// Rows whose new envelope or fingerprint the database refused for another reason, by a CHECK, a trigger or a foreign
    /// key, which a warning names. They stay as they are.
    pub refused: u64,
    /// Values and fingerprints under old generations when they were counted last, over all columns, and sidecars.
    pub left: u64,
    /// Generations, of DEK and index key, whose keys were destroyed.
    pub destroyed: u64,
    /// What the rest waits for; `None` when all is done.
    pub waits_for: Option<WaitsFor>,
}

/// What a rotation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitsFor {
    /// That every process has loaded the new generation: two minutes; of an index key, ten and a half.
    Announcement,
    /// That the old generation has been retired for long enough.
    Horizon,
    /// That the last lease under the old generation expires: up to the time to live of keys.
    Leases,
    /// That the application seals anew the sidecars that are left, by `Sidecar::reseal`. Their key is not destroyed while
    /// they are.
    Sidecars,
    /// That a transaction ends which was open when that lease expired.
    Transactions,
    /// Values or fingerprints that are left: written meanwhile, bound to their rows, not to be opened, or refused by the
    /// database. Their key is not retired while they are.
    Values,
    /// That every session which may write under the old index key has reached its time to live: ten and a half minutes.
    Writers,
}

impl Progress {
    /// The first reason stays.
    pub(super) fn wait_for(&mut self, reason: WaitsFor) {
        self.waits_for.get_or_insert(reason);
    }
}
