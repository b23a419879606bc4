//! The triggers of a column in a soak, and values of every type, on every database.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use ophie_crypt::{EncryptedModel, Json, ModelInfo, Models, soak::SoakState};
use ophie_crypt_sqlx::{Owner, Soak};

use crate::{
    soaking::{ADA, BEN, COLUMN, Soaking, TABLE, is_mariadb, is_postgres},
    world::Kind,
};

every_database!(
    the_guard_keeps_ciphertext_beside_its_plaintext,
    shapes_that_a_state_forbids_are_refused,
    plaintext_of_the_shredded_is_refused,
    what_is_left_of_plaintext_keeps_its_ciphertext,
    values_of_every_type_go_and_come_back,
);

async fn the_guard_keeps_ciphertext_beside_its_plaintext(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::DualWrite).await;
    let sealed = soaking.sealed("Mom");
    let fp = soaking.literal(&[1; 17]);
    let whole = format!(
        "INSERT INTO people (id, user_id, name, name_ct, name_fp) VALUES (1, {ADA}, 'Mom', {sealed}, {fp})"
    );
    soaking.run(&whole).await.unwrap();
    let beside = "name_ct IS NOT NULL AND name_fp IS NOT NULL";
    // A collation may take the first for the same.
    for (change, stays) in [
        ("name = 'mom'", false),
        ("name = 'Mom '", false),
        ("name = NULL", false),
        ("name = ''", false),
        ("user_id = 8", false),
        ("name = 'Mom'", true),
        ("user_id = 7", true),
    ] {
        soaking.run("DELETE FROM people").await.unwrap();
        soaking.run(&whole).await.unwrap();
        soaking
            .run(&format!("UPDATE people SET {change}"))
            .await
            .unwrap();
        assert_eq!(soaking.count(beside).await, i64::from(stays), "{change}");
    }
    // Who changes both is believed. A fingerprint that was forgotten then is none of this value, and is filled again; and it
    // never stands without ciphertext.
    let (dad, ben) = (soaking.sealed("Dad"), soaking.sealed("Ben"));
    let other = soaking.literal(&[2; 17]);
    for (change, stays) in [
        (format!("name = 'Dad', name_ct = {dad}"), false),
        (format!("name_fp = {fp}"), true),
        (
            format!("name = 'Ben', name_ct = {ben}, name_fp = {other}"),
            true,
        ),
        (format!("name_ct = {}", soaking.sealed("Ben")), true),
    ] {
        soaking
            .run(&format!("UPDATE people SET {change}"))
            .await
            .unwrap();
        assert_eq!(soaking.count(beside).await, i64::from(stays), "{change}");
        assert_eq!(soaking.count("name_ct IS NOT NULL").await, 1, "{change}");
    }
    soaking
        .run("UPDATE people SET name_ct = NULL")
        .await
        .unwrap();
    assert_eq!(soaking.count("name_fp IS NULL").await, 1);
    let stray =
        format!("INSERT INTO people (id, user_id, name, name_fp) VALUES (2, {ADA}, 'Mom', {fp})");
    soaking.run(&stray).await.unwrap();
    assert_eq!(soaking.count("name_fp IS NULL").await, 2);
    // No bytes but envelopes.
    let short = soaking.literal(b"no envelope");
    let text = soaking.literal(&[b'a'; 60]);
    for bytes in [short, text] {
        let refused = soaking
            .run(&format!("UPDATE people SET name_ct = {bytes}"))
            .await;
        assert!(refused.is_err(), "{bytes}");
    }
}

async fn shapes_that_a_state_forbids_are_refused(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    let mut id = 0;
    let mut state = SoakState::Expand;
    soaking.until(state).await;
    loop {
        let sealed = soaking.sealed("Mom");
        let mut admits = async |name: &str, sealed: &str| {
            id += 1;
            let sql = format!(
                "INSERT INTO people (id, user_id, name, name_ct) VALUES ({id}, {ADA}, {name}, {sealed})"
            );
            soaking.run(&sql).await.is_ok()
        };
        let retired = state == SoakState::Retired;
        assert_eq!(admits("'Mom'", &sealed).await, !retired, "both in {state}");
        let twinless = admits("NULL", &sealed).await;
        assert_eq!(twinless, retired, "ciphertext in {state}");
        assert!(admits("NULL", "NULL").await, "NULL in {state}");
        assert_eq!(
            admits("'Mom'", "NULL").await,
            !retired,
            "an old binary in {state}"
        );
        if state > SoakState::DualWrite && !retired {
            let admitted = soaking.soaker.admit_old_binaries(TABLE, COLUMN, false);
            admitted.await.unwrap();
            assert!(!admits("'Mom'", "NULL").await, "no old binary in {state}");
            // Who goes by `Retired` yet, on the way back; to old binaries it would be NULL.
            let twinless = admits("NULL", &sealed).await;
            assert_eq!(
                twinless,
                state == SoakState::Sealed,
                "ciphertext in {state}"
            );
            let alone = soaking
                .run("UPDATE people SET name = 'x' WHERE name_ct IS NOT NULL AND name IS NOT NULL");
            assert!(alone.await.is_err(), "no old binary in {state}");
            // Or they would find rows without plaintext.
            soaking.run("DELETE FROM people").await.unwrap();
            soaking.watch.beat().await.unwrap();
            soaking.soaker.verify(TABLE, COLUMN).await.unwrap();
            let admitted = soaking.soaker.admit_old_binaries(TABLE, COLUMN, true);
            admitted.await.unwrap();
        }
        let Some(next) = state.next().filter(|_| !retired) else {
            break;
        };
        soaking.run("DELETE FROM people").await.unwrap();
        soaking.pass(next).await;
        if next == SoakState::Retired {
            // Until then, what a process writes that does not know yet is admitted.
            soaking.watch.beat().await.unwrap();
            soaking.soaker.null_out(TABLE, COLUMN).await.unwrap();
        }
        state = next;
    }
    // What stands in a retired row may stay and be emptied, and its other columns may change.
    soaking
        .run("UPDATE people SET user_id = user_id")
        .await
        .unwrap();
}

async fn plaintext_of_the_shredded_is_refused(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.insert(2, BEN, "'Ben'").await.unwrap();
    soaking.until(SoakState::Backfill).await;
    soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    let shred = soaking.keyring.shred(&ADA);
    shred.await.unwrap();
    let ada = ophie_crypt::CanonicalId::integer(ADA);
    soaking.models.bury(&ada).await.unwrap();
    soaking.models.tombstone(&ada, TABLE, 100).await.unwrap();
    assert_eq!(
        soaking
            .count("id = 1 AND name IS NULL AND name_ct IS NULL AND name_fp IS NULL")
            .await,
        1
    );
    let late = soaking.insert(3, ADA, "'late'").await;
    assert!(late.is_err(), "a new row");
    let late = soaking
        .run("UPDATE people SET name = 'late' WHERE id = 1")
        .await;
    assert!(late.is_err(), "an old one");
    soaking
        .run("UPDATE people SET name = 'Benjamin' WHERE id = 2")
        .await
        .unwrap();
    let done = soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    assert_eq!((done.written, done.pending), (1, 0));
}

/// Statements that were bound in `Expand`, or by a hand: what is left in a retired row is emptied, or stays beside its own.
async fn what_is_left_of_plaintext_keeps_its_ciphertext(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.insert(2, ADA, "'Dad'").await.unwrap();
    soaking.until(SoakState::Retired).await;
    for closed in [false, true] {
        if closed {
            let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
            assert!(soaking.models.close(&soaking.soak, &row).await.unwrap());
        }
        for late in [
            "name = 'Mom', name_ct = NULL",
            "name_ct = NULL",
            "user_id = 8",
        ] {
            let late = format!("UPDATE people SET {late} WHERE id = 1");
            assert!(soaking.run(&late).await.is_err(), "{late}, {closed}");
        }
        let admitted = "UPDATE people SET name_fp = NULL, user_id = 7 WHERE id = 1";
        soaking.run(admitted).await.unwrap();
    }
    // With the plaintext, both may go; a row in which they do already changes as it likes.
    let both = "UPDATE people SET name = NULL, name_ct = NULL, user_id = 8 WHERE id = 2";
    soaking.run(both).await.unwrap();
    assert_eq!(soaking.soaker.null_out(TABLE, COLUMN).await.unwrap(), 1);
    let left = "name IS NULL AND user_id = 7 AND name_ct IS NOT NULL";
    assert_eq!(soaking.count(left).await, 1);
}

#[derive(EncryptedModel)]
#[crypt(table = "kinds")]
struct Kinds {
    user_id: Owner<i64>,
    #[crypt(column = "bytes_ct", soak(twin = "bytes"))]
    bytes: Soak<Option<Vec<u8>>, kinds::bytes>,
    #[crypt(column = "number_ct", soak(twin = "number"))]
    number: Soak<Option<i64>, kinds::number>,
    #[crypt(column = "yes_ct", soak(twin = "yes"))]
    yes: Soak<Option<bool>, kinds::yes>,
    #[crypt(column = "uid_ct", soak(twin = "uid"))]
    uid: Soak<Option<uuid::Uuid>, kinds::uid>,
    #[crypt(column = "doc_ct", soak(twin = "doc"))]
    doc: Soak<Option<Json<serde_json::Value>>, kinds::doc>,
    #[crypt(column = "score_ct", soak(twin = "score"))]
    score: Soak<Option<f64>, kinds::score>,
}

const KINDS: ModelInfo = Kinds::MODEL;

async fn values_of_every_type_go_and_come_back(kind: Kind) {
    let (bytes, uid, doc, made) = match kind {
        _ if is_postgres(kind) => (
            "BYTEA",
            "UUID",
            "JSONB",
            "'00112233-4455-6677-8899-aabbccddeeff'",
        ),
        _ if is_mariadb(kind) => (
            "BLOB",
            "BINARY(16)",
            "JSON",
            "x'00112233445566778899aabbccddeeff'",
        ),
        _ => (
            "BLOB",
            "BLOB",
            "TEXT",
            "x'00112233445566778899aabbccddeeff'",
        ),
    };
    let table = format!(
        "CREATE TABLE kinds (id INT PRIMARY KEY, user_id BIGINT NOT NULL, bytes {bytes}, number BIGINT, yes BOOLEAN, uid {uid}, \
         doc {doc}, score DOUBLE PRECISION)"
    );
    // JSON's null is no NULL, and its "" is neither.
    let docs = [
        "'null'",
        r#"'""'"#,
        r#"'{"b": [1, null, "\u00e9"], "a": 0.1}'"#,
    ];
    // Of these, PostgreSQL alone gives the bytes.
    let scores = [
        "0.1",
        "'-0'",
        "'NaN'",
        "'-Infinity'",
        "5e-324",
        "1.7976931348623157e308",
    ];
    for (column, values) in [
        ("bytes", ["bytes"].as_slice()),
        ("number", &["-9007199254740993"]),
        ("yes", &["TRUE", "FALSE"]),
        ("uid", &[made]),
        ("doc", &docs),
        ("score", &scores),
    ] {
        let sealed = format!("{column}_ct");
        let models = Models::new().with::<Kinds>();
        let soaking = Soaking::of(kind, models, KINDS.table(), &sealed, &table).await;
        if column == "score" && !is_postgres(kind) {
            let expanded = soaking.soaker.expand("kinds", &sealed).await;
            assert!(expanded.is_err(), "its bytes are not those of the codec");
            continue;
        }
        let mut id = 0;
        let mut put = async |value: &str| {
            id += 1;
            let row =
                format!("INSERT INTO kinds (id, user_id, {column}) VALUES ({id}, {ADA}, {value})");
            soaking.run(&row).await.unwrap();
        };
        let bytes = soaking.literal(&[0, 255, b'\'']);
        let values: Vec<&str> = values
            .iter()
            .map(|value| if *value == "bytes" { &*bytes } else { value })
            .collect();
        for value in &values {
            put(value).await;
        }
        put("NULL").await;
        let count = i64::try_from(values.len()).unwrap();
        soaking.until(SoakState::Retired).await;
        let whole = format!("SELECT COUNT(*) FROM kinds WHERE {sealed} IS NOT NULL");
        assert_eq!(soaking.database.number(&whole).await, count, "{column}");
        soaking.soaker.null_out("kinds", &sealed).await.unwrap();
        let gone = format!("SELECT COUNT(*) FROM kinds WHERE {column} IS NULL");
        assert_eq!(soaking.database.number(&gone).await, count + 1);
        soaking
            .soaker
            .step("kinds", &sealed, SoakState::Sealed)
            .await
            .unwrap();
        let back = soaking.soaker.decrypt_back("kinds", &sealed).await;
        assert_eq!(i64::try_from(back.unwrap()).unwrap(), count, "{column}");
        for (id, value) in (1..).zip(values) {
            let same = match column {
                "score" => format!("float8send({column}) = float8send({value})"),
                _ => format!("{column} = {value}"),
            };
            let back = format!("SELECT COUNT(*) FROM kinds WHERE {same} AND id = {id}");
            assert_eq!(soaking.database.number(&back).await, 1, "{column}: {value}");
        }
        let null = format!("SELECT COUNT(*) FROM kinds WHERE {column} IS NULL");
        assert_eq!(soaking.database.number(&null).await, 1, "{column}");
    }
}
