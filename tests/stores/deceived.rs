//! Whoever writes rows gets nothing past the write fence: in a session of its own, nor, on PostgreSQL, by tables, functions and
//! operators of its own.

use ophie_crypt::{CanonicalId, Session};

use crate::{
    fence::{ADA, BEN, Fenced, assert_refused, note},
    world::{Database, Kind},
};

/// As an application would: bound by its session, and the row found by its key alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_by_primary_key_in_another_owners_session_is_kept_out() {
    macro_rules! refused {
        ($kind:ident, $database:ident, $update:literal) => {{
            let fenced = Fenced::new(Kind::$kind).await;
            let adas = fenced.sealed(&fenced.ada);
            fenced.insert(1, ADA, &adas).await.unwrap();
            fenced.insert(2, BEN, "NULL").await.unwrap();
            let Database::$database(database) = &fenced.database else {
                unreachable!("its kind says so")
            };
            let update = async |session: &Session, id: i64| {
                let updated = session.scope(async {
                    sqlx::query($update)
                        .bind(note::text("mine"))
                        .bind(id)
                        .execute(database.pool())
                        .await
                });
                updated
                    .await
                    .map(|done| assert_eq!(done.rows_affected(), 1))
            };
            assert_refused(update(&fenced.ben, 1).await);
            update(&fenced.ben, 2).await.unwrap();
            update(&fenced.ada, 1).await.unwrap();
        }};
    }
    refused!(
        SqlxPostgres,
        Postgres,
        "UPDATE notes SET text = $1 WHERE id = $2"
    );
    refused!(
        SqlxMariaDb,
        MariaDb,
        "UPDATE notes SET text = ? WHERE id = ?"
    );
}

/// Whoever may write rows may make temporary tables, and PostgreSQL finds these first unless it is told not to.
#[tokio::test]
async fn temporary_tables_of_keys_deceive_no_fence() {
    let fenced = Fenced::new(Kind::SqlxPostgres).await;
    let forged = fenced.literal(&[0xfa; 60]);
    let sql = format!(
        "CREATE TEMPORARY TABLE ophie_crypt_deks AS SELECT {} AS owner, substr({forged}, 2, 16) AS key_id, 'sealing' AS state; \
         INSERT INTO notes (id, user_id, text) VALUES (1, {ADA}, {forged})",
        fenced.literal(CanonicalId::integer(ADA).as_bytes()),
    );
    assert_refused(fenced.run(&sql).await);
}

/// Whoever has a schema of its own decides by a path what names and operators mean, but not in the fence.
#[tokio::test]
async fn a_path_to_other_tables_functions_and_operators_deceives_no_fence() {
    let fenced = Fenced::new(Kind::SqlxPostgres).await;
    fenced.insert(1, ADA, "NULL").await.unwrap();
    let (forged, id) = (fenced.literal(&[0xfa; 60]), fenced.literal(&[0xfa; 16]));
    let own = note::text("x").seal(&fenced.ada).unwrap().into_bytes();
    let mut marked = own.clone();
    marked[0] = 0xf9;
    let doubled = |literal: &str| literal.replace('\'', "''");
    let owner = CanonicalId::integer(ADA);
    let owner = fenced.literal(owner.as_bytes());
    let schema = format!(
        "CREATE SCHEMA hers; \
         CREATE TABLE hers.ophie_crypt_deks AS SELECT {owner} AS owner, {id} AS key_id, 'sealing' AS state; \
         CREATE TABLE hers.ophie_crypt_index_keys AS SELECT {owner} AS owner, 250 AS generation, 'writing' AS state; \
         CREATE FUNCTION hers.same(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
         CREATE FUNCTION hers.same(bigint, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
         CREATE FUNCTION hers.same(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
         CREATE FUNCTION hers.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
         CREATE OPERATOR hers.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = hers.same); \
         CREATE OPERATOR hers.= (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = hers.same); \
         CREATE OPERATOR hers.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = hers.same); \
         CREATE OPERATOR hers.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hers.same); \
         CREATE OPERATOR hers.>= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = hers.same); \
         CREATE OPERATOR hers.<= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = hers.same); \
         CREATE OPERATOR hers.>= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = hers.same); \
         CREATE OPERATOR hers.|| (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = byteacat); \
         CREATE FUNCTION hers.substr(bytea, integer, integer) RETURNS bytea LANGUAGE sql AS 'SELECT CASE $3 WHEN 1 THEN {first} ELSE {adas} END'; \
         CREATE FUNCTION hers.octet_length(bytea) RETURNS integer LANGUAGE sql AS 'SELECT 60'; \
         CREATE FUNCTION hers.int8send(bigint) RETURNS bytea LANGUAGE sql AS 'SELECT pg_catalog.int8send({BEN})'; \
         CREATE FUNCTION hers.get_byte(bytea, integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';",
        first = doubled(&fenced.literal(&[0xfa])),
        adas = doubled(&fenced.literal(&own[1..17])),
    );
    fenced.run(&schema).await.unwrap();
    let foreign = fenced.sealed(&fenced.ben);
    let (short, marked) = (fenced.literal(&own[..44]), fenced.literal(&marked));
    for written in [
        format!("INSERT INTO public.notes (id, user_id, text) VALUES (2, {ADA}, {short})"),
        format!("INSERT INTO public.notes (id, user_id, text) VALUES (2, {ADA}, {marked})"),
        format!("INSERT INTO public.notes (id, user_id, text) VALUES (2, {ADA}, {forged})"),
        format!("INSERT INTO public.notes (id, user_id, text) VALUES (2, {ADA}, {foreign})"),
        format!("UPDATE public.notes SET text = {forged}"),
        format!(
            "UPDATE public.notes SET text_fp = {}",
            fenced.literal(&[0xfa; 17])
        ),
        format!(
            "UPDATE public.notes SET text_fp = {}",
            fenced.literal(&[0xfa; 16])
        ),
    ] {
        assert_refused(
            fenced
                .run(&format!(
                    "SET LOCAL search_path = hers, pg_catalog, public; {written}"
                ))
                .await,
        );
    }
}
