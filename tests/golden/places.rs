//! The columns of the vectors as markers, and the public types that seal, open and compare by them.
//!
//! Invariant: a vector of a place that has no marker here is an error. Absent: keys, the vectors.

use ophie_crypt::{
    BoundColumn, CanonicalId, ColumnRef, Error, IndexColumn, Normalizer, NotAnEnvelope, OpenError,
    Session, Sidecar,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Sealed, find_error};
use sqlx::{Row, sqlite::SqliteRow};

use super::codecs::Shown;

/// What can be done at one place with one type.
pub(crate) struct Place<T> {
    pub(crate) seal: Seal<T>,
    pub(crate) open: Open,
}

type Seal<T> = fn(T, &Session, Option<&CanonicalId>) -> Vec<u8>;
/// The value in text.
type Open = fn(&[u8], &Session, Option<&CanonicalId>) -> Result<Option<String>, Error>;

macro_rules! places {
    ($($marker:ident: $table:literal . $column:literal = $of:expr;)+) => {
        $(
            enum $marker {}
            impl BoundColumn for $marker {
                const COLUMN: ColumnRef = $of;
            }
        )+

        pub(crate) const PLACES: &[(&str, &str)] = &[$(($table, $column)),+];

        pub(crate) fn place<T: Shown>(table: &str, column: &str) -> Place<T> {
            match (table, column) {
                $(($table, $column) => Place { seal: seal::<T, $marker>, open: open::<T, $marker> },)+
                _ => panic!("no marker for {table}.{column}"),
            }
        }

        /// The same for sidecars, whose text is what is stored.
        fn sidecar<T: Shown>(table: &str, column: &str) -> Place<T> {
            match (table, column) {
                $(($table, $column) => Place { seal: seal_sidecar::<T, $marker>, open: open_sidecar::<T, $marker> },)+
                _ => panic!("no marker for {table}.{column}"),
            }
        }
    };
}

/// At the place of a vector of this kind.
pub(crate) fn place_of<T: Shown>(what: &str, table: &str, column: &str) -> Place<T> {
    match what {
        "sidecar" => sidecar(table, column),
        _ => place(table, column),
    }
}

places! {
    Value: "memories"."value" = ColumnRef::new("memories", "value");
    Note: "memories"."note" = ColumnRef::new("memories", "note").with_padding(16);
    Dream: "dreams"."value" = ColumnRef::new("dreams", "value").with_padding(300);
    Renamed: "größen"."длина" = ColumnRef::new("sizes", "length").with_ids("größen", "длина");
    AbC: "ab"."c" = ColumnRef::new("ab", "c");
    ABc: "a"."bc" = ColumnRef::new("a", "bc");
}

fn seal<T: Shown, C: BoundColumn>(
    value: T,
    session: &Session,
    row: Option<&CanonicalId>,
) -> Vec<u8> {
    let value = Encrypted::<T, C>::new(value);
    let sealed = match row {
        None => value.seal(session),
        Some(row) => value.seal_row(session, row),
    };
    sealed.unwrap().into_bytes()
}

fn open<T: Shown, C: BoundColumn>(
    stored: &[u8],
    session: &Session,
    row: Option<&CanonicalId>,
) -> Result<Option<String>, Error> {
    let sealed = Sealed::<T, C>::from_bytes(stored);
    let opened = match row {
        None => sealed.open(session),
        Some(row) => sealed.open_row(session, row),
    };
    match opened {
        Ok(value) => Ok(value.expose_secret().show()),
        Err(error) => Err(error.get().clone()),
    }
}

fn seal_sidecar<T: Shown, C: BoundColumn>(
    value: T,
    session: &Session,
    row: Option<&CanonicalId>,
) -> Vec<u8> {
    let sealed = match row {
        None => Sidecar::<T, C>::seal(value, session),
        Some(row) => Sidecar::seal_row(value, session, row),
    };
    sealed.unwrap().as_str().into()
}

fn open_sidecar<T: Shown, C: BoundColumn>(
    stored: &[u8],
    session: &Session,
    row: Option<&CanonicalId>,
) -> Result<Option<String>, Error> {
    let parsed = match core::str::from_utf8(stored) {
        Ok(text) => text.parse::<Sidecar<T, C>>(),
        Err(_) => "not UTF-8".parse(),
    };
    let refused = |reason: NotAnEnvelope| OpenError::NotAnEnvelope {
        column: C::COLUMN,
        reason,
    };
    let sidecar = parsed.map_err(refused)?;
    let opened = match row {
        None => sidecar.open(session),
        Some(row) => sidecar.open_row(session, row),
    };
    Ok(opened?.expose_secret().show())
}

/// What can be done with one type at one index.
pub(crate) struct Index<T> {
    pub(crate) make: fn(T, &Session) -> Vec<u8>,
    /// Whether the fingerprint in the row is the value's.
    pub(crate) compare: fn(T, &Session, &SqliteRow) -> Result<bool, Error>,
}

macro_rules! indexes {
    ($($exact:ident $name:ident $email:ident: $table:literal . $column:literal . $index:literal;)+) => {
        $(indexes!(@markers $table, $column, $index, $exact Exact, $name Name, $email Email);)+

        pub(crate) const INDEXES: &[(&str, &str, &str)] = &[$(($table, $column, $index)),+];

        pub(crate) fn index<T: Shown>(table: &str, column: &str, index: &str, normaliser: &str) -> Index<T> {
            match (table, column, index, normaliser) {
                $(
                    ($table, $column, $index, "exact/1") => Index { make: make::<T, $exact>, compare: compare::<T, $exact> },
                    ($table, $column, $index, "name/1") => Index { make: make::<T, $name>, compare: compare::<T, $name> },
                    ($table, $column, $index, "email/1") => Index { make: make::<T, $email>, compare: compare::<T, $email> },
                )+
                _ => panic!("no marker for {table}.{column}, {index}, {normaliser}"),
            }
        }
    };
    (@markers $table:literal, $column:literal, $index:literal, $($marker:ident $normalizer:ident),+) => {$(
        enum $marker {}
        impl BoundColumn for $marker {
            const COLUMN: ColumnRef = ColumnRef::new($table, $index);
        }
        impl IndexColumn for $marker {
            const OF: ColumnRef = ColumnRef::new($table, $column);
            const NORMALIZER: Normalizer = Normalizer::$normalizer;
        }
    )+};
}

indexes! {
    ByNameExact ByNameName ByNameEmail: "people_links"."name"."name_fp";
    ByName2Exact ByName2Name ByName2Email: "people_links"."name"."name_fp_2";
    NicknameExact NicknameName NicknameEmail: "people_links"."nickname"."name_fp";
    ContactExact ContactName ContactEmail: "contacts"."name"."name_fp";
}

fn make<T: Shown, C: IndexColumn>(value: T, session: &Session) -> Vec<u8> {
    let made = BlindIndex::<T, C>::of_in(session, value).unwrap();
    made.as_bytes().to_vec()
}

fn compare<T: Shown, C: IndexColumn>(
    value: T,
    session: &Session,
    row: &SqliteRow,
) -> Result<bool, Error> {
    let stored = match row.try_get::<BlindIndex<T, C>, _>(0) {
        Ok(stored) => stored,
        Err(error) => return Err(find_error(&error).expect("an error of ours").clone()),
    };
    Ok(stored == BlindIndex::of_in(session, value).unwrap())
}
