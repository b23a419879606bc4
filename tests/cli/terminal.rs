//! What it asks on a terminal and what it does with the answer, and how far it says that it is.
//!
//! Absent: where there is no terminal, and flags answer (`keys`, `soaking`, `shreds`).

use std::{
    fs::File,
    io::{Read, Write},
    process::Output,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use tokio::{process::Child, time::timeout};

use crate::{
    place::{Ended, Kind, Place, Program},
    soaking::{people, stopped::interrupt},
};

/// A call whose errors go to a terminal, where its input comes from, too.
struct OnTerminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl OnTerminal {
    fn begin(place: &Place, program: Program, words: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let terminal = openpt(flags).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let end = || File::from(ioctl_tiocgptpeer(&terminal, flags).unwrap());
        let mut command = place.command(program, words);
        command.env("TERM", "xterm").stdin(end()).stderr(end());
        let child = command.spawn().unwrap();
        drop(command); // its ends of the terminal
        let keys = File::from(terminal);
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let (mut screen, seen) = (keys.try_clone().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut some = [0; 4096];
            // Fails once nobody has the other end.
            while let Ok(count @ 1..) = screen.read(&mut some) {
                seen.lock().unwrap().extend_from_slice(&some[..count]);
            }
        });
        Self {
            child,
            keys,
            shown,
            reader,
        }
    }

    /// Until this is on the terminal.
    async fn shows(&self, text: &str) {
        let shown = async {
            while memchr::memmem::find(&self.shown.lock().unwrap(), text.as_bytes()).is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), shown).await.unwrap();
    }

    async fn ended(self, place: &Place) -> Ended {
        let Output { status, stdout, .. } = self.child.wait_with_output().await.unwrap();
        self.reader.join().unwrap();
        let stderr = std::mem::take(&mut *self.shown.lock().unwrap());
        place.looked_through(&Output {
            status,
            stdout,
            stderr,
        })
    }
}

/// With this typed.
async fn typed(place: &Place, words: &[&str], keys: &[u8]) -> Ended {
    let mut call = OnTerminal::begin(place, Program::Stock, words);
    call.keys.write_all(keys).unwrap();
    call.ended(place).await
}

#[tokio::test]
async fn what_is_destroyed_is_typed() {
    let place = Place::new(Kind::Sqlite).await;
    place.fill(7, 3).await;
    let shred = ["keys", "shred", "--owner", "int:7"];
    for keys in [&b"y\n"[..], b"int:8\n", b"\n", b"\x04"] {
        typed(&place, &shred, keys)
            .await
            .ends(4)
            .says("keys.db, to destroy all keys of int:7")
            .says("Type int:7 to go on:");
        assert_eq!(place.readable(7).await, 3);
    }
    typed(&place, &shred, b"int:7\n")
        .await
        .ends(0)
        .says("Type int:7 to go on:")
        .says("the keys of int:7 are destroyed");
    // A program that reads what it prints is asked nothing.
    let json = [&shred[..], &["--json"]].concat();
    let ended = typed(&place, &json, b"int:7\n").await.ends(4);
    assert!(!ended.err.contains("Type"), "{ended:?}");
    // Ctrl-C answers the question, too.
    let asked = OnTerminal::begin(&place, Program::Stock, &shred);
    asked.shows("Type int:7 to go on:").await;
    interrupt(&asked.child);
    asked.ended(&place).await.ends(130).says("stopped");
}

/// A bar with rate and remaining time, and without a terminal nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_it_is_shows_on_a_terminal_only() {
    const SLOWLY: [&str; 8] = [
        "soak",
        "backfill",
        "people.name",
        "--reason",
        "x",
        "--batch",
        "1",
        "--pause-ms",
    ];
    let program = Program::Release("soaking");
    let place = Place::new(Kind::Sqlite).await;
    place.fill(7, 1).await;
    people(&place).await;
    for state in ["expand", "dual-write"] {
        let words = ["soak", state, "people.name"];
        place
            .ended(&mut place.command(program, &words))
            .await
            .ends(0);
    }
    let slowly = [&SLOWLY[..], &["50"]].concat();
    let seen = OnTerminal::begin(&place, program, &slowly);
    seen.ended(&place)
        .await
        .ends(0)
        .says("sealing")
        .says("/40, ")
        .says("/s, ")
        .says(" left");
    place.execute("UPDATE people SET name_ct = NULL").await;
    let quiet = place
        .ended(&mut place.command(program, &slowly))
        .await
        .ends(0);
    assert!(
        quiet.out.contains("40 rows sealed") && quiet.err.is_empty(),
        "{quiet:?}"
    );
    let json = [&slowly[..], &["--json"]].concat();
    let quiet = OnTerminal::begin(&place, program, &json)
        .ended(&place)
        .await
        .ends(0);
    assert!(quiet.err.is_empty(), "{quiet:?}");
    // What counts something else than rows, and knows how much there is of it.
    let plan = ["index", "plan", "notes", "plain", "--owner-column", "owner"];
    let shred = ["keys", "shred", "--owner", "int:7", "--yes-shred", "int:7"];
    let calls: [(&[&str], &str); 4] = [
        (&plan, "counting"),
        (&["audit", "verify"], "verifying"),
        (&shred, ""),
        (&["sweep"], "shreds"),
    ];
    for (words, what) in calls {
        let ended = OnTerminal::begin(&place, Program::Application, words)
            .ended(&place)
            .await
            .ends(0);
        assert!(
            what.is_empty() || (ended.err.contains(what) && ended.err.contains(" left")),
            "{ended:?}"
        );
    }
}
