//! The key file: one key however it races, and nothing bad accepted.

use std::thread;

use super::*;
use crate::owner::CanonicalId;

fn context(owner: &str, generation: u32) -> EncryptionContext {
    EncryptionContext::new("test", &CanonicalId::text(owner), generation)
}

fn folder() -> PathBuf {
    let name = Nonce::make()
        .unwrap()
        .as_bytes()
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let folder = std::env::temp_dir().join(format!("ophie-crypt-local-{name}"));
    fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn any_number_of_first_uses_at_once_end_with_one_key() {
    let folder = folder();
    let path = folder.join("master.key");
    let keks: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| LocalKms::open_or_create(&path).unwrap().kek()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(keks.iter().all(|kek| *kek == keks[0]), "{keks:?}");
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        1,
        "a draft was left"
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_bad_file_is_refused_and_left_as_it_is() {
    let folder = folder();
    let path = folder.join("master.key");
    for bad in [&[][..], &[0; 32], &[7; 31], &[7; 33]] {
        fs::write(&path, bad).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let refused = LocalKms::open_or_create(&path);
        assert!(
            matches!(refused, Err(LocalKmsError::NotAKey { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), bad);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder();
    let path = folder.join("master.key");
    LocalKms::open_or_create(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for mode in [0o640, 0o604, 0o660, 0o601] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let refused = LocalKms::open(&path);
        assert!(
            matches!(refused, Err(LocalKmsError::Permissions { .. })),
            "{mode:o}: {refused:?}"
        );
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
    assert!(LocalKms::open(&path).is_ok());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_wrapped_key_opens_whole_and_in_its_context_only() {
    let kms = LocalKms::ephemeral().unwrap();
    let dek = Dek::make().unwrap();
    let wrapped = kms.wrap(&dek, &context("ada", 1)).unwrap();
    let opened = kms.unwrap(&wrapped, &context("ada", 1)).unwrap();
    assert_eq!(opened.expose_secret(), dek.expose_secret());

    // SPEC.md: a version, and the id that the master key has by its name.
    let id = kms.kek().replace("local:", "01");
    assert_eq!(to_hex(&wrapped[..HEADER_LEN]), id);

    let other_app = EncryptionContext::new("other", &CanonicalId::text("ada"), 1);
    for wrong in [context("ben", 1), context("ada", 2), other_app] {
        assert!(kms.unwrap(&wrapped, &wrong).is_none());
    }
    assert!(
        LocalKms::ephemeral()
            .unwrap()
            .unwrap(&wrapped, &context("ada", 1))
            .is_none()
    );
    for len in 0..wrapped.len() {
        assert!(
            kms.unwrap(&wrapped[..len], &context("ada", 1)).is_none(),
            "cut to {len}"
        );
    }
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            kms.unwrap(&changed, &context("ada", 1)).is_none(),
            "bit {bit}"
        );
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let folder = folder();
    let fifo = folder.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    for path in [folder.as_path(), Path::new("/dev/null"), &fifo] {
        let refused = LocalKms::open_or_create(path);
        assert!(matches!(refused, Err(LocalKmsError::NotAFile { .. })));
    }
    fs::remove_dir_all(folder).unwrap();
}

/// A process that was killed while it made the key leaves a draft: of a key that nobody uses, or a second name
/// of the key, which then survives its deletion.
#[test]
fn drafts_of_killed_processes_are_removed() {
    let folder = folder();
    let path = folder.join("master.key");
    let draft = |digit: &str| folder.join(format!("master.key.{}{DRAFT}", digit.repeat(24)));
    write_new(&draft("0"), &[7; 32]).unwrap(); // killed before it was linked
    let kek = LocalKms::open_or_create(&path).unwrap().kek();
    fs::hard_link(&path, draft("a")).unwrap(); // killed after
    let others = [
        "master.key.bak",
        "master.key.1.draft",
        "other.key",
        &format!("x{}", "0".repeat(24)),
    ];
    for name in others {
        fs::write(folder.join(name), b"the user's").unwrap();
    }

    assert_eq!(LocalKms::open_or_create(&path).unwrap().kek(), kek);
    let mut left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = [&["master.key"], &others[..]].concat();
    expected.sort_unstable();
    assert_eq!(left, expected);
    fs::remove_dir_all(folder).unwrap();
}

/// One process removes another's draft before it is linked: that one takes the key that is there.
#[test]
fn who_loses_its_draft_takes_the_key_that_is_there() {
    let folder = folder();
    let path = folder.join("master.key");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    LocalKms::open_or_create(&path).unwrap();
                    create(&path).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_of_another_user_is_refused() {
    use std::os::unix::fs::{MetadataExt, chown};

    assert!(may_keep_keys_of(1000, 1000));
    assert!(may_keep_keys_of(1000, 0));
    assert!(!may_keep_keys_of(1000, 1001));
    assert!(!may_keep_keys_of(0, 1000));

    let folder = folder();
    let path = folder.join("master.key");
    LocalKms::open_or_create(&path).unwrap();
    let mine = fs::metadata(&path).unwrap().uid();
    // Only root can give a file away; the file stays its own otherwise, and is taken.
    let theirs = if mine == 0 { 65_534 } else { mine };
    chown(&path, Some(theirs), None).unwrap();
    let opened = LocalKms::open(&path);
    match opened {
        Err(LocalKmsError::Owner { uid, .. }) => assert_eq!((mine, uid), (0, theirs)),
        opened => assert!(mine != 0 && opened.is_ok(), "{opened:?}"),
    }
    fs::remove_dir_all(folder).unwrap();
}

/// One byte at a time, and a signal between any two.
#[test]
fn a_read_that_is_interrupted_goes_on() {
    struct Slow<'a>(&'a [u8], bool, io::ErrorKind);
    impl io::Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(self.2.into());
            }
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            (buf[0], self.0) = (*first, rest);
            Ok(1)
        }
    }
    let mut buf = [0; 9];
    let slow = Slow(b"a key", false, io::ErrorKind::Interrupted);
    assert_eq!(read_up_to(slow, &mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"a key");
    let broken = Slow(b"a key", false, io::ErrorKind::UnexpectedEof);
    read_up_to(broken, &mut buf).unwrap_err();
}

/// A draft that cannot be removed may be a second name of the key.
#[test]
fn only_what_is_gone_is_removed() {
    absent(Ok(())).unwrap();
    absent(Err(NotFound.into())).unwrap();
    absent(Err(io::ErrorKind::PermissionDenied.into())).unwrap_err();
}
