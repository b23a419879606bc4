//! The strict KMS, moto and ministack answer the same calls, the two emulators over sockets.
//!
//! Invariant: each answer is the one that AWS documents (`script`), or stands in `table`; no line there is
//! out of date. So the strict KMS is held to what two others make of the same documentation.
//! Absent: AWS itself, grants (both emulators say that they store them only).

mod answers;
mod script;
mod table;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::Credentials;
use ophie_crypt::{AwsKms, CanonicalId, ColumnRef, Keyring, MemoryKeyStore, Purpose, adapter};
use ophie_crypt_tests::strict_kms::StrictKms;
use ophie_crypt_tests::variable;

use self::script::Line;
use super::{APP, HERE};

/// The calls of the script: an empty one would deviate nowhere.
const CALLS: usize = 62;

/// Who answers, the call, what AWS documents, and what they answer.
type Deviation = [String; 4];

/// Something that answers as AWS KMS does, or should.
struct Server {
    name: &'static str,
    place: Place,
}

enum Place {
    Process(StrictKms),
    Url(String),
}

impl Server {
    fn strict() -> Self {
        Self {
            name: "strict",
            place: Place::Process(StrictKms::new()),
        }
    }

    fn emulators() -> [Self; 2] {
        let at = |name, address| Self {
            name,
            place: Place::Url(variable(address)),
        };
        [
            at("moto", "OPHIE_CRYPT_TEST_MOTO"),
            at("ministack", "OPHIE_CRYPT_TEST_MINISTACK"),
        ]
    }

    /// The SDK's client, over a socket with the library's own HTTP client.
    async fn client(&self, region: &str) -> Client {
        let url = match &self.place {
            Place::Process(kms) => return kms.client(region, APP),
            Place::Url(url) => url,
        };
        let client = AwsKms::client_from_env(region).await;
        let config = client.config().to_builder().endpoint_url(url);
        let anyone = Credentials::new("test", "test", None, None, "tests");
        Client::from_conf(config.credentials_provider(anyone).build())
    }

    /// A key, and an `AwsKms` for it.
    async fn key(&self) -> (String, AwsKms) {
        let client = self.client(HERE).await;
        let made = client.create_key().send().await.expect("a key");
        let arn = made.key_metadata.and_then(|key| key.arn).expect("an ARN");
        let kms = AwsKms::builder().key(client, &arn).build();
        (arn, kms.expect("a key of this region"))
    }
}

#[tokio::test]
async fn who_deviates_from_aws_stands_in_the_table() {
    let documented = script::run(&Server::strict()).await;
    let calls: BTreeSet<_> = documented.iter().map(|line| line.call).collect();
    assert_eq!((calls.len(), documented.len()), (CALLS, CALLS));

    let mut found = deviations("strict", &documented, &documented);
    for server in Server::emulators() {
        let answers = script::run(&server).await;
        found.extend(deviations(server.name, &documented, &answers));
    }
    // Past the capture of output: the table is worth a look when all is well, too.
    let whole = format!("\nOf {CALLS} calls:\n{}\n", show(&found));
    std::io::stdout().write_all(whole.as_bytes()).unwrap();

    let table = table::deviations();
    let new: BTreeSet<_> = found.difference(&table).cloned().collect();
    let gone: BTreeSet<_> = table.difference(&found).cloned().collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "new, to be mended (strict) or added to tests/kms/emulators/table.rs:\n{}no longer so, to be removed there:\n{}",
        show(&new),
        show(&gone),
    );
}

/// Where `answers` are not what is documented. A call may depend on another that failed.
fn deviations(who: &str, documented: &[Line], answers: &[Line]) -> BTreeSet<Deviation> {
    let mut found = BTreeSet::new();
    for line in documented {
        let answer = answers.iter().find(|answer| answer.call == line.call);
        let answer = answer.map_or("not possible", |answer| answer.answer.as_str());
        if answer != line.documented {
            found.insert([who, line.call, line.documented, answer].map(str::to_owned));
        }
    }
    found
}

/// As the table has it.
fn show(deviations: &BTreeSet<Deviation>) -> String {
    let mut text = String::new();
    for [who, call, documented, answer] in deviations {
        writeln!(text, "{who:<9} | {call:<40} | {documented:<26} | {answer}")
            .expect("a String takes all");
    }
    text
}

const PURPOSE: Purpose = Purpose::new("test");
const COLUMN: ColumnRef = ColumnRef::new("memories", "text");

/// What a user's process does, over a real socket.
#[tokio::test]
async fn a_value_goes_round_through_keyrings() {
    for server in Server::emulators() {
        let (_, kms) = server.key().await;
        let store = Arc::new(MemoryKeyStore::new());
        let keyring = |app: &'static str| {
            let builder = Keyring::builder().kms(kms.clone()).app(app);
            builder.key_store(Arc::clone(&store)).build().unwrap()
        };
        let (ada, bob) = (CanonicalId::text("ada"), CanonicalId::text("bob"));
        let text = "the sea at Sant Antoni".to_owned();

        let writer = keyring("ophie");
        writer.provision(&ada).await.unwrap();
        let session = writer.open(&ada, PURPOSE).await.unwrap();
        let sealed = adapter::seal_in(&session, COLUMN, None, &text).unwrap();

        let reader = keyring("ophie");
        let session = reader.open(&ada, PURPOSE).await.unwrap();
        let opened: String = adapter::open_in(&session, COLUMN, None, &sealed).unwrap();
        assert_eq!(opened, text, "{}", server.name);

        let of_bob = reader.open_or_provision(&bob, PURPOSE).await.unwrap();
        adapter::open_in::<String>(&of_bob, COLUMN, None, &sealed).unwrap_err();
        // The emulator itself sees that the context is another.
        let refused = keyring("other").open(&ada, PURPOSE).await.unwrap_err();
        let first: &dyn Error = &refused;
        let why = std::iter::successors(Some(first), |error| (*error).source())
            .any(|error| error.to_string().contains("InvalidCiphertextException"));
        assert!(why, "{}: {refused:?}", server.name);
    }
}
