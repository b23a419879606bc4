//! Keys, their states and their material.
//!
//! Invariant: wrapped bytes name the material that made them, and rotation forgets none; the replicas of
//! a multi-Region key share their material and nothing else. Absent: who may use a key (`access`).

use std::collections::BTreeMap;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key as AesKey, Nonce};
use serde_json::{Value, json};

use super::grants::Grant;
use super::policy::Policy;
use super::{ACCOUNT, Refusal};

/// Encryption context in the order of its keys: its canonical form.
pub(super) type Context = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(super) struct Keys {
    /// By region and id.
    keys: BTreeMap<(String, String), Key>,
    /// By the key's id, oldest first.
    material: BTreeMap<String, Vec<Material>>,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) region: String,
    pub(super) id: String,
    pub(super) state: KeyState,
    pub(super) policy: Policy,
    pub(super) grants: BTreeMap<String, Grant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    Enabled,
    Disabled,
    PendingDeletion { days: i64 },
}

#[derive(Debug)]
struct Material {
    id: [u8; MATERIAL_ID],
    cipher: [u8; 32],
}

const MATERIAL_ID: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;
/// In front of every blob, as AWS has a header there.
const VERSION: u8 = 1;

impl Key {
    pub(super) fn arn(&self) -> String {
        arn(&self.region, &self.id)
    }

    /// Only an enabled key is used. AWS tells the two other states apart.
    pub(super) fn usable(&self) -> Result<(), Refusal> {
        match self.state {
            KeyState::Enabled => Ok(()),
            KeyState::Disabled => Err(Refusal::new(
                "DisabledException",
                format!("{} is disabled.", self.arn()),
            )),
            KeyState::PendingDeletion { .. } => Err(self.invalid_state()),
        }
    }

    pub(super) fn invalid_state(&self) -> Refusal {
        let message = format!("{} is {}.", self.arn(), self.state_name());
        Refusal::new("KMSInvalidStateException", message)
    }

    fn state_name(&self) -> &'static str {
        match self.state {
            KeyState::Enabled => "Enabled",
            KeyState::Disabled => "Disabled",
            KeyState::PendingDeletion { .. } => "PendingDeletion",
        }
    }

    pub(super) fn is_multi_region(&self) -> bool {
        self.id.starts_with("mrk-")
    }

    pub(super) fn metadata(&self) -> Value {
        json!({
            "AWSAccountId": ACCOUNT,
            "Arn": self.arn(),
            "Enabled": self.state == KeyState::Enabled,
            "KeyId": self.id,
            "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyState": self.state_name(),
            "KeyUsage": "ENCRYPT_DECRYPT",
            "MultiRegion": self.is_multi_region(),
            "Origin": "AWS_KMS",
        })
    }
}

impl Keys {
    pub(super) fn make(&mut self, region: &str, multi_region: bool, policy: Policy) -> &Key {
        let name = random::<16>();
        let id = if multi_region {
            format!("mrk-{}", hex(&name))
        } else {
            uuid::Uuid::from_bytes(name).to_string()
        };
        self.material.insert(id.clone(), vec![Material::make()]);
        self.put(region, &id, policy)
    }

    fn put(&mut self, region: &str, id: &str, policy: Policy) -> &Key {
        let key = Key {
            region: region.to_owned(),
            id: id.to_owned(),
            state: KeyState::Enabled,
            policy,
            grants: BTreeMap::new(),
        };
        self.keys
            .entry((region.to_owned(), id.to_owned()))
            .insert_entry(key)
            .into_mut()
    }

    pub(super) fn replicate(
        &mut self,
        id: &str,
        region: &str,
        policy: Policy,
    ) -> Result<&Key, Refusal> {
        if self.keys.contains_key(&(region.to_owned(), id.to_owned())) {
            let message = format!("{} exists.", arn(region, id));
            return Err(Refusal::new("AlreadyExistsException", message));
        }
        Ok(self.put(region, id, policy))
    }

    pub(super) fn rotate(&mut self, id: &str) {
        if let Some(material) = self.material.get_mut(id) {
            material.push(Material::make());
        }
    }

    /// By a key's ARN or id, in the region of the request.
    pub(super) fn find(&mut self, region: &str, name: &str) -> Result<&mut Key, Refusal> {
        let not_found =
            || Refusal::new("NotFoundException", format!("Key '{name}' does not exist"));
        let id = match name.strip_prefix("arn:") {
            Some(_) => name
                .strip_prefix(&arn(region, ""))
                .ok_or_else(|| Refusal::new("NotFoundException", format!("Invalid arn {name}")))?,
            None => name,
        };
        let place = (region.to_owned(), id.to_owned());
        self.keys.get_mut(&place).ok_or_else(not_found)
    }

    /// The id of the key whose material made a blob.
    pub(super) fn maker(&self, blob: &[u8]) -> Option<&str> {
        let id = Blob::read(blob)?.material;
        let mut all = self.material.iter();
        all.find(|(_, material)| material.iter().any(|material| material.id == *id))
            .map(|(id, _)| id.as_str())
    }

    pub(super) fn wrap(&self, id: &str, plaintext: &[u8], context: &Context) -> Vec<u8> {
        let material = self.material.get(id).and_then(|all| all.last());
        material
            .expect("a key has material")
            .wrap(plaintext, context)
    }

    /// `None` if another key, another context or nobody made the blob.
    pub(super) fn unwrap(&self, id: &str, blob: &[u8], context: &Context) -> Option<Vec<u8>> {
        let parts = Blob::read(blob)?;
        let mut all = self.material.get(id)?.iter();
        all.find(|material| material.id == *parts.material)?
            .unwrap(&parts, context)
    }

    pub(super) fn pass_days(&mut self, passed: i64) {
        self.keys.retain(|_, key| match &mut key.state {
            KeyState::PendingDeletion { days } => {
                *days = days.saturating_sub(passed);
                *days > 0
            }
            _ => true,
        });
        let alive: Vec<_> = self.keys.keys().map(|(_, id)| id.clone()).collect();
        self.material.retain(|id, _| alive.contains(id));
    }
}

struct Blob<'a> {
    material: &'a [u8; MATERIAL_ID],
    nonce: &'a [u8; NONCE],
    ciphertext: &'a [u8],
}

impl<'a> Blob<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let rest = blob.strip_prefix(&[VERSION])?;
        let (material, rest) = rest.split_first_chunk()?;
        let (nonce, ciphertext) = rest.split_first_chunk()?;
        (ciphertext.len() >= TAG).then_some(Self {
            material,
            nonce,
            ciphertext,
        })
    }
}

impl Material {
    fn make() -> Self {
        Self {
            id: random(),
            cipher: random(),
        }
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&AesKey::<Aes256Gcm>::from(self.cipher))
    }

    fn wrap(&self, plaintext: &[u8], context: &Context) -> Vec<u8> {
        let nonce = random::<NONCE>();
        let payload = Payload {
            msg: plaintext,
            aad: &self.aad(context),
        };
        let ciphertext = self.cipher().encrypt(&Nonce::from(nonce), payload);
        let ciphertext = ciphertext.expect("short plaintexts are encrypted");
        [&[VERSION], &self.id[..], &nonce, &ciphertext].concat()
    }

    fn unwrap(&self, blob: &Blob<'_>, context: &Context) -> Option<Vec<u8>> {
        let payload = Payload {
            msg: blob.ciphertext,
            aad: &self.aad(context),
        };
        let nonce = Nonce::from(*blob.nonce);
        self.cipher().decrypt(&nonce, payload).ok()
    }

    fn aad(&self, context: &Context) -> Vec<u8> {
        let context = json!(context).to_string(); // sorted and escaped: one text for one context
        [&self.id[..], context.as_bytes()].concat()
    }
}

pub(super) fn arn(region: &str, id: &str) -> String {
    format!("arn:aws:kms:{region}:{ACCOUNT}:key/{id}")
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
