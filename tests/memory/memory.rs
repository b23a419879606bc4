//! No key and no plaintext stays in the memory of a process that closed its sessions, as seen from outside.
//!
//! Invariant: the same search finds them while the sessions are open. The keys are worked out here, from what
//! the process stored and SPEC.md. Absent: the master key, which a KMS would hold, and registers.

#![cfg(target_os = "linux")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

#[path = "canary.rs"]
mod canary;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use aho_corasick::{AhoCorasick, MatchKind};
use canary::canary;
use hkdf::Hkdf;
use ophie_crypt::{CanonicalId, EncryptionContext, Kms, KmsCall, LocalKms, WrappedDek};
use rustix::process::{Pid, Signal, kill_process};
use sha2::Sha256;
use sqlx::{Connection, SqliteConnection};

const OWNERS: usize = 100;

#[tokio::test]
async fn nothing_is_left_after_closing() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("master.key");
    fs::write(&key_file, [0x5a; 32]).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();

    let mut holder = Command::new(env!("CARGO_BIN_EXE_holder"))
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "open");
    let search = Search::new(secrets(folder.path()).await);

    let open = search.run(&holder);
    println!("while open:  {open:?}");
    // Of a DEK and an index key only what is derived from them is kept.
    assert!(open["AEAD key"] >= 2 * OWNERS, "{open:?}");
    assert!(open["plaintext"] >= OWNERS, "{open:?}");

    holder.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "closed");
    let closed = search.run(&holder);
    println!("after close: {closed:?}");
    holder.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    assert!(holder.wait().unwrap().success());
    assert!(closed.values().all(|found| *found == 0), "{closed:?}");
}

/// What a crash leaves on disk: the kernel writes all memory into a file, unless the process forbade it.
#[tokio::test]
async fn a_core_dump_is_written_only_where_it_was_not_forbidden() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    // Elsewhere the dump goes to a program or another folder, and only whether there was one is known.
    let is_file_here = !pattern.starts_with(['|', '/']);
    assert!(
        is_file_here || std::env::var_os("GITHUB_ACTIONS").is_none(),
        "no dump is read here, as dumps go to {pattern:?}; write `core` into /proc/sys/kernel/core_pattern first"
    );
    if !is_file_here {
        println!("NOT SEARCHED: dumps go to {pattern:?}");
    }
    for (step, forbidden) in [("open", false), ("closed", false), ("open", true)] {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("master.key");
        fs::write(&key_file, [0x5a; 32]).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut holder = Command::new("sh")
            .args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_holder"))
            .arg(folder.path())
            .args(forbidden.then_some("without-dumps"))
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "open");
        if step == "closed" {
            holder.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            assert_eq!(said.next().unwrap().unwrap(), "closed");
        }
        let search = Search::new(secrets(folder.path()).await);
        kill_process(Pid::from_child(&holder), Signal::ABORT).unwrap();
        let ended = holder.wait().unwrap();
        assert_eq!(ended.core_dumped(), !forbidden, "{step}: {ended}");

        let files = fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap());
        let cores = files.filter(|file| {
            let name = file.file_name().into_string().unwrap();
            !name.contains(".db") && name != "master.key"
        });
        let mut cores: Vec<_> = cores.map(|file| fs::read(file.path()).unwrap()).collect();
        assert_eq!(
            cores.len(),
            usize::from(is_file_here && !forbidden),
            "{pattern}"
        );
        let Some(core) = cores.first_mut() else {
            continue;
        };
        blank_registers(core);
        let mut found: BTreeMap<_, _> = search.kinds.iter().map(|kind| (*kind, 0)).collect();
        search.count(core, &mut found);
        println!("in the dump, {step}: {found:?}");
        match step {
            "open" => assert!(
                found["AEAD key"] >= 2 * OWNERS && found["plaintext"] >= OWNERS,
                "{found:?}"
            ),
            _ => assert!(found.values().all(|found| *found == 0), "{found:?}"),
        }
    }
}

/// Overwrites the notes of a core file, which hold the registers of each thread: a key's halves may be in those that copied
/// it last until the thread runs again, and nothing but running clears them. System V ABI, "Program Header".
fn blank_registers(core: &mut [u8]) {
    const NOTE: usize = 4;
    assert_eq!(core[..5], *b"\x7fELF\x02", "a file of 64 bits");
    let number = |core: &[u8], at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&core[at..at + len]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    let (table, size, count) = (
        number(core, 32, 8),
        number(core, 54, 2),
        number(core, 56, 2),
    );
    let mut notes = 0;
    for header in (0..count).map(|n| table + n * size) {
        if number(core, header, 4) == NOTE {
            let (from, length) = (number(core, header + 8, 8), number(core, header + 32, 8));
            core[from..from + length].fill(0);
            notes += 1;
        }
    }
    assert_eq!(notes, 1, "{count} headers");
}

/// As they would be printed or sent, each in the middle of other text.
#[test]
fn the_search_finds_every_encoding() {
    let secret: Vec<u8> = (100..132).collect();
    let search = Search::new(vec![("DEK", secret.clone())]);
    let hex = |upper: bool| {
        let digits = secret.iter().map(|byte| match upper {
            true => format!("{byte:02X}"),
            false => format!("{byte:02x}"),
        });
        digits.collect::<String>().into_bytes()
    };
    let mut encoded = vec![secret.clone(), hex(false), hex(true)];
    for before in 0..3 {
        let text = [&vec![7; before][..], &secret, &[7; 6]].concat();
        let [base64, ..] = base64(&text[..text.len() / 3 * 3]);
        encoded.push(base64);
    }
    for text in encoded {
        let mut found = BTreeMap::new();
        search.count(&[b"before", &text[..], b"after"].concat(), &mut found);
        assert!(found["DEK"] >= 2, "{text:?}");
    }
}

/// Every DEK, AEAD key, index key and plaintext of the process.
async fn secrets(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let kms = LocalKms::open(folder.join("master.key")).unwrap();
    let url = format!("sqlite://{}?mode=ro", folder.join("keys.db").display());
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    type Stored = (Vec<u8>, String, Vec<u8>, Vec<u8>);
    let stored: Vec<Stored> = sqlx::query_as(
        "SELECT owner, kek, wrapped, i.sealed FROM ophie_crypt_deks JOIN ophie_crypt_index_keys i USING (owner)",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert_eq!(stored.len(), OWNERS);

    let mut secrets = Vec::new();
    for (owner, kek, wrapped, sealed) in stored {
        let context = EncryptionContext::new("ophie-crypt", &CanonicalId::from_bytes(&owner), 1);
        let dek = kms
            .unwrap_dek(&WrappedDek::new(kek, wrapped), &KmsCall::new(context))
            .await
            .unwrap();
        let mut seal_key = [0; 32];
        Hkdf::<Sha256>::new(None, dek.expose_secret())
            .expand(b"ophie-crypt/v1/seal", &mut seal_key)
            .unwrap();
        let (header, nonce, body) = (&sealed[..17], &sealed[17..29], &sealed[29..]);
        let parts: [&[u8]; 4] = [b"ophie-crypt/v1/index-key", header, &owner, &[1]];
        let index_key = Aes256Gcm::new(&seal_key.into())
            .decrypt(
                nonce.try_into().unwrap(),
                Payload {
                    msg: body,
                    aad: &pae(&parts),
                },
            )
            .unwrap();
        secrets.push(("DEK", dek.expose_secret().to_vec()));
        secrets.push(("AEAD key", seal_key.to_vec()));
        secrets.push(("index key", index_key));
    }
    for number in 0..OWNERS {
        let text = canary(number.try_into().unwrap());
        secrets.push(("plaintext", text.into_bytes()));
    }
    secrets
}

/// SPEC.md, "PAE".
fn pae(parts: &[&[u8]]) -> Vec<u8> {
    let length = |len: usize| u64::try_from(len).unwrap().to_le_bytes();
    let mut out = length(parts.len()).to_vec();
    for part in parts {
        out.extend(length(part.len()));
        out.extend(*part);
    }
    out
}

/// Finds halves of secrets, as they are and in the encodings in which they would be printed or sent.
struct Search {
    patterns: AhoCorasick,
    kinds: Vec<&'static str>,
}

impl Search {
    fn new(secrets: Vec<(&'static str, Vec<u8>)>) -> Self {
        let (mut patterns, mut kinds) = (Vec::new(), Vec::new());
        for (kind, secret) in &secrets {
            assert_eq!(secret.len(), 32);
            for half in secret.chunks(16) {
                let encoded = [
                    half.to_vec(),
                    half.iter()
                        .flat_map(|b| format!("{b:02x}").into_bytes())
                        .collect(),
                    half.iter()
                        .flat_map(|b| format!("{b:02X}").into_bytes())
                        .collect(),
                ];
                for pattern in encoded.into_iter().chain(base64(half)) {
                    patterns.push(pattern);
                    kinds.push(*kind);
                }
            }
        }
        Self {
            patterns: AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .build(&patterns)
                .unwrap(),
            kinds,
        }
    }

    /// How many of each kind lie in the process's memory: all that it can read, stacks and libraries too.
    fn run(&self, process: &Child) -> BTreeMap<&'static str, usize> {
        let folder = Path::new("/proc").join(process.id().to_string());
        let mut memory = File::open(folder.join("mem")).expect(
            "a process may read its child's memory; kernel.yama.ptrace_scope must be 0 or 1",
        );
        let mut found: BTreeMap<_, _> = self.kinds.iter().map(|kind| (*kind, 0)).collect();
        let mut searched = 0;
        for line in fs::read_to_string(folder.join("maps")).unwrap().lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
            // The kernel's own pages, with the time of day, cannot be read.
            if !rest.starts_with('r') || rest.contains("[v") {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            memory.seek(SeekFrom::Start(start)).unwrap();
            if memory.read_exact(&mut bytes).is_err() {
                continue; // the stack of a thread that has just ended
            }
            searched += bytes.len();
            self.count(&bytes, &mut found);
        }
        assert!(searched > 4 << 20, "{searched} bytes are not all of it");
        found
    }

    fn count(&self, bytes: &[u8], found: &mut BTreeMap<&'static str, usize>) {
        for hit in self.patterns.find_overlapping_iter(bytes) {
            *found
                .entry(self.kinds[hit.pattern().as_usize()])
                .or_default() += 1;
        }
    }
}

/// What stands in any base64 text around `bytes`, wherever they begin in it: three forms.
fn base64(bytes: &[u8]) -> [Vec<u8>; 3] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    [0, 1, 2].map(|skip| {
        let whole = &bytes[skip..];
        whole
            .chunks_exact(3)
            .flat_map(|three| {
                let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
                [18, 12, 6, 0].map(|shift| ALPHABET[usize::try_from(bits >> shift & 63).unwrap()])
            })
            .collect()
    })
}
