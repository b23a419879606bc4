//! The releases at work: each has one person after another sign up and look at their name.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use ophie_crypt::{Keyring, Purpose, soak::SoakWatch};
use ophie_crypt_sqlx::Owner;
use sqlx::AnyPool;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    EncryptedPerson, Person,
    before::{self, Seen},
    encrypted, person,
};

/// With what each of them has.
pub enum Release {
    Before,
    Soaking(Keyring, SoakWatch),
    After(Keyring),
}

/// Between two people: whoever wrote faster than a backfill seals would keep it from its end.
const REST: Duration = Duration::from_millis(10);

/// A release that serves people until it is ended.
pub struct Traffic {
    ends: Arc<AtomicBool>,
    task: JoinHandle<Seen>,
}

impl Traffic {
    pub fn begin(release: Release, db: AnyPool, ids: Arc<AtomicI64>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let task = tokio::spawn(async move {
            let mut seen = Seen::default();
            while !ending.load(Relaxed) {
                let id = ids.fetch_add(1, Relaxed);
                match &release {
                    Release::Before => before::visit(&db, id, &mut seen).await,
                    release => visit(release, &db, id, &mut seen).await,
                }
                sleep(REST).await;
            }
            seen
        });
        Self { ends, task }
    }

    /// What it has seen.
    pub async fn end(self) -> Result<String, Box<dyn Error>> {
        self.ends.store(true, Relaxed);
        let Seen {
            people,
            errors,
            wrong,
        } = self.task.await?;
        Ok(format!(
            "served {people} people: {errors} errors, {wrong} wrong names"
        ))
    }
}

/// As the release of before has it, in the person's session.
async fn visit(release: &Release, db: &AnyPool, id: i64, seen: &mut Seen) {
    let name = String::from("Uncle Leopold ") + &id.to_string(); // plaintext
    let mut read = served(release, db, id, &name).await;
    if let (Release::Soaking(_, watch), Err(_)) = (release, &read) {
        // After the step to `retired`, plaintext is refused, also of who has not read yet that it is not to be written.
        // Nothing was. The watch reads the state every ten seconds, or now.
        watch.beat().await.ok();
        read = served(release, db, id, &name).await;
    }
    seen.people += 1;
    match read {
        Ok(read) => seen.wrong += u64::from(read != name),
        Err(error) => {
            eprintln!("a release of this library's: {error}");
            seen.errors += 1;
        }
    }
}

async fn served(
    release: &Release,
    db: &AnyPool,
    id: i64,
    name: &str,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let (Release::Soaking(keyring, _) | Release::After(keyring)) = release else {
        return Err("the release of before has no keys".into());
    };
    let user = id % 50;
    let session = keyring
        .open_or_provision(&user, Purpose::new("web"))
        .await?;
    let read = session.scope(async {
        match release {
            Release::After(_) => encrypted(db, id, user, name).await,
            _ => soaking(db, id, user, name).await,
        }
    });
    Ok(read.await?)
}

/// The same two statements in every state of the soak.
async fn soaking(db: &AnyPool, id: i64, user: i64, name: &str) -> sqlx::Result<String> {
    let new = person::name(name);
    sqlx::query("INSERT INTO people (id, user_id, name, name_ct) VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(Owner(user))
        .bind(new.twin())
        .bind(new.sealed())
        .execute(db)
        .await?;
    let sql = "SELECT id, user_id, name, name_ct FROM people WHERE id = $1";
    let read: Person = sqlx::query_as(sql).bind(id).fetch_one(db).await?;
    Ok(read.name.expose_secret().clone())
}

async fn encrypted(db: &AnyPool, id: i64, user: i64, name: &str) -> sqlx::Result<String> {
    sqlx::query("INSERT INTO people (id, user_id, name_ct) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(Owner(user))
        .bind(encrypted::name(name))
        .execute(db)
        .await?;
    let sql = "SELECT id, user_id, name_ct FROM people WHERE id = $1";
    let read: EncryptedPerson = sqlx::query_as(sql).bind(id).fetch_one(db).await?;
    Ok(read.name.expose_secret().clone())
}
