//! A ledger in a file: conditions, torn lines, damage, several processes.

use std::{fs, path::PathBuf};

use super::*;
use crate::hex::to_hex;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let mut id = [0; 16];
        crate::hazmat::fill_random(&mut id).unwrap();
        let path = std::env::temp_dir().join(format!("ophie-crypt-{}", to_hex(&id)));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("ledger")
    }

    fn ledger(&self) -> FileLedger {
        FileLedger::open_or_create(self.path()).unwrap()
    }

    /// With three entries, and their heads.
    async fn filled(&self) -> Vec<LedgerHead> {
        let (ledger, mut heads) = (self.ledger(), vec![LedgerHead::EMPTY]);
        for payload in [&b"one"[..], b"", b"three"] {
            let head = ledger.append(heads.last().unwrap(), "note", payload).await;
            heads.push(head.unwrap());
        }
        heads
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn what_is_added_is_read_by_another_process() {
    let folder = Folder::new();
    let heads = folder.filled().await;
    let other = folder.ledger();
    assert_eq!(other.head().await.unwrap(), heads[3]);
    let entries = other.read(0, 10).await.unwrap();
    assert_eq!(entries.len(), 3);
    for (entry, pair) in entries.iter().zip(heads.windows(2)) {
        assert!(entry.follows(&pair[0]) && *entry.head() == pair[1]);
    }
    assert_eq!(entries[2].payload(), b"three");
    // Page by page, on and back.
    for (after, limit, positions) in [
        (0, 2, vec![1, 2]),
        (2, 2, vec![3]),
        (3, 2, vec![]),
        (1, 1, vec![2]),
        (9, 1, vec![]),
    ] {
        let page = other.read(after, limit).await.unwrap();
        let found: Vec<_> = page.iter().map(|entry| entry.head().position()).collect();
        assert_eq!(found, positions);
    }
}

#[tokio::test]
async fn only_behind_the_head_that_is_known() {
    let folder = Folder::new();
    let heads = folder.filled().await;
    let moved = folder.ledger().append(&heads[2], "note", b"late").await;
    assert!(
        matches!(moved, Err(LedgerError::Moved { head }) if head == heads[3]),
        "{moved:?}"
    );
}

#[tokio::test]
async fn kinds_and_payloads_are_limited() {
    let folder = Folder::new();
    let ledger = folder.ledger();
    let long = "k".repeat(33);
    for kind in ["", "two words", "Upper", "line\n", &long] {
        let added = ledger.append(&LedgerHead::EMPTY, kind, b"").await;
        assert!(matches!(added, Err(LedgerError::Invalid)), "{kind}");
        assert!(LedgerEntry::check(kind, b"").is_err(), "{kind}");
    }
    let most = vec![7; 65_536];
    let head = ledger.append(&LedgerHead::EMPTY, "k", &most).await.unwrap();
    assert_eq!(ledger.read(0, 1).await.unwrap()[0].payload(), most);
    let more = vec![7; 65_537];
    let added = ledger.append(&head, "k", &more).await;
    assert!(matches!(added, Err(LedgerError::Invalid)));
}

/// Cut off anywhere, an unfinished last line harms nothing that was confirmed.
#[tokio::test]
async fn a_torn_last_line() {
    let folder = Folder::new();
    let heads = folder.filled().await;
    let whole = fs::read(folder.path()).unwrap();
    let mut lines = whole.split_inclusive(|byte| *byte == b'\n');
    let last = lines.next_back().unwrap().len();
    for cut in 1..=last {
        fs::write(folder.path(), &whole[..whole.len() - cut]).unwrap();
        let ledger = folder.ledger();
        assert_eq!(
            ledger.read(0, 10).await.unwrap().len(),
            2,
            "read changes nothing"
        );
        // Without its end only, the line is whole.
        let head = if cut == 1 { heads[3] } else { heads[2] };
        assert_eq!(
            ledger.head().await.unwrap(),
            head,
            "{cut} bytes are missing"
        );
        ledger.append(&head, "note", b"on").await.unwrap();
        let expected = if cut == 1 { 4 } else { 3 };
        assert_eq!(ledger.read(0, 10).await.unwrap().len(), expected);
    }
    // What a file system may leave behind instead.
    let mut zeros = whole.clone();
    zeros.extend([0; 100]);
    fs::write(folder.path(), zeros).unwrap();
    assert_eq!(folder.ledger().head().await.unwrap(), heads[3]);
    assert_eq!(fs::read(folder.path()).unwrap(), whole);
}

#[tokio::test]
async fn every_changed_byte_is_found() {
    let folder = Folder::new();
    folder.filled().await;
    let whole = fs::read(folder.path()).unwrap();
    let end = whole.len() - 1; // without the last line's end, the line is unfinished
    for at in 0..end {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(folder.path(), &changed).unwrap();
        let ledger = folder.ledger();
        let head = ledger.head().await;
        assert!(
            matches!(head, Err(LedgerError::Damaged { .. })),
            "byte {at}: {head:?}"
        );
        let added = ledger.append(&LedgerHead::EMPTY, "note", b"").await;
        assert!(matches!(added, Err(LedgerError::Damaged { .. })));
        assert_eq!(fs::read(folder.path()).unwrap(), changed, "it was touched");
    }
    assert!(end > 200);
}

/// And what stands before is read until then.
#[tokio::test]
async fn an_entry_has_one_form() {
    let folder = Folder::new();
    folder.filled().await;
    let whole = fs::read_to_string(folder.path()).unwrap();
    for (one, other) in [
        ("\n3 ", "\n03 "),
        ("\n3 ", "\n+3 "),
        ("\n3 note ", "\n3 note  "),
    ] {
        fs::write(folder.path(), whole.replace(one, other)).unwrap();
        let ledger = folder.ledger();
        assert_eq!(ledger.read(0, 10).await.unwrap().len(), 2);
        let third = ledger.read(2, 10).await;
        assert!(
            matches!(third, Err(LedgerError::Damaged { position: 3 })),
            "{third:?}"
        );
    }
    let longer = whole.trim_end().to_owned() + " more\n";
    fs::write(folder.path(), longer).unwrap();
    let head = folder.ledger().head().await;
    assert!(
        matches!(head, Err(LedgerError::Damaged { position: 3 })),
        "{head:?}"
    );
}

#[tokio::test]
async fn a_line_that_never_ends() {
    let folder = Folder::new();
    fs::write(folder.path(), vec![b'1'; 1 << 20]).unwrap();
    let head = folder.ledger().head().await;
    assert!(
        matches!(head, Err(LedgerError::Damaged { position: 1 })),
        "{head:?}"
    );
}

#[tokio::test]
async fn a_ledger_that_got_shorter() {
    let folder = Folder::new();
    let heads = folder.filled().await;
    let ledger = folder.ledger();
    assert_eq!(ledger.head().await.unwrap(), heads[3]);
    fs::write(folder.path(), "").unwrap();
    let head = ledger.head().await;
    assert!(
        matches!(head, Err(LedgerError::Forked { position: 3 })),
        "{head:?}"
    );
    fs::remove_file(folder.path()).unwrap();
    let head = ledger.head().await;
    assert!(
        matches!(head, Err(LedgerError::Unavailable { .. })),
        "{head:?}"
    );
    assert!(!folder.path().exists(), "it was made anew");
    let opened = FileLedger::open(folder.path());
    assert!(matches!(opened, Err(LedgerError::Unavailable { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn its_user_alone_reads_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    folder.filled().await;
    let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Each has an instance of its own, as processes have; the lock is of the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_add_at_once() {
    let folder = Folder::new();
    let tasks: Vec<_> = (0..8_u8)
        .map(|writer| {
            let ledger = folder.ledger();
            tokio::spawn(async move {
                let mut head = LedgerHead::EMPTY;
                for number in 0..20 {
                    loop {
                        match ledger.append(&head, "note", &[writer, number]).await {
                            Ok(now) => break head = now,
                            Err(LedgerError::Moved { head: now }) => head = now,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entries = folder.ledger().read(0, 1000).await.unwrap();
    let mut payloads: Vec<_> = entries
        .iter()
        .map(|entry| entry.payload().to_vec())
        .collect();
    payloads.sort();
    payloads.dedup();
    assert_eq!((entries.len(), payloads.len()), (160, 160));
}

/// Whoever may read the file can lock it. A process that waited for that would never end.
#[tokio::test]
async fn a_lock_that_is_never_let_go_is_an_error() {
    let folder = Folder::new();
    let ledger = folder.ledger();
    let reader = fs::File::open(folder.path()).unwrap();
    reader.lock_shared().unwrap();
    let added = ledger.append(&LedgerHead::EMPTY, "note", b"one").await;
    assert!(
        matches!(added, Err(LedgerError::Unavailable { .. })),
        "{added:?}"
    );
    reader.unlock().unwrap();
    ledger
        .append(&LedgerHead::EMPTY, "note", b"one")
        .await
        .unwrap();
}
