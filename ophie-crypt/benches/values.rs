//! Seal, open and fingerprint beside the raw calls of `aws-lc-rs`, `aes-gcm` and `hmac`.
//!
//! `cargo bench -p ophie-crypt --bench values`, or with `--features ring` or `--features aws-lc-rs` for
//! the other back ends. Every figure is for 100 values. A ratio is that of two medians of one run and one
//! length, for instance `seal_2_bulk` to `seal_0_raw_aws_lc_rs`.
//!
//! `--bench values -- --test` under `valgrind --tool=callgrind` counts instructions, which no neighbour on
//! the machine changes; but valgrind hides SHA and VAES instructions from the program.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a bench: what goes wrong here is seen"
)]

use std::task::{Context, Waker};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, Nonce},
};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, UnboundKey};
use divan::{Bencher, black_box};
use hmac::{Hmac, Mac};
use ophie_crypt::{
    BoundColumn, ColumnRef, IndexColumn, Keyring, LocalKms, MemoryKeyStore, Normalizer, Purpose,
    Session, adapter,
};

fn main() {
    // glibc gives memory back to the system, only to fault it in again, until it has freed a block as
    // large as this: results of 64 KiB would be a bench of page faults.
    drop(black_box(vec![0_u8; 16 << 20]));
    divan::main();
}

const VALUES: usize = 100;
const LENGTHS: [usize; 4] = [16, 256, 4 << 10, 64 << 10];
const COLUMN: ColumnRef = ColumnRef::new("transcripts", "text");
const AAD: [u8; 48] = [7; 48];

fn session() -> Session {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().expect("random bytes"))
        .key_store(MemoryKeyStore::new())
        .build()
        .expect("complete");
    let owner = uuid::Uuid::new_v4();
    runtime.block_on(async {
        let session = keyring
            .open_or_provision(&owner, Purpose::new("bench"))
            .await
            .expect("a session");
        // The task that extends leases ends with the runtime.
        session.reserve(1 << 26).await.expect("budget");
        session
    })
}

/// Within one poll under the session: where the hooks of an asynchronous driver run.
fn in_poll(session: &Session, run: impl FnOnce()) {
    let scoped = std::pin::pin!(session.scope(async { run() }));
    let polled = scoped.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_ready(), "it waits for nothing");
}

fn aws_lc() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).expect("32 bytes"))
}

fn texts(len: usize) -> Vec<String> {
    vec!["x".repeat(len); VALUES]
}

/// The base of the ratios: in place, a kept key, a counter as nonce, 48 bytes of AAD.
#[divan::bench(args = LENGTHS)]
fn seal_0_raw_aws_lc_rs(bencher: Bencher<'_, '_>, len: usize) {
    let cipher = aws_lc();
    let mut buffers = vec![vec![b'x'; len]; VALUES];
    let mut counter = 0_u64;
    bencher.bench_local(|| {
        for buffer in &mut buffers {
            counter += 1;
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&counter.to_be_bytes());
            let nonce = aead::Nonce::assume_unique_for_key(nonce);
            let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(&AAD), buffer);
            black_box(tag.expect("short").as_ref());
        }
    });
}

/// The same with the default back end's cipher.
#[divan::bench(args = LENGTHS)]
fn seal_1_raw_aes_gcm(bencher: Bencher<'_, '_>, len: usize) {
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let mut buffers = vec![vec![b'x'; len]; VALUES];
    let mut counter = 0_u64;
    bencher.bench_local(|| {
        for buffer in &mut buffers {
            counter += 1;
            let mut nonce = Nonce::<Aes256Gcm>::default();
            nonce[4..].copy_from_slice(&counter.to_be_bytes());
            let tag = cipher.encrypt_inout_detached(&nonce, &AAD, buffer.as_mut_slice().into());
            black_box(tag.expect("short"));
        }
    });
}

/// `seal_many`: nonces drawn in blocks.
#[divan::bench(args = LENGTHS)]
fn seal_2_bulk(bencher: Bencher<'_, '_>, len: usize) {
    let (session, texts) = (session(), texts(len));
    bencher.bench_local(|| {
        drop(black_box(
            adapter::seal_many(&session, COLUMN, texts.iter()).expect("sealed"),
        ));
    });
}

/// What an encode hook does: the session found in the scope, one draw of a nonce each.
#[divan::bench(args = LENGTHS)]
fn seal_3_hook(bencher: Bencher<'_, '_>, len: usize) {
    let (session, texts) = (session(), texts(len));
    bencher.bench_local(|| {
        in_poll(&session, || {
            for text in &texts {
                black_box(adapter::seal(COLUMN, text).expect("sealed"));
            }
        });
    });
}

/// One draw of 12 bytes from the operating system: what `seal_3_hook` adds to `seal_2_bulk`.
#[divan::bench]
fn seal_4_nonces_alone(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        for _ in 0..VALUES {
            let mut nonce = [0; 12];
            getrandom::fill(&mut nonce).expect("random bytes");
            black_box(nonce);
        }
    });
}

/// The cipher alone, in a buffer that is copied first, as every open must.
#[divan::bench(args = LENGTHS)]
fn open_0_raw_aws_lc_rs(bencher: Bencher<'_, '_>, len: usize) {
    let cipher = aws_lc();
    let nonce = || aead::Nonce::assume_unique_for_key([0; 12]);
    let mut sealed = vec![b'x'; len];
    cipher
        .seal_in_place_append_tag(nonce(), Aad::from(&AAD), &mut sealed)
        .expect("short");
    let mut buffers = vec![sealed.clone(); VALUES];
    bencher.bench_local(|| {
        for buffer in &mut buffers {
            buffer.copy_from_slice(&sealed);
            black_box(
                cipher
                    .open_in_place(nonce(), Aad::from(&AAD), buffer)
                    .expect("authentic"),
            );
        }
    });
}

/// The same with the default back end's cipher.
#[divan::bench(args = LENGTHS)]
fn open_1_raw_aes_gcm(bencher: Bencher<'_, '_>, len: usize) {
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let nonce = Nonce::<Aes256Gcm>::default();
    let mut sealed = vec![b'x'; len];
    let tag = cipher
        .encrypt_inout_detached(&nonce, &AAD, sealed.as_mut_slice().into())
        .expect("short");
    let mut buffers = vec![sealed.clone(); VALUES];
    bencher.bench_local(|| {
        for buffer in &mut buffers {
            buffer.copy_from_slice(&sealed);
            cipher
                .decrypt_inout_detached(&nonce, &AAD, buffer.as_mut_slice().into(), &tag)
                .expect("authentic");
        }
    });
}

/// What a decode hook does: a checked `String` from stored bytes.
#[divan::bench(args = LENGTHS)]
fn open_2_hook(bencher: Bencher<'_, '_>, len: usize) {
    let (session, texts) = (session(), texts(len));
    let sealed = adapter::seal_many(&session, COLUMN, texts.iter()).expect("sealed");
    bencher.bench_local(|| {
        in_poll(&session, || {
            for bytes in &sealed {
                black_box(adapter::open::<String>(COLUMN, bytes).expect("opened"));
            }
        });
    });
}

#[divan::bench]
fn fingerprint_0_raw_aws_lc_rs(bencher: Bencher<'_, '_>) {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    bencher.bench_local(|| {
        for _ in 0..VALUES {
            black_box(aws_lc_rs::hmac::sign(&key, black_box(b"sixteen letters.")));
        }
    });
}

#[divan::bench]
fn fingerprint_1_raw_hmac(bencher: Bencher<'_, '_>) {
    let key = Hmac::<sha2::Sha256>::new_from_slice(&[7; 32]).expect("any length");
    bencher.bench_local(|| {
        for _ in 0..VALUES {
            let mut mac = key.clone();
            mac.update(black_box(b"sixteen letters."));
            black_box(mac.finalize());
        }
    });
}

#[divan::bench]
fn fingerprint_2_exact(bencher: Bencher<'_, '_>) {
    fingerprints::<Exact>(bencher);
}

#[divan::bench]
fn fingerprint_3_name(bencher: Bencher<'_, '_>) {
    fingerprints::<Name>(bencher);
}

fn fingerprints<C: IndexColumn>(bencher: Bencher<'_, '_>) {
    let session = session();
    bencher
        .with_inputs(|| vec![String::from("sixteen letters."); VALUES])
        .bench_local_values(|texts| {
            in_poll(&session, || {
                for text in texts {
                    black_box(adapter::fingerprint::<String, C>(text).expect("made"));
                }
            });
        });
}

enum Exact {}
enum Name {}

impl BoundColumn for Exact {
    const COLUMN: ColumnRef = ColumnRef::new("transcripts", "text_fp");
}

impl IndexColumn for Exact {
    const OF: ColumnRef = COLUMN;
    const NORMALIZER: Normalizer = Normalizer::Exact;
}

impl BoundColumn for Name {
    const COLUMN: ColumnRef = ColumnRef::new("transcripts", "text_name_fp");
}

impl IndexColumn for Name {
    const OF: ColumnRef = COLUMN;
    const NORMALIZER: Normalizer = Normalizer::Name;
}
