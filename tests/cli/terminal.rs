//! What it asks on a terminal, and what it does with the answer.
//!
//! Absent: where there is no terminal, and flags answer (`keys`, `soaking`, `shreds`).

use std::{
    fs::File,
    io::{Read, Write},
    process::Output,
};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::place::{Ended, Kind, Place, Program};

/// With this typed on a terminal, which is where it writes its errors, too.
async fn typed(place: &Place, words: &[&str], keys: &[u8]) -> Ended {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let end = || File::from(ioctl_tiocgptpeer(&terminal, flags).unwrap());
    let mut command = place.command(Program::Stock, words);
    command.stdin(end()).stderr(end());
    let child = command.spawn().unwrap();
    drop(command); // its ends of the terminal
    let mut terminal = File::from(terminal);
    terminal.write_all(keys).unwrap();
    let Output { status, stdout, .. } = child.wait_with_output().await.unwrap();
    let mut stderr = Vec::new();
    terminal.read_to_end(&mut stderr).unwrap_err(); // once nobody has the other end
    place.looked_through(&Output {
        status,
        stdout,
        stderr,
    })
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
}
