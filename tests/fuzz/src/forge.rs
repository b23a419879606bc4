//! Envelopes with bytes of our choice under a DEK that everybody knows, written from SPEC.md: what no writer makes, and
//! the same for the same input, which sealing never gives.
//!
//! Absent: the library.

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead, KeyInit, Payload},
};
use hkdf::Hkdf;
use sha2::Sha256;

pub(crate) const DEK: [u8; 32] = [7; 32];
pub(crate) const FORMS: [u8; 4] = [0xFA, 0xFB, 0xFC, 0xFD];
/// The row of what is row-bound: a text.
pub(crate) const ROW: &str = "row";
/// A text, too.
pub(crate) const OWNER: &str = "ada";

/// Where a value is to belong.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a str,
    pub(crate) column: &'a str,
    pub(crate) codec: &'a str,
}

pub(crate) const fn row_bound(form: u8) -> bool {
    matches!(form, 0xFB | 0xFD)
}

pub(crate) const fn padded(form: u8) -> bool {
    matches!(form, 0xFC | 0xFD)
}

/// The plaintext is sealed as it is: whoever wants padding has put it there.
pub(crate) fn envelope(form: u8, place: Place<'_>, plaintext: &[u8]) -> Vec<u8> {
    let row = if row_bound(form) {
        format!("t{ROW}")
    } else {
        String::new()
    };
    let header = header(form);
    let aad = pae(&[
        b"ophie-crypt/v1/value",
        &header,
        format!("t{OWNER}").as_bytes(),
        place.table.as_bytes(),
        place.column.as_bytes(),
        place.codec.as_bytes(),
        row.as_bytes(),
    ]);
    under(&header, &aad, plaintext)
}

pub(crate) fn header(form: u8) -> [u8; 17] {
    let mut header = [form; 17];
    header[1..].copy_from_slice(&derived::<16>(&DEK, "ophie-crypt/v1/key-id"));
    header
}

/// Under associated data of any kind.
pub(crate) fn under(header: &[u8; 17], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = [header[0]; 12]; // one plaintext more or less under it: this key protects nothing
    let payload = Payload {
        msg: plaintext,
        aad,
    };
    let sealed = cipher().encrypt(&nonce.into(), payload).unwrap();
    [&header[..], &nonce, &sealed].concat()
}

/// What an envelope holds, if this is what it was sealed under.
pub(crate) fn opened(envelope: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    let nonce: [u8; 12] = envelope[17..29].try_into().unwrap();
    let payload = Payload {
        msg: &envelope[29..],
        aad,
    };
    cipher().decrypt(&nonce.into(), payload).ok()
}

fn cipher() -> Aes256Gcm {
    Aes256Gcm::new(&derived::<32>(&DEK, "ophie-crypt/v1/seal").into())
}

/// The name of a local master key.
pub(crate) fn local_kek(master: &[u8]) -> String {
    let id = derived::<16>(master, "ophie-crypt/v1/local-kms/key-id");
    format!("local:{}", crate::golden::file::hex(&id))
}

pub(crate) fn pae(parts: &[&[u8]]) -> Vec<u8> {
    let length = |len: usize| u64::try_from(len).unwrap().to_le_bytes();
    let mut out = length(parts.len()).to_vec();
    for part in parts {
        out.extend(length(part.len()));
        out.extend(*part);
    }
    out
}

fn derived<const N: usize>(key: &[u8], info: &str) -> [u8; N] {
    let mut out = [0; N];
    Hkdf::<Sha256>::new(None, key)
        .expand(info.as_bytes(), &mut out)
        .unwrap();
    out
}
