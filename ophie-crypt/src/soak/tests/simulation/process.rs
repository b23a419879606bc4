//! A process of the application: what it binds, and what it reads.
//!
//! Absent: its statements' turns (`writers`).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use super::{
    super::{
        super::{SoakMarker, SoakState, SoakWatch, hooks},
        guard::Row,
    },
    keys::Keys,
    model::{HighName, LowestName, NAME, NameFp, Release},
    store::{Handle, Wire},
    world::World,
};
use crate::{adapter, error::Error, session::Session};

pub(super) struct Process {
    pub(super) release: Release,
    pub(super) watch: SoakWatch,
    pub(super) wire: Arc<Mutex<Wire>>,
    sessions: BTreeMap<i64, Session>,
    pub(super) is_suspended: AtomicBool,
    /// Whether it has been in a state that its release accepts.
    pub(super) was_up: AtomicBool,
    /// What it has read, by the last commit and its state of then.
    pub(super) read: Mutex<(u64, Option<SoakState>)>,
}

/// The values of a statement.
pub(super) struct Bound {
    /// `None` where the release does not name the column.
    pub(super) plain: Option<Option<Vec<u8>>>,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) fingerprint: Option<Vec<u8>>,
    /// By which state; `None` of a NULL, which asks for none.
    pub(super) by: Option<SoakState>,
}

impl Process {
    pub(super) fn new(world: &Arc<World>, keys: &Keys, release: Release) -> Arc<Self> {
        let wire = Arc::new(Mutex::new(Wire::Up));
        let handle = Handle::of_process(world, release.models(), &wire);
        let watch = SoakWatch::new(handle).unwrap();
        let alive = keys
            .sessions()
            .filter(|(_, session)| session.ended().is_none());
        let sessions = alive.map(|(owner, session)| (owner, session.beside(watch.clone())));
        Arc::new(Self {
            release,
            sessions: sessions.collect(),
            watch,
            wire,
            is_suspended: AtomicBool::default(),
            was_up: AtomicBool::default(),
            read: Mutex::default(),
        })
    }

    /// By which state it reads and writes.
    pub(super) fn state(&self) -> Option<SoakState> {
        self.watch.state(&NAME)
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.is_suspended.load(SeqCst)
    }

    pub(super) fn cut(&self, wire: Wire) {
        *self.wire.lock().unwrap() = wire;
    }

    /// `None` of an owner whose keys it has not.
    fn session(&self, owner: i64) -> Option<&Session> {
        let session = self.sessions.get(&owner);
        session.filter(|session| session.ended().is_none())
    }

    pub(super) fn bind(&self, owner: i64, text: Option<&str>) -> Option<Result<Bound, Error>> {
        let session = self.session(owner)?;
        let text = text.map(str::to_owned);
        Some(session.scope_sync(|| match self.release {
            Release::Lowest => bound::<LowestName>(text),
            Release::High => bound::<HighName>(text),
            Release::Twinless => {
                let by = text.as_ref().and(self.state());
                let sealed = text.as_ref().map(|text| adapter::seal(NAME, text));
                Ok(Bound {
                    plain: None,
                    sealed: sealed.transpose()?,
                    fingerprint: fingerprint(text)?,
                    by,
                })
            }
        }))
    }

    pub(super) fn reads(&self, row: &Row) -> Option<Result<Option<String>, Error>> {
        let session = self.session(row.owner)?;
        Some(session.scope_sync(|| match self.release {
            Release::Lowest => joined::<LowestName>(row),
            Release::High => joined::<HighName>(row),
            Release::Twinless => {
                let opened = row
                    .sealed
                    .as_deref()
                    .map(|sealed| adapter::open(NAME, sealed));
                opened.transpose()
            }
        }))
    }
}

/// As `Soak::twin`, `Soak::sealed` and a `BlindIndex` are bound.
fn bound<C: SoakMarker>(text: Option<String>) -> Result<Bound, Error> {
    let (mut by, mut plain, mut sealed) = (None, None, None);
    if let Some(text) = &text {
        let state = hooks::state::<C>()?;
        plain = state.writes_twin().then(|| text.as_bytes().to_vec());
        sealed = hooks::seal::<String, C>(text)?;
        by = Some(state);
    }
    Ok(Bound {
        plain: Some(plain),
        sealed,
        fingerprint: fingerprint(text)?,
        by,
    })
}

fn fingerprint(text: Option<String>) -> Result<Option<Vec<u8>>, Error> {
    let made = text.map(adapter::fingerprint::<String, NameFp>);
    Ok(made.transpose()?.map(|made| made.as_bytes().to_vec()))
}

fn joined<C: SoakMarker>(row: &Row) -> Result<Option<String>, Error> {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    let (plain, sealed) = (row.plain.as_ref().map(text), row.sealed.clone());
    hooks::joined::<String, C, String>(plain, sealed, |value| value, |value| value)
}
