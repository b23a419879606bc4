//! Owner columns: what MariaDB takes for equal and gives back otherwise is not the session's owner.

use ophie_crypt::{Error, OwnerError};
use ophie_crypt_sqlx::{Encrypted, Owner};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::paths::{
    models::{NAME, person_link},
    world::{ALICE, BOB, PURPOSE, World, ours},
};

type Name = Encrypted<String, person_link::name>;

/// With a table `rows` whose owner has the given column type.
async fn with_owners(ty: &str) -> World {
    let world = World::new().await;
    let create = format!("CREATE TABLE owned (owner {ty}, name BLOB)");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(world.pool())
        .await
        .unwrap_or_else(|error| panic!("{ty}: {error}"));
    world
}

/// One row of the owner, in a session of the owner's.
async fn add(world: &World, owner: &str) {
    let session = world
        .keyring
        .open_or_provision(owner, PURPOSE)
        .await
        .unwrap();
    let insert = async {
        sqlx::query("INSERT INTO owned VALUES (?, ?)")
            .bind(Owner(owner.to_owned()))
            .bind(person_link::name("Mom"))
            .execute(world.pool())
            .await
    };
    session.scope(insert).await.unwrap();
}

/// The rows that the database takes for the owner's, read in a session of the owner's.
async fn rows(world: &World, owner: &str) -> Result<Vec<(Owner<String>, Name)>, sqlx::Error> {
    let session = world
        .keyring
        .open_or_provision(owner, PURPOSE)
        .await
        .unwrap();
    let select = async {
        sqlx::query_as("SELECT owner, name FROM owned WHERE owner = ?")
            .bind(Owner(owner.to_owned()))
            .fetch_all(world.pool())
            .await
    };
    session.scope(select).await
}

#[tokio::test]
async fn a_collation_that_knows_no_case_gives_no_other_owners_rows() {
    for collation in [
        "utf8mb4_general_ci",
        "utf8mb4_unicode_ci",
        "latin1_swedish_ci",
    ] {
        let charset = collation.split('_').next().expect("a name");
        let ty = format!("VARCHAR(20) CHARACTER SET {charset} COLLATE {collation}");
        let world = with_owners(&ty).await;
        add(&world, "ada").await;
        for other in ["Ada", "ADA", "äda", "ada "] {
            // What the database does: it finds her row, with case, accents and spaces left out.
            let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM owned WHERE owner = ?")
                .bind(other)
                .fetch_one(world.pool())
                .await
                .unwrap();
            assert_eq!(
                found,
                i64::from(collation != "latin1_swedish_ci" || other != "äda"),
                "{other}"
            );
            if found == 1 {
                assert_eq!(
                    ours(rows(&world, other).await),
                    Error::Owner(OwnerError::OtherOwner)
                );
            }
        }
        assert_eq!(rows(&world, "ada").await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_binary_collation_without_padding_tells_owners_apart() {
    let world = with_owners("VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin").await;
    for owner in ["ada", "Ada", "äda", "ada "] {
        add(&world, owner).await;
    }
    for owner in ["ada", "Ada", "äda", "ada "] {
        assert_eq!(rows(&world, owner).await.unwrap().len(), 1, "{owner}");
    }
}

/// `CHAR(n)` takes spaces from the end: the row passes for another owner's, whose key opens nothing in it.
#[tokio::test]
async fn char_loses_spaces_but_no_value() {
    let world = with_owners("CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin").await;
    add(&world, "ada ").await;
    assert_eq!(
        ours(rows(&world, "ada").await),
        Error::Open(ophie_crypt::OpenError::UnknownKey { column: NAME })
    );
    assert_eq!(rows(&world, "ada ").await.unwrap().len(), 0);
    add(&world, "ben").await;
    assert_eq!(rows(&world, "ben").await.unwrap().len(), 1);
}

/// SQLx's `Uuid` is sixteen bytes. A column of text takes them only by chance, and gives none back.
#[tokio::test]
async fn a_uuid_is_binary() {
    let read = async |world: &World| {
        let read =
            sqlx::query_scalar::<_, Owner<Uuid>>("SELECT owner FROM owned").fetch_one(world.pool());
        world.alice.scope(read).await
    };
    let write = async |world: &World| {
        let write = async {
            let insert = sqlx::query("INSERT INTO owned VALUES (?, ?)").bind(Owner(ALICE));
            insert
                .bind(person_link::name("Mom"))
                .execute(world.pool())
                .await
        };
        world.alice.scope(write).await
    };
    for ty in ["BINARY(16)", "VARBINARY(16)"] {
        let world = with_owners(ty).await;
        write(&world).await.unwrap();
        assert_eq!(read(&world).await.unwrap(), Owner(ALICE), "{ty}");
        let bobs = sqlx::query("UPDATE owned SET owner = ?")
            .bind(BOB)
            .execute(world.pool());
        bobs.await.unwrap();
        assert_eq!(
            ours(read(&world).await),
            Error::Owner(OwnerError::OtherOwner),
            "{ty}"
        );
    }

    let world = with_owners("CHAR(36) CHARACTER SET utf8mb4").await;
    write(&world).await.unwrap_err();
    // MariaDB's own type takes sixteen bytes for a UUID, but gives a text back.
    for ty in ["CHAR(36) CHARACTER SET utf8mb4", "UUID"] {
        let world = with_owners(ty).await;
        let text = sqlx::query("INSERT INTO owned (owner) VALUES (?)").bind(ALICE.to_string());
        text.execute(world.pool()).await.unwrap();
        let error = read(&world).await.unwrap_err();
        assert!(
            matches!(error, sqlx::Error::ColumnDecode { .. }),
            "{ty}: {error:?}"
        );
        let error = error.to_string();
        assert!(
            error.contains("binary format for MySQL/MariaDB"),
            "{ty}: {error}"
        );
    }
}

#[tokio::test]
async fn an_integer_owner_needs_a_signed_column() {
    for (ty, fits) in [
        ("BIGINT", true),
        ("INT", true),
        ("BIGINT UNSIGNED", false),
        ("DECIMAL(20)", false),
    ] {
        let world = with_owners(ty).await;
        let session = world
            .keyring
            .open_or_provision(&7_i64, PURPOSE)
            .await
            .unwrap();
        let run = async {
            let insert = sqlx::query("INSERT INTO owned (owner) VALUES (?)").bind(Owner(7_i64));
            insert.execute(world.pool()).await.unwrap();
            let read = sqlx::query_scalar::<_, Owner<i64>>("SELECT owner FROM owned");
            read.fetch_one(world.pool()).await
        };
        match session.scope(run).await {
            Ok(owner) => assert!(fits && owner == Owner(7), "{ty}: {owner:?}"),
            Err(error) => {
                assert!(
                    !fits && error.to_string().contains("mismatched types"),
                    "{ty}: {error}"
                );
            }
        }
    }
}
