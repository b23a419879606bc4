//! A ledger in a file, one line an entry.
//!
//! Invariant: an entry that was confirmed is on the disk and stays; an unfinished line was never
//! confirmed. Absent: protection from who can write the file: keep heads elsewhere.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use async_trait::async_trait;

use super::{Ledger, LedgerEntry, LedgerError, LedgerHead, check};
use crate::hex::{from_hex, to_hex};

/// Five seconds for the lock of the file, which is held for as long as a write takes.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A [`Ledger`] in a file: `position kind payload hash`, payload and hash in hexadecimal.
///
/// Any number of processes of one machine may share it; each entry is added under a lock of the file.
/// Put it on another disk than the database, and out of the database's backup. Not on NFS, whose locks
/// and syncs say less than they seem to.
///
/// ```
/// use ophie_crypt::{FileLedger, Ledger};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-ledger-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let ledger = FileLedger::open_or_create(dir.join("ledger"))?;
/// let head = ledger.head().await?;
/// let head = ledger.append(&head, "note", b"hello").await?;
/// assert_eq!(ledger.read(0, 10).await?[0].head(), &head);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileLedger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Up to where the file was followed when something was added.
    end: Mutex<Place>,
    /// Up to where it was read last, for whoever reads on.
    read: Mutex<Place>,
}

/// Behind a whole line.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    head: LedgerHead,
}

const BEGINNING: Place = Place {
    offset: 0,
    head: LedgerHead::EMPTY,
};

impl FileLedger {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unavailable`] if it is not there: a ledger that is lost must not become an empty one.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let path = path.into();
        File::open(&path).map_err(LedgerError::unavailable)?;
        Ok(Self(Arc::new(Inner {
            path,
            end: Mutex::new(BEGINNING),
            read: Mutex::new(BEGINNING),
        })))
    }

    /// Opens the file; makes it, readable by its user only, if there is none. For the first start.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unavailable`].
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let path = path.into();
        match create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(LedgerError::unavailable(error));
            }
            _ => {}
        }
        Self::open(path)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(LedgerError::unavailable)?
    }
}

#[async_trait]
impl Ledger for FileLedger {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        self.blocking(|inner| inner.locked(|_, end| Ok(end.head)))
            .await
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        check(kind, payload)?;
        let entry = LedgerEntry::new(kind, payload, expected.next(kind, payload));
        let expected = *expected;
        self.blocking(move |inner| {
            inner.locked(|file, end| {
                if end.head != expected {
                    return Err(LedgerError::Moved { head: end.head });
                }
                let line = line(&entry);
                file.write_all(line.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(LedgerError::unavailable)?;
                *end = Place {
                    offset: end.offset.saturating_add(length(&line)),
                    head: entry.head,
                };
                Ok(end.head)
            })
        })
        .await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        self.blocking(move |inner| inner.read(after, limit)).await
    }
}

impl Inner {
    /// At the end of the file, which nobody else changes meanwhile.
    fn locked<T>(
        &self,
        work: impl FnOnce(&mut File, &mut Place) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut place = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        let mut file = options.open(&self.path).map_err(LedgerError::unavailable)?;
        lock(&file)?; // let go with the file
        let mut end = *place;
        let torn = follow(&mut file, &mut end, |_| true)?;
        if !torn.is_empty() {
            mend(&mut file, &mut end, &torn).map_err(LedgerError::unavailable)?;
        }
        *place = end;
        work(&mut file, &mut place)
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        let mut place = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::open(&self.path).map_err(LedgerError::unavailable)?;
        if place.head.position > after {
            *place = BEGINNING;
        }
        let mut entries = Vec::new();
        if limit == 0 {
            return Ok(entries);
        }
        let result = follow(&mut file, &mut place, |entry| {
            if entry.head.position > after {
                entries.push(entry);
            }
            entries.len() < limit
        });
        if result.is_err() {
            *place = BEGINNING;
        }
        // What stands before the damage is told first.
        match result {
            Err(error) if entries.is_empty() => Err(error),
            _ => Ok(entries),
        }
    }
}

/// Not for ever: whoever may read the file can hold its lock, and a process could not end then.
fn lock(file: &File) -> Result<(), LedgerError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(LedgerError::unavailable(error)),
        }
    }
    Err(LedgerError::unavailable(
        "another process holds the lock of the ledger's file",
    ))
}

/// Goes on over whole lines as long as `on` wants more, and returns what stands behind the last of them.
fn follow(
    file: &mut File,
    place: &mut Place,
    mut on: impl FnMut(LedgerEntry) -> bool,
) -> Result<Vec<u8>, LedgerError> {
    let io = LedgerError::unavailable;
    if file.metadata().map_err(io)?.len() < place.offset {
        return Err(LedgerError::Forked {
            position: place.head.position,
        });
    }
    file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
    let mut lines = BufReader::new(file);
    loop {
        let mut line = Vec::new();
        let read = (&mut lines).take(LONGEST).read_until(b'\n', &mut line);
        read.map_err(io)?;
        let damaged = LedgerError::Damaged {
            position: place.head.position.saturating_add(1),
        };
        match line.strip_suffix(b"\n") {
            None if length(&line) == LONGEST => return Err(damaged),
            None => return Ok(line),
            Some(text) => {
                let entry = parse(text).filter(|entry| entry.follows(&place.head));
                let entry = entry.ok_or(damaged)?;
                place.head = entry.head;
                place.offset = place.offset.saturating_add(length(&line));
                if !on(entry) {
                    return Ok(Vec::new());
                }
            }
        }
    }
}

/// A line without its end was being written when the machine stopped, and was never confirmed. If all of
/// it but the end is there, it is kept, else taken away.
fn mend(file: &mut File, end: &mut Place, torn: &[u8]) -> io::Result<()> {
    if let Some(entry) = parse(torn).filter(|entry| entry.follows(&end.head)) {
        file.write_all(b"\n")?;
        end.head = entry.head;
        end.offset = end.offset.saturating_add(length(torn)).saturating_add(1);
    } else {
        tracing::warn!(target: "ophie_crypt::ledger", bytes = torn.len(), "an unfinished line of the ledger was taken away");
        file.set_len(end.offset)?;
    }
    file.sync_all()
}

/// A payload of 64 KiB in hexadecimal, and the rest.
const LONGEST: u64 = 2 * 65_536 + 256;

fn line(entry: &LedgerEntry) -> String {
    let (payload, hash) = (to_hex(&entry.payload), to_hex(&entry.head.hash));
    format!("{} {} {payload} {hash}\n", entry.head.position, entry.kind)
}

fn parse(line: &[u8]) -> Option<LedgerEntry> {
    let text = core::str::from_utf8(line).ok()?;
    let mut parts = text.split(' ');
    let position = parts.next()?;
    let (kind, payload, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let head = LedgerHead {
        position: position.parse().ok()?,
        hash: from_hex(hash)?.try_into().ok()?,
    };
    let one_form = parts.next().is_none() && head.position.to_string() == position;
    let payload = from_hex(payload)?;
    one_form.then(|| LedgerEntry::new(kind, payload, head))
}

fn length(bytes: impl AsRef<[u8]>) -> u64 {
    u64::try_from(bytes.as_ref().len()).unwrap_or(u64::MAX)
}

fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.sync_all()?;
    sync_folder(path)
}

/// Or a power cut takes the whole file away.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(()) // folders cannot be opened there
}
