//! A master key in a file: for development and embedded use.
//!
//! Invariant: the file holds 32 bytes that nobody but its owner can read, or it is refused; a missing
//! or bad file never leads to another key. Absent: everything that a real KMS adds (audit, policy, HSM).

#[cfg(test)]
mod tests;

use core::fmt;
use std::{
    fs,
    io::{
        self,
        ErrorKind::{AlreadyExists, NotFound},
    },
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{EncryptionContext, GeneratedDek, Kms, KmsCall, KmsError, WrappedDek};
use crate::{
    binding::{Pae, pae},
    hazmat::{
        KEY_STACK,
        aead::{AeadKey, NONCE_LEN, Nonce, TAG_LEN},
        data_key::{Dek, KeyId},
        prf::{derive, label},
        with_stack_wiped,
    },
    hex::to_hex,
};

/// A master key on this machine instead of a KMS.
///
/// The file holds 32 random bytes, mode 0600. Losing it loses every value; whoever reads it and the
/// key store reads every value. Back it up apart from the database.
///
/// ```
/// use ophie_crypt::LocalKms;
///
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let path = dir.join("master.key");
/// # let _ = std::fs::remove_file(&path);
/// assert!(LocalKms::open(&path).is_err()); // there is none yet
/// let made = LocalKms::open_or_create(&path)?;
/// let read = LocalKms::open(&path)?;
/// assert_eq!(made.kek(), read.kek());
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LocalKms {
    id: KeyId,
    wrap: AeadKey,
}

/// A local master key could not be had.
///
/// ```
/// let error = ophie_crypt::LocalKms::open("/nowhere/master.key").unwrap_err();
/// assert!(error.to_string().contains("/nowhere/master.key"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalKmsError {
    /// The file cannot be read or made.
    #[error(
        "the master key file {path} cannot be read or made; check the path, who may use its folder, and the space on its disk"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error(
        "the master key file {path} has mode {mode:04o}; others may have read it: replace the key, or at least run `chmod 600`"
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is another user's, who may have read it.
    #[cfg(unix)]
    #[error(
        "the master key file {path} belongs to another user ({uid}), who may have read it; replace the key, or at least run `chown`"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a master key; try again")]
    Randomness,
    /// A folder, a FIFO, a device.
    #[error("the master key file {path} is no regular file; name a file, or a link to one")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Not 32 bytes, or all zero.
    #[error(
        "the master key file {path} holds no key (32 bytes, not all zero); restore it from its backup"
    )]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

impl LocalKms {
    /// Reads the master key file; makes it, mode 0600, if there is none.
    ///
    /// Any number of processes may do this at once: they end with one key. It blocks; call it at start.
    ///
    /// # Errors
    ///
    /// [`LocalKmsError`]; a file that is there but bad is never replaced.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self, LocalKmsError> {
        let path = path.as_ref();
        let opened = match Self::open(path) {
            Err(LocalKmsError::Io { source, .. }) if source.kind() == NotFound => {
                create(path)?;
                Self::open(path)?
            }
            opened => opened?,
        };
        remove_drafts(path)?;
        Ok(opened)
    }

    /// Reads the master key file.
    ///
    /// # Errors
    ///
    /// [`LocalKmsError`] if it is missing, no regular file, unreadable, not 32 bytes, all zero, or (on Unix) readable by
    /// others than its owner, or of another user than this process's or root.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LocalKmsError> {
        let path = path.as_ref();
        let fail = |source| LocalKmsError::Io {
            path: path.into(),
            source,
        };
        // Before it is opened: that waits, on a FIFO, for somebody to write.
        if !fs::metadata(path).map_err(fail)?.is_file() {
            return Err(LocalKmsError::NotAFile { path: path.into() });
        }
        let file = fs::File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        check_access(path, &metadata)?;
        let not_a_key = || LocalKmsError::NotAKey { path: path.into() };
        let mut bytes = Box::new(Zeroizing::new([0; 33])); // one more than a key, to see a longer file
        let len = read_up_to(file, bytes.as_mut_slice()).map_err(fail)?;
        let key = bytes.get(..len).ok_or_else(not_a_key)?;
        Dek::from_slice(key)
            .map(|key| Self::from_key(&key))
            .map_err(|_| not_a_key())
    }

    /// A random master key that is gone with this value: everything wrapped under it is lost then.
    /// For tests.
    ///
    /// # Errors
    ///
    /// [`LocalKmsError::Randomness`].
    pub fn ephemeral() -> Result<Self, LocalKmsError> {
        let key = Dek::make().map_err(|_| LocalKmsError::Randomness)?;
        Ok(Self::from_key(&key))
    }

    fn from_key(key: &Dek) -> Self {
        let key = key.expose_secret();
        with_stack_wiped::<KEY_STACK, _>(|| Self {
            id: KeyId::from_bytes(**derive(key, label::LOCAL_KMS_KEY_ID)),
            wrap: AeadKey::new(&derive(key, label::LOCAL_KMS_WRAP)),
        })
    }

    /// The name of the master key: `local:` and 16 bytes of commitment in hex.
    #[must_use]
    pub fn kek(&self) -> String {
        format!("local:{}", self.id)
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [VERSION; HEADER_LEN];
        let (_, id) = header.split_at_mut(1);
        id.copy_from_slice(self.id.as_bytes());
        header
    }

    fn wrap(&self, dek: &Dek, context: &EncryptionContext) -> Result<Vec<u8>, KmsError> {
        let nonce = Nonce::make().map_err(KmsError::unavailable)?;
        let header = self.header();
        let mut key = Box::new(Zeroizing::new([0; 32]));
        key.copy_from_slice(dek.expose_secret()); // in the box, not over the stack
        let mut wrapped = [&header[..], nonce.as_bytes()].concat();
        let tag = self
            .wrap
            .seal(nonce, &aad(&header, context), key.as_mut_slice())
            .map_err(|_| KmsError::refused("the key cannot be wrapped"))?;
        wrapped.extend_from_slice(key.as_slice());
        wrapped.extend_from_slice(&tag);
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Option<Dek> {
        let (header, rest) = wrapped.split_first_chunk::<HEADER_LEN>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (key, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        if *header != self.header() {
            return None;
        }
        let key = self
            .wrap
            .open(nonce, &aad(header, context), key, tag)
            .ok()?;
        Dek::from_slice(&key).ok()
    }
}

#[async_trait]
impl Kms for LocalKms {
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        let dek = Dek::make().map_err(KmsError::unavailable)?;
        let wrapped = WrappedDek::new(self.kek(), self.wrap(&dek, call.context())?);
        Ok(GeneratedDek { dek, wrapped })
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        self.unwrap(wrapped.as_bytes(), call.context()).ok_or_else(|| {
            KmsError::refused(
                "the wrapped key does not open under this master key and context; is this the master key file that it was made with?",
            )
        })
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        call: &KmsCall,
    ) -> Result<WrappedDek, KmsError> {
        let dek = self.unwrap_dek(wrapped, call).await?;
        self.wrap_dek(&dek, call).await
    }

    async fn wrap_dek(&self, dek: &Dek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        Ok(WrappedDek::new(self.kek(), self.wrap(dek, call.context())?))
    }

    fn holds(&self, kek: &str) -> bool {
        kek == self.kek()
    }
}

impl fmt::Debug for LocalKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKms")
            .field("kek", &self.kek())
            .finish_non_exhaustive()
    }
}

/// Layout version of a wrapped key.
const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + KeyId::LEN;

fn aad(header: &[u8; HEADER_LEN], context: &EncryptionContext) -> Pae {
    let [first, second, third] = context.all();
    pae([
        b"ophie-crypt/v1/local-kms",
        header,
        first.0.as_bytes(),
        first.1.as_bytes(),
        second.0.as_bytes(),
        second.1.as_bytes(),
        third.0.as_bytes(),
        third.1.as_bytes(),
    ])
}

/// Fills `buf` as far as the file goes.
fn read_up_to(mut file: impl io::Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => len = len.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(unix)]
fn check_access(path: &Path, metadata: &fs::Metadata) -> Result<(), LocalKmsError> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.into();
        return Err(LocalKmsError::Permissions { path, mode });
    }
    let uid = metadata.uid();
    if !may_keep_keys_of(rustix::process::geteuid().as_raw(), uid) {
        let path = path.into();
        return Err(LocalKmsError::Owner { path, uid });
    }
    Ok(())
}

/// Root reads every file, so a file of root's is in nobody else's hands.
#[cfg(unix)]
const fn may_keep_keys_of(process: u32, file: u32) -> bool {
    file == process || file == 0
}

#[cfg(not(unix))]
fn check_access(_: &Path, _: &fs::Metadata) -> Result<(), LocalKmsError> {
    Ok(()) // the file inherits the folder's access list
}

/// Writes a new key beside the file and links it into place: whole or not at all, and the first wins.
fn create(path: &Path) -> Result<(), LocalKmsError> {
    let fail = |source| LocalKmsError::Io {
        path: path.into(),
        source,
    };
    let key = Dek::make().map_err(|_| LocalKmsError::Randomness)?;
    let number = Nonce::make().map_err(|_| LocalKmsError::Randomness)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}{DRAFT}", to_hex(number.as_bytes())));
    write_new(draft.as_ref(), key.expose_secret()).map_err(fail)?;
    let linked = fs::hard_link(&draft, path);
    absent(fs::remove_file(&draft)).map_err(fail)?;
    match linked {
        // Another was first, and perhaps removed this draft.
        Err(error) if matches!(error.kind(), AlreadyExists | NotFound) => Ok(()),
        linked => linked.and_then(|()| sync_folder(path)).map_err(fail),
    }
}

/// Removes the drafts of processes that were killed: a draft may be a second name of the key. One that is
/// still at it comes too late anyhow, and takes the key that is there.
fn remove_drafts(path: &Path) -> Result<(), LocalKmsError> {
    let fail = |source| LocalKmsError::Io {
        path: path.into(),
        source,
    };
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    for entry in fs::read_dir(folder(path)).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if is_draft(
            name.as_encoded_bytes(),
            entry.file_name().as_encoded_bytes(),
        ) {
            absent(fs::remove_file(entry.path())).map_err(fail)?;
        }
    }
    Ok(())
}

/// How the name of a draft ends, after the file's own name, a dot and 24 hex digits.
const DRAFT: &str = ".draft";

fn is_draft(name: &[u8], other: &[u8]) -> bool {
    let number = other
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(DRAFT.as_bytes()));
    number.is_some_and(|hex| hex.len() == 2 * NONCE_LEN && hex.iter().all(u8::is_ascii_hexdigit))
}

/// A file that somebody else removed is removed.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == NotFound => Ok(()),
        removed => removed,
    }
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A key that a power cut takes away again would take everything wrapped under it.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(folder(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(()) // folders cannot be opened there
}

fn write_new(path: &Path, key: &[u8]) -> io::Result<()> {
    use io::Write;

    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key)?;
    file.sync_all()
}
