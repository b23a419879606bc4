//! Names and owners in statements.

use ophie_crypt::{CanonicalId, ModelError};

use super::sql::{owned, quoted};
use crate::{Dialect, Statement};

#[test]
fn a_name_stays_a_name() {
    assert_eq!(quoted(Dialect::Postgres, "notes"), "\"notes\"");
    assert_eq!(quoted(Dialect::Postgres, "app.notes"), "\"app\".\"notes\"");
    assert_eq!(quoted(Dialect::Sqlite, "a\"; --"), "\"a\"\"; --\"");
    assert_eq!(quoted(Dialect::MySql, "a`b"), "`a``b`");
}

#[test]
fn an_owner_is_found_in_the_column_of_its_type() {
    let text = |dialect, owner: &CanonicalId| {
        let mut statement = Statement::new(dialect, "");
        owned(&mut statement, "o", owner).map(|()| statement.into_parts().0)
    };
    let uuid = CanonicalId::uuid(&[0xab; 16]);
    for (dialect, owner, expected) in [
        (Dialect::Postgres, CanonicalId::integer(7), "o = $1"),
        (
            Dialect::MySql,
            CanonicalId::text("ada"),
            "(o = ? AND CAST(convert(o USING utf8mb4) AS BINARY) = CAST(convert(? USING utf8mb4) AS BINARY))",
        ),
        (Dialect::Postgres, uuid.clone(), "o = CAST($1 AS uuid)"),
        (Dialect::Sqlite, uuid, "(o = ?1 OR o = ?2)"),
    ] {
        assert_eq!(text(dialect, &owner).expect("an owner"), expected);
    }
    for damaged in [&b""[..], b"x1", b"i1", b"u1", b"t\xff"] {
        let refused = text(Dialect::Sqlite, &CanonicalId::from_bytes(damaged));
        assert!(
            matches!(refused, Err(ModelError::NotAnOwner)),
            "{damaged:?}"
        );
    }
}
