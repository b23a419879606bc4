//! Draws 100,000,000 nonces as the library does, and counts those that repeat one.
//!
//! `cargo bench -p ophie-crypt --bench nonces`, with 2 GB of free memory. The nonces are read from sealed
//! values, half of which were sealed one by one and half in bulk. Random nonces of 96 bits may repeat; among
//! so many they do in one of 10^13 runs.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench: what goes wrong here is seen, and what comes out is printed"
)]

use ophie_crypt::{ColumnRef, Keyring, LocalKms, MemoryKeyStore, Purpose, Session, adapter};

const NONCES: usize = 100_000_000;
/// Values per call of `seal_many`, and per lease.
const BULK: usize = 10_000;
const COLUMN: ColumnRef = ColumnRef::new("transcripts", "text");

/// Of an envelope (SPEC.md).
const NONCE: std::ops::Range<usize> = 17..29;
type Nonce = [u8; 12];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral()?)
        .key_store(MemoryKeyStore::new())
        .build()?;
    let session = keyring.open_or_provision("owner", Purpose::new("bench"));
    let session = session.await?;

    let mut nonces: Vec<Nonce> = Vec::with_capacity(NONCES.saturating_add(1));
    let mut in_bulk = [true, false].into_iter().cycle();
    while nonces.len() < NONCES {
        session.reserve(BULK.try_into()?).await?;
        match in_bulk.next() {
            Some(true) => nonces.extend(bulk(&session)?),
            _ => one_by_one(&session, &mut nonces)?,
        }
        tokio::task::yield_now().await; // the session is renewed
    }
    nonces.sort_unstable();
    let repeats = repeats(&nonces);
    println!("{} nonces drawn, {repeats} repeats", nonces.len());

    // The count can count.
    nonces.push(nonces[0]);
    nonces.sort_unstable();
    assert_eq!(self::repeats(&nonces), repeats.saturating_add(1));
    assert_eq!(
        repeats, 0,
        "see whether the operating system's random numbers repeat"
    );
    Ok(())
}

fn bulk(session: &Session) -> Result<impl Iterator<Item = Nonce> + use<>, ophie_crypt::Error> {
    let texts = vec![String::new(); BULK];
    let sealed = adapter::seal_many(session, COLUMN, texts.iter())?;
    Ok(sealed.into_iter().map(|envelope| nonce(&envelope)))
}

fn one_by_one(session: &Session, nonces: &mut Vec<Nonce>) -> Result<(), ophie_crypt::Error> {
    session.scope_sync(|| {
        for _ in 0..BULK {
            nonces.push(nonce(&adapter::seal(COLUMN, &String::new())?));
        }
        Ok(())
    })
}

fn nonce(envelope: &[u8]) -> Nonce {
    envelope[NONCE].try_into().expect("twelve bytes")
}

/// Of sorted nonces.
fn repeats(sorted: &[Nonce]) -> usize {
    let pairs = sorted.windows(2);
    pairs.filter(|pair| pair[0] == pair[1]).count()
}
