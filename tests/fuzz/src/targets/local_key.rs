//! The file of a local master key.
//!
//! Invariant: 32 bytes, not all zero, that nobody else may read, are a key, named as SPEC.md says; every other file is
//! refused. Neither is changed by being looked at, and no error shows a byte of it.

use std::{fs, os::unix::fs::PermissionsExt};

use ophie_crypt::{LocalKms, LocalKmsError};

use crate::{
    bytes::Bytes,
    forge::local_kek,
    golden::file::hex,
    targets::{folder, told},
};

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let of = |mode: u8, key: &[u8]| [&[mode], key].concat();
    vec![
        of(0o200, &[7; 32]),
        of(0o200, b"0123456789abcdef0123456789abcdef"),
        of(0o200, &[0; 32]),
        of(0, &[9; 31]),
        of(0, &[[9; 32], [9; 32]].concat()),
        of(0o240, &[7; 32]),
    ]
}

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let mode = 0o400 | u32::from(bytes.byte());
    let content = bytes.0;
    let folder = folder();
    let path = folder.path().join("master.key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();

    let is_key = content.len() == 32 && content.iter().any(|byte| *byte != 0);
    let opens: [fn(_) -> _; 2] = [LocalKms::open, LocalKms::open_or_create];
    for open in opens {
        match open(&path) {
            Ok(kms) => {
                assert!(
                    is_key && mode & 0o077 == 0,
                    "{} of mode {mode:o}",
                    hex(content)
                );
                assert_eq!(kms.kek(), local_kek(content));
            }
            Err(error) => {
                match error {
                    LocalKmsError::NotAKey { .. } => assert!(!is_key, "{}", hex(content)),
                    LocalKmsError::Permissions { .. } => assert_ne!(mode & 0o077, 0),
                    _ => panic!("{error}"),
                }
                let (told, shown) = (told(&error), format!("{content:?}"));
                assert!(
                    content.len() < 4 || !told.contains(shown.trim_matches(['[', ']'])),
                    "{told}"
                );
            }
        }
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
