//! Keys in one database and an application's rows with fingerprints in another, for rotations of index keys.

use ophie_crypt::{
    EncryptedModel, IndexKeyState, KeyStore, Models, OwnerId, Rotation, Session, WaitsFor,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

use crate::{
    place::{ADA, Place},
    world::{Kind, is_postgres},
};

#[derive(EncryptedModel)]
#[crypt(table = "indexed_people")]
#[expect(dead_code, reason = "its markers and its model are what the tests use")]
pub(crate) struct Person {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    pub(crate) name: Option<Encrypted<String, person::name>>,
    #[crypt(index_of = "name", normalize = "name")]
    pub(crate) name_fp: Option<BlindIndex<String, person::name_fp>>,
    pub(crate) mail: Encrypted<String, person::mail>,
    #[crypt(index_of = "mail", normalize = "email")]
    pub(crate) mail_fp: BlindIndex<String, person::mail_fp>,
}

pub(crate) type NameFp = BlindIndex<String, person::name_fp>;
pub(crate) type MailFp = BlindIndex<String, person::mail_fp>;

pub(crate) struct World {
    pub(crate) place: Place,
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        let (bytes, fp) = match kind {
            _ if is_postgres(kind) => ("BYTEA", "BYTEA"),
            Kind::SqlxSqlite | Kind::DieselSqlite => ("BLOB", "BLOB"),
            _ => ("BLOB", "BINARY(17)"),
        };
        let table = format!(
            "CREATE TABLE indexed_people (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, \
             name {bytes}, name_fp {fp}, mail {bytes} NOT NULL, mail_fp {fp} NOT NULL, \
             frozen {fp}, CHECK (frozen = mail_fp)); \
             CREATE INDEX by_name ON indexed_people (user_id, name_fp); \
             CREATE INDEX by_mail ON indexed_people (user_id, mail_fp)"
        );
        Self {
            place: Place::with(kind, &table, Models::new().with::<Person>()).await,
        }
    }

    /// As another process would rotate.
    pub(crate) async fn rotation(&self) -> Rotation {
        self.place.rotation().await
    }

    pub(crate) async fn session(&self, owner: i64) -> Session {
        let session = self.place.session(owner).await;
        session.refresh().await.unwrap();
        session
    }

    pub(crate) fn literal(&self, bytes: &[u8]) -> String {
        self.place.literal(bytes)
    }

    /// A row as the application writes it; every fifth has no name.
    pub(crate) fn insert(&self, session: &Session, id: i64, owner: i64) -> String {
        let name = (id % 5 != 0).then(|| {
            let sealed = person::name(name_of(id)).seal(session).unwrap();
            let fingerprint = NameFp::of_in(session, name_of(id)).unwrap().for_write();
            (sealed.into_bytes(), fingerprint)
        });
        let (name, name_fp) = match name {
            Some((name, name_fp)) => (self.literal(&name), self.literal(name_fp.as_bytes())),
            None => ("NULL".to_owned(), "NULL".to_owned()),
        };
        let mail = person::mail(mail_of(id)).seal(session).unwrap();
        let mail_fp = MailFp::of_in(session, mail_of(id)).unwrap().for_write();
        format!(
            "INSERT INTO indexed_people (id, user_id, name, name_fp, mail, mail_fp) \
             VALUES ({id}, {owner}, {name}, {name_fp}, {}, {})",
            self.literal(mail.as_bytes()),
            self.literal(mail_fp.as_bytes())
        )
    }

    pub(crate) async fn write(&self, session: &Session, id: i64, owner: i64) {
        let sql = self.insert(session, id, owner);
        self.place.app.run_plain(&sql).await.unwrap();
    }

    pub(crate) async fn count(&self, column: &str, owner: i64, [one, other]: [&[u8]; 2]) -> i64 {
        let (one, other) = (self.literal(one), self.literal(other));
        let sql = format!(
            "SELECT COUNT(*) FROM indexed_people WHERE user_id = {owner} AND {column} IN ({one}, {other})"
        );
        self.place.app.number(&sql).await
    }

    /// How many rows look-ups by name and by mail find.
    pub(crate) async fn find(&self, session: &Session, id: i64, owner: i64) -> (i64, i64) {
        let name = NameFp::of_in(session, name_of(id).to_uppercase()).unwrap();
        let mail = MailFp::of_in(session, mail_of(id)).unwrap();
        let (names, mails) = (name.candidates(), mail.candidates());
        let names = names.each_ref().map(|name| name.as_bytes());
        let mails = mails.each_ref().map(|mail| mail.as_bytes());
        (
            self.count("name_fp", owner, names).await,
            self.count("mail_fp", owner, mails).await,
        )
    }

    pub(crate) async fn assert_found(&self, ids: impl Iterator<Item = i64>, owner: i64) {
        let session = self.session(owner).await;
        for id in ids {
            let found = self.find(&session, id, owner).await;
            assert_eq!(found, (i64::from(id % 5 != 0), 1), "{id}");
        }
    }

    /// Fingerprints of this generation.
    pub(crate) async fn of(&self, owner: i64, generation: u8) -> i64 {
        let mut count = 0;
        for column in ["name_fp", "mail_fp"] {
            let first = self.literal(&[generation]);
            let sql = format!(
                "SELECT COUNT(*) FROM indexed_people WHERE user_id = {owner} AND substr({column}, 1, 1) = {first}"
            );
            count += self.place.app.number(&sql).await;
        }
        count
    }

    /// Time passes: since the second key was announced, and since nobody writes under the first.
    pub(crate) async fn pass(&self, announced: bool) {
        let sql = match announced {
            true => {
                "UPDATE ophie_crypt_index_keys SET announced_at = '2020-01-01 00:00:00' \
                 WHERE owner = $1 AND state = 'announced'"
            }
            false => {
                "UPDATE ophie_crypt_index_keys SET stated_at = '2020-01-01 00:00:00' \
                 WHERE owner = $1 AND state = 'draining'"
            }
        };
        self.place.keys.run(sql, &ADA.canonical()).await.unwrap();
    }

    /// To a second key that may be written.
    pub(crate) async fn begin(&self, rotation: &Rotation) {
        assert_eq!(rotation.begin_index(&ADA).await.unwrap(), 2);
        let waits = rotation.advance(&ADA).await.unwrap().waits_for;
        assert_eq!(waits, Some(WaitsFor::Announcement));
        self.pass(true).await;
    }

    pub(crate) async fn states(&self) -> Vec<(u8, IndexKeyState)> {
        let record = self
            .place
            .store
            .load(&ADA.canonical())
            .await
            .unwrap()
            .unwrap();
        let keys = record.index_keys().iter();
        keys.map(|key| (key.generation(), key.state())).collect()
    }
}

pub(crate) fn name_of(id: i64) -> String {
    format!("Person {id}")
}

pub(crate) fn mail_of(id: i64) -> String {
    format!("p{id}@example.org")
}
