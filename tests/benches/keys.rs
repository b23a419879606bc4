//! What a key costs: opened warm, made and used for the first time, kept in memory.
//!
//! `cargo bench -p ophie-crypt-tests --bench keys`. Times are medians. An owner's bytes are those that the allocator gave
//! and did not get back, with as many owners open as `OPHIE_CRYPT_BENCH_OWNERS` says, 100,000 by default: without what the
//! key store keeps, which in a service is a database.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench: what goes wrong here is seen"
)]

use std::hint::black_box;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, Nonce},
};
use allocation_counter::measure;
use hkdf::Hkdf;
use ophie_crypt::{ColumnRef, Keyring, LocalKms, MemoryKeyStore, Purpose, adapter};
use sha2::Sha256;
use tokio::time::Instant;

const COLUMN: ColumnRef = ColumnRef::new("transcripts", "text");
const PURPOSE: Purpose = Purpose::new("bench");
const ROUNDS: usize = 2_000;
const TEXT: &str = "sixteen bytes...";

fn main() {
    let owners: i64 =
        std::env::var("OPHIE_CRYPT_BENCH_OWNERS").map_or(100_000, |owners| owners.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .max_owners(usize::try_from(owners).unwrap() * 2)
        .build()
        .unwrap();
    runtime.block_on(opened_warm(&keyring));
    runtime.block_on(used_first(&keyring));
    runtime.block_on(async {
        for owner in 1..=owners {
            keyring.provision(&owner).await.unwrap();
        }
    });
    let mut open = Vec::with_capacity(usize::try_from(owners).unwrap());
    let kept = measure(|| {
        runtime.block_on(async {
            for owner in 1..=owners {
                let session = keyring.open(&owner, PURPOSE).await.unwrap();
                black_box(adapter::seal_many(&session, COLUMN, [TEXT.to_owned()].iter()).unwrap());
                open.push(session);
            }
        });
    });
    println!(
        "an open owner, of {owners}: {} bytes",
        kept.bytes_current / owners
    );
}

async fn opened_warm(keyring: &Keyring) {
    let _kept = keyring.open_or_provision(&0_i64, PURPOSE).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        black_box(keyring.open(&0_i64, PURPOSE).await.unwrap());
        times.push(began.elapsed().as_nanos());
    }
    println!("open, with the keys in memory: {} ns", median(times));
}

async fn used_first(keyring: &Keyring) {
    let (mut parts, mut first) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let owner = -i64::try_from(round).unwrap();
        let began = Instant::now();
        black_box(by_hand());
        let between = Instant::now();
        let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
        let sealed = session.scope_sync(|| adapter::seal(COLUMN, &TEXT.to_owned()).unwrap());
        black_box(sealed);
        parts.push((between - began).as_nanos());
        first.push(between.elapsed().as_nanos());
    }
    println!(
        "first value of a new owner: {} ns; its parts by hand: {} ns",
        median(first),
        median(parts)
    );
}

/// Two random keys, wrapped; a key for values derived, and one value sealed under it.
fn by_hand() -> (Vec<u8>, Vec<u8>, [u8; 32], Vec<u8>) {
    let kek = Aes256Gcm::new(&[7; 32].into());
    let [dek, index] = [random(), random()];
    let wrapped = [dek, index].map(|key: [u8; 32]| sealed(&kek, &key));
    let [dek_wrapped, index_wrapped] = wrapped;
    let derived = |info: &[u8]| {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &dek)
            .expand(info, &mut key)
            .unwrap();
        key
    };
    let value = sealed(&Aes256Gcm::new(&derived(b"values").into()), TEXT.as_bytes());
    (dek_wrapped, index_wrapped, derived(b"commitment"), value)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn sealed(cipher: &Aes256Gcm, bytes: &[u8]) -> Vec<u8> {
    let nonce: Nonce<Aes256Gcm> = random::<12>().into();
    let mut buffer = bytes.to_vec();
    let tag = cipher.encrypt_inout_detached(&nonce, &[7; 48], buffer.as_mut_slice().into());
    buffer.extend_from_slice(&tag.unwrap());
    buffer
}

fn median(mut times: Vec<u128>) -> u128 {
    times.sort_unstable();
    times[times.len() / 2]
}
