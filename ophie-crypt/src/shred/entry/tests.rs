//! A view that goes on reading a ledger which is cut short, forked, long, or says things twice.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;

/// Entries in memory, to be changed.
#[derive(Debug, Default)]
pub(in crate::shred) struct Entries(Mutex<Vec<LedgerEntry>>);

impl Entries {
    fn add(&self, kind: &str, payload: &[u8]) {
        let mut entries = self.0.lock().unwrap();
        let before = entries
            .last()
            .map_or(LedgerHead::EMPTY, |last| *last.head());
        let head = before.next(kind, payload);
        entries.push(LedgerEntry::new(kind, payload, head));
    }

    pub(in crate::shred) fn put(&self, entry: LedgerEntry) {
        self.0.lock().unwrap().push(entry);
    }

    pub(in crate::shred) fn add_shred(&self, installation: [u8; 16], owner: &str, id: u8) {
        let id = ShredId::from_bytes([id; 16]);
        let shred = Shred::requested(CanonicalId::text(owner), id, 5);
        self.add(SHRED, &encode_shred(&installation, &shred));
    }

    pub(in crate::shred) fn add_installation(&self, id: [u8; 16], epoch: u64) {
        let payload = [id.as_slice(), &epoch.to_be_bytes()].concat();
        self.add(INSTALLATION, &payload);
    }

    /// Gives what it takes away.
    pub(in crate::shred) fn truncate(&self, len: usize) -> Vec<LedgerEntry> {
        self.0.lock().unwrap().split_off(len)
    }
}

#[async_trait]
impl Ledger for Entries {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        let entries = self.0.lock().unwrap();
        Ok(entries
            .last()
            .map_or(LedgerHead::EMPTY, |last| *last.head()))
    }

    async fn append(
        &self,
        _: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        self.add(kind, payload);
        self.head().await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        let entries = self.0.lock().unwrap();
        let after = usize::try_from(after).unwrap();
        Ok(entries.iter().skip(after).take(limit).cloned().collect())
    }
}

const OURS: [u8; 16] = [1; 16];

#[tokio::test]
async fn a_ledger_that_was_cut_or_forked_under_a_view_is_refused() {
    let ledger = Entries::default();
    for owner in ["ada", "ben", "cy"] {
        ledger.add_shred(OURS, owner, 7);
    }
    let mut view = View::new();
    view.follow(&ledger).await.unwrap();
    view.follow(&ledger).await.unwrap();
    let is_forked = |followed| matches!(followed, Err(LedgerError::Forked { position: 3 }));
    ledger.truncate(2);
    assert!(is_forked(view.follow(&ledger).await), "it is shorter");
    ledger.add_shred(OURS, "dan", 7);
    assert!(
        is_forked(view.follow(&ledger).await),
        "as long, and another"
    );
    ledger.add_shred(OURS, "eve", 7);
    let followed = view.follow(&ledger).await;
    let damaged = matches!(followed, Err(LedgerError::Damaged { position: 4 }));
    assert!(damaged, "longer, and another: {followed:?}");
    assert!(view.shred(&CanonicalId::text("cy")).is_some());
    assert!(view.shred(&CanonicalId::text("dan")).is_none());
}

/// More than is read at a time, by more than one.
#[tokio::test]
async fn a_long_ledger_is_read_to_its_end() {
    let ledger = Entries::default();
    for n in 0..2 * PAGE + 1 {
        ledger.add_shred(OURS, &format!("owner {n}"), 7);
    }
    let mut view = View::new();
    view.follow(&ledger).await.unwrap();
    assert_eq!(view.head, ledger.head().await.unwrap());
    let last = CanonicalId::text(&format!("owner {}", 2 * PAGE));
    assert_eq!(view.shred(&last).unwrap().entry, Some(1_001));
    assert_eq!(view.count(), 1_001);
    let behind: Vec<_> = view.shreds_behind(1_000).collect();
    assert_eq!(behind, [view.shred(&last).unwrap()]);
}

#[tokio::test]
async fn of_several_entries_the_first_counts() {
    let ledger = Entries::default();
    ledger.add_shred(OURS, "ada", 7);
    ledger.add_shred(OURS, "ada", 8);
    ledger.add_shred([2; 16], "ben", 9);
    ledger.add_installation(OURS, 3);
    ledger.add_installation(OURS, 2);
    ledger.add_installation([2; 16], 9);
    let mut view = View::new();
    view.follow(&ledger).await.unwrap();
    let ada = view.shred(&CanonicalId::text("ada")).unwrap();
    assert_eq!((ada.id, ada.entry), (ShredId::from_bytes([7; 16]), Some(1)));
    assert_eq!(view.count(), 1);
    let ben = view.shred(&CanonicalId::text("ben"));
    assert_eq!(ben, None, "another's owner of the same name lives on");
    assert_eq!(view.installation, Some((OURS, 3)), "it never goes back");
    assert!(view.is_of(&OURS) && !view.is_of(&[2; 16]));
}

#[tokio::test]
async fn a_head_is_one_of_the_ledgers_or_not() {
    let ledger = Entries::default();
    for owner in ["ada", "ben", "cy"] {
        ledger.add_shred(OURS, owner, 7);
    }
    let heads: Vec<_> = {
        let entries = ledger.0.lock().unwrap();
        entries.iter().map(|entry| *entry.head()).collect()
    };
    let mut view = View::new();
    view.follow(&ledger).await.unwrap();
    for head in heads.iter().chain([&LedgerHead::EMPTY]) {
        assert!(view.leads_through(&ledger, head).await.unwrap(), "{head}");
    }
    for position in 1..=4 {
        let other = LedgerHead::new(position, [9; 32]);
        assert!(!view.leads_through(&ledger, &other).await.unwrap());
    }
}
