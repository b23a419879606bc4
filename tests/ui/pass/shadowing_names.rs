use ophie_crypt::{Codec, CodecError, EncryptedModel, PlainBuf, Plaintext};
use ophie_crypt_sqlx::{Encrypted, Owner};
use uuid::Uuid as Id;

struct Secret(String);

impl Plaintext for Secret {
    const CODEC: Codec = Codec::TEXT;
    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        self.0.encode(out)
    }
    fn decode(bytes: zeroize::Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        String::decode(bytes).map(Secret)
    }
    fn wipe(&mut self) {
        self.0.wipe();
    }
}

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "p", module = "cols")]
struct URLInfo {
    uuid: Owner<Id>,
    string: Encrypted<String, cols::string>,
    core: Encrypted<String, cols::core>,
    std: Encrypted<String, cols::std>,
    str: Encrypted<std::string::String, cols::str>,
    i64: Option<Encrypted<i64, cols::i64>>,
    value: Encrypted<Secret, cols::value>,
    ophie_crypt: Encrypted<bool, cols::ophie_crypt>,
}

fn main() {
    let name = cols::str("x");
    assert_eq!(name.expose_secret(), "x");
    let _ = (cols::value(Secret(String::new())), cols::i64::NULL);
}
