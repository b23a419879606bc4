//! Finding: equality and lists of fingerprints, joins, associations, plain SQL.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Binary},
};
use ophie_crypt_diesel::{BlindIndex, Ciphertext, Encrypted, Owner, Sealed};

use super::{
    models::{
        Mention, PersonLink, User, mention, mentions, people_links, person_link, user, users,
    },
    world::{ALICE, World},
};

fn found(links: Vec<PersonLink>) -> Vec<String> {
    links
        .iter()
        .map(|link| link.name.expose_secret().clone())
        .collect()
}

async fn family() -> World {
    let mut world = World::new().await;
    for name in ["Mom", "Dad", "Eve"] {
        world.link(name);
    }
    world
}

/// Two quotes of the first link, one of the second, none of the third.
fn mention_two(world: &mut World) -> QueryResult<()> {
    for (link, quote) in [(1, "hello"), (1, "good night"), (2, "well")] {
        diesel::insert_into(mentions::table)
            .values((
                mentions::user_id.eq(Owner(ALICE)),
                mentions::link_id.eq(link),
                mentions::quote.eq(mention::quote(quote)),
            ))
            .execute(&mut world.db)?;
    }
    Ok(())
}

#[tokio::test]
async fn fingerprints_are_compared() {
    let mut world = family().await;
    let alice = world.alice.clone();
    let run = || {
        let table = || people_links::table.order(people_links::id);
        let of = |name| person_link::name_fp(name);
        let equal = table()
            .filter(people_links::user_id.eq(Owner(ALICE)))
            .filter(people_links::name_fp.eq(of("  mom ")?));
        assert_eq!(found(equal.load(&mut world.db)?), ["Mom"]);
        let unequal = table().filter(people_links::name_fp.ne(of("mom")?));
        assert_eq!(found(unequal.load(&mut world.db)?), ["Dad", "Eve"]);
        let any = table().filter(people_links::name_fp.eq_any(vec![of("dad")?, of("mom")?]));
        assert_eq!(found(any.load(&mut world.db)?), ["Mom", "Dad"]);
        let other = table().filter(people_links::name_fp.ne_all([of("dad")?, of("mom")?]));
        assert_eq!(found(other.load(&mut world.db)?), ["Eve"]);
        let none =
            table().filter(people_links::name_fp.eq_any(Vec::<BlindIndex<String, _>>::new()));
        assert_eq!(found(none.load(&mut world.db)?).len(), 0);
        // Boxed, as queries are that grow by conditions.
        let boxed = people_links::table.into_boxed();
        let boxed = boxed.filter(people_links::name_fp.eq(of("eve")?));
        assert_eq!(found(boxed.load(&mut world.db)?), ["Eve"]);
        QueryResult::Ok(())
    };
    alice.scope_sync(run).unwrap();
}

#[tokio::test]
async fn equal_values_have_unequal_ciphertexts() {
    let mut world = family().await;
    let alice = world.alice.clone();
    let run = || {
        people_links::table
            .filter(people_links::name.eq(person_link::name("Mom")))
            .count()
            .get_result::<i64>(&mut world.db)
    };
    assert_eq!(alice.scope_sync(run), Ok(0));
}

#[tokio::test]
async fn a_table_joins_itself_on_fingerprints() {
    let mut world = family().await;
    let other = diesel::alias!(people_links as other);
    let alice = world.alice.clone();
    let run = || {
        people_links::table
            .inner_join(other.on(people_links::name_fp.eq(other.field(people_links::name_fp))))
            .order(people_links::id)
            .select((people_links::name, other.field(people_links::name)))
            .load::<(
                Encrypted<String, person_link::name>,
                Encrypted<String, person_link::name>,
            )>(&mut world.db)
    };
    let pairs = alice.scope_sync(run).unwrap();
    assert_eq!(pairs.len(), 3);
    for (left, right) in pairs {
        assert_eq!(left.expose_secret(), right.expose_secret());
    }
}

#[tokio::test]
async fn an_inner_join_reads_both_models() {
    let mut world = family().await;
    let alice = world.alice.clone();
    let run = || {
        mention_two(&mut world)?;
        mentions::table
            .inner_join(people_links::table)
            .order(mentions::id)
            .select((Mention::as_select(), PersonLink::as_select()))
            .load::<(Mention, PersonLink)>(&mut world.db)
    };
    let rows = alice.scope_sync(run).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|(mention, link)| {
            (
                mention.quote.expose_secret().as_str(),
                link.name.expose_secret().as_str(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [("hello", "Mom"), ("good night", "Mom"), ("well", "Dad")]
    );
}

#[tokio::test]
async fn a_left_join_reads_missing_rows_as_none() {
    type Columns = (
        i64,
        Option<Owner<i64>>,
        Option<Encrypted<String, mention::quote>>,
        Option<Sealed<String, mention::quote>>,
    );
    let mut world = family().await;
    let alice = world.alice.clone();
    let run = || {
        mention_two(&mut world)?;
        let models = people_links::table
            .left_join(mentions::table)
            .order((people_links::id, mentions::id))
            .select((PersonLink::as_select(), Option::<Mention>::as_select()))
            .load::<(PersonLink, Option<Mention>)>(&mut world.db)?;
        let quotes: Vec<_> = models
            .iter()
            .map(|(_, mention)| {
                mention
                    .as_ref()
                    .map(|mention| mention.quote.expose_secret().as_str())
            })
            .collect();
        assert_eq!(
            quotes,
            [Some("hello"), Some("good night"), Some("well"), None]
        );

        let columns = people_links::table
            .left_join(mentions::table)
            .order((people_links::id, mentions::id))
            .select((
                people_links::id,
                mentions::user_id.nullable(),
                mentions::quote.nullable(),
                mentions::quote.nullable(),
            ))
            .load::<Columns>(&mut world.db)?;
        assert_eq!(columns.len(), 4);
        for (id, owner, quote, sealed) in columns {
            assert_eq!(owner, (id != 3).then_some(Owner(ALICE)));
            assert_eq!(quote.is_some(), id != 3);
            assert_eq!(sealed.is_some(), id != 3);
        }
        QueryResult::Ok(())
    };
    alice.scope_sync(run).unwrap();
}

#[tokio::test]
async fn associations_group_children_by_their_parents() {
    let mut world = family().await;
    let alice = world.alice.clone();
    let run = || {
        mention_two(&mut world)?;
        let ada = User {
            id: Owner(ALICE),
            name: user::name("Ada"),
        };
        diesel::insert_into(users::table)
            .values(&ada)
            .execute(&mut world.db)?;
        // The foreign key is the owner itself.
        let links: Vec<PersonLink> = PersonLink::belonging_to(&ada)
            .order(people_links::id)
            .load(&mut world.db)?;
        let users = vec![ada];
        let per_user = PersonLink::belonging_to(&users)
            .load::<PersonLink>(&mut world.db)?
            .grouped_by(&users);
        assert_eq!(per_user[0].len(), 3);

        let quotes = Mention::belonging_to(&links)
            .select(Mention::as_select())
            .load(&mut world.db)?
            .grouped_by(&links);
        assert_eq!(quotes.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(quotes[1][0].quote.expose_secret(), "well");
        let joined: i64 = users::table
            .inner_join(people_links::table)
            .count()
            .get_result(&mut world.db)?;
        assert_eq!(joined, 3);
        QueryResult::Ok(())
    };
    alice.scope_sync(run).unwrap();
}

#[tokio::test]
async fn plain_sql_is_bound_and_read_by_name() {
    let mut world = family().await;
    let alice = world.alice.clone();
    let run = || {
        let insert =
            r#"INSERT INTO people_links (user_id, "call", name, name_fp) VALUES ($1, $2, $3, $4)"#;
        let added = diesel::sql_query(crate::sql(insert))
            .bind::<BigInt, _>(Owner(ALICE))
            .bind::<BigInt, _>(1)
            .bind::<Ciphertext<person_link::name>, _>(person_link::name("Zoe"))
            .bind::<Binary, _>(person_link::name_fp("Zoe")?)
            .execute(&mut world.db)?;
        assert_eq!(added, 1);
        let select = "SELECT * FROM people_links WHERE user_id = $1 AND name_fp = $2";
        diesel::sql_query(crate::sql(select))
            .bind::<BigInt, _>(Owner(ALICE))
            .bind::<Ciphertext<person_link::name_fp>, _>(person_link::name_fp("zoe")?)
            .load::<PersonLink>(&mut world.db)
    };
    assert_eq!(found(alice.scope_sync(run).unwrap()), ["Zoe"]);
}

#[tokio::test]
async fn rows_are_read_one_by_one() {
    let mut world = family().await;
    let alice = world.alice.clone();
    let run = || {
        let rows =
            people_links::table
                .order(people_links::id)
                .load_iter::<PersonLink, diesel::connection::DefaultLoadingMode>(&mut world.db)?;
        rows.collect::<QueryResult<Vec<_>>>()
    };
    assert_eq!(found(alice.scope_sync(run).unwrap()), ["Mom", "Dad", "Eve"]);
}
