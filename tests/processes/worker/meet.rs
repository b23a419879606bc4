//! Provisions and opens the same owners as all other processes at once, and reads what they wrote.

use futures_util::{StreamExt, stream};
use ophie_crypt::{Keyring, KmsError, ProvisionError, Session, SessionError};
use ophie_crypt_sqlx::Owner;
use sqlx::PgPool;

use super::{
    Orders, say,
    setup::{Note, PURPOSE, Settings, note},
};

/// More would wait for one another in each of the processes, longer than a KMS may take.
const AT_ONCE: usize = 4;

pub(crate) async fn run(settings: &Settings) {
    let (keyring, pool) = (settings.keyring().await, settings.pool());
    let (owners, writer): (i64, i64) = (settings.number("owners"), settings.number("writer"));
    let mut orders = Orders::new();
    say("ready");
    orders.expect("write").await;
    let sessions: Vec<(i64, Session)> = stream::iter(0..owners)
        .map(|owner| {
            let (keyring, pool) = (&keyring, &pool);
            async move {
                let session = open(keyring, owner).await;
                write(pool, owner, writer, &session).await;
                (owner, session)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    say("wrote");
    orders.expect("read").await;
    let mut read = 0_usize;
    for (owner, session) in &sessions {
        let notes = session.scope(async {
            sqlx::query_as::<_, Note>(
                "SELECT * FROM notes WHERE owner = $1 AND text_fp = $2 ORDER BY writer",
            )
            .bind(Owner(*owner))
            .bind(note::text_fp(text(*owner))?)
            .fetch_all(&pool)
            .await
        });
        let notes = notes.await.expect("every process's notes open");
        let first = notes.first().map(|note| &note.text_fp);
        for (at, note) in (0..).zip(&notes) {
            assert_eq!(note.writer, at, "a note of owner {owner} is not found");
            assert_eq!(note.text.expose_secret(), &text(*owner));
            assert_eq!(Some(&note.text_fp), first);
        }
        read = read.saturating_add(notes.len());
    }
    say(format_args!("read {read}"));
}

/// As an application would: again while the KMS is busy.
async fn open(keyring: &Keyring, owner: i64) -> Session {
    loop {
        match keyring.open_or_provision(&owner, PURPOSE).await {
            Ok(session) => return session,
            Err(
                ProvisionError::Kms(KmsError::Unavailable { .. })
                | ProvisionError::Session(SessionError::Kms(KmsError::Unavailable { .. })),
            ) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn write(pool: &PgPool, owner: i64, writer: i64, session: &Session) {
    let insert = session.scope(async {
        sqlx::query("INSERT INTO notes (owner, writer, text, text_fp) VALUES ($1, $2, $3, $4)")
            .bind(Owner(owner))
            .bind(writer)
            .bind(note::text(text(owner)))
            .bind(note::text_fp(text(owner))?)
            .execute(pool)
            .await
    });
    insert.await.expect("the note is stored");
}

fn text(owner: i64) -> String {
    format!("to owner {owner}")
}
