//! What the adapters' hooks do for a field in a soak. Part of `adapter`.
//!
//! Invariant: without a state that is fresh and not below the release's floor, nothing is read or written.
//! Absent: ORMs, what is served (`join`).

use super::{
    SoakError, SoakState, SoakWatch,
    join::{Unserved, join},
};
use crate::{
    column::{BoundColumn, ColumnRef},
    error::{Error, OpenError},
    hazmat::aead::Nonce,
    plaintext::{Codec, PlainBuf, Plaintext},
    scope,
    session::Pinned,
};

/// The marker of a column in a soak. The derive writes it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the marker of a column in a soak",
    note = "write `#[crypt(column = \"..\", soak(twin = \"..\"))]` above the field of type `Soak<..>` in the model that declares it"
)]
pub trait SoakMarker: BoundColumn {
    /// The plaintext column.
    const TWIN: &'static str;
    /// The lowest state that the release accepts.
    const FLOOR: SoakState;
}

/// The two columns of a marker in Diesel's `table!`. The derive writes it, where it sees `#[diesel(table_name)]`.
pub trait SoakColumns: SoakMarker {
    /// The plaintext column.
    type Twin;
    /// The encrypted column.
    type Sealed;
}

/// The keys of the current session and the state of `C`.
fn current<C: SoakMarker>() -> Result<(Pinned, SoakWatch, SoakState), SoakError> {
    let (column, floor) = (C::COLUMN, C::FLOOR);
    let pinned = scope::current().map_err(|reason| SoakError::NoSession { column, reason })?;
    let watch = pinned.soaks().cloned();
    let watch = watch.ok_or(SoakError::NoWatch { column })?;
    let state = watch.state(&column).ok_or(SoakError::Stale { column })?;
    if state < floor {
        return Err(SoakError::BelowFloor {
            column,
            state,
            floor,
        });
    }
    Ok((pinned, watch, state))
}

/// Whether a session may write ciphertext without plaintext beside it, as releases do that know none of this column.
pub(crate) fn writes_alone(pinned: &Pinned, column: &ColumnRef) -> Result<(), SoakError> {
    match pinned.soaks() {
        Some(watch) => watch.writes_alone(column),
        None => Ok(()),
    }
}

/// The state by which the current session reads and writes `C`.
///
/// # Errors
///
/// [`SoakError`].
pub fn state<C: SoakMarker>() -> Result<SoakState, Error> {
    current::<C>()
        .map(|(_, _, state)| state)
        .map_err(Into::into)
}

/// Seals, if the state has ciphertext written.
///
/// # Errors
///
/// [`SoakError`], [`SealError`](crate::SealError).
pub fn seal<T: Plaintext, C: SoakMarker>(value: &T) -> Result<Option<Vec<u8>>, Error> {
    let (pinned, _, state) = current::<C>()?;
    if !state.writes_sealed() {
        return Ok(None);
    }
    pinned.spend(1, C::COLUMN)?;
    let sealed = pinned.keys().sealing(C::COLUMN, None, |sealer| {
        sealer.seal(sealer.encode(value)?, Nonce::make())
    })?;
    Ok(Some(sealed))
}

/// One value out of two columns; `wrap` owns a plaintext and wipes it, `look` lends it.
///
/// # Errors
///
/// [`SoakError`], [`OpenError`].
pub fn joined<T: Plaintext, C: SoakMarker, V>(
    twin: Option<V>,
    sealed: Option<Vec<u8>>,
    wrap: impl FnOnce(T) -> V,
    look: impl Fn(&V) -> &T,
) -> Result<Option<V>, Error> {
    let column = C::COLUMN;
    let (pinned, watch, state) = current::<C>()?;
    let open = |bytes: Vec<u8>| pinned.keys().open::<T>(column, None, &bytes).map(wrap);
    let joined = join(state, twin, sealed, open, |a, b| same(look(a), look(b)));
    if let Some(finding) = joined.finding {
        watch.count(&column, finding);
    }
    joined.value.map_err(|unserved| match unserved {
        Unserved::Failed(error) => error.into(),
        Unserved::Contradiction => SoakError::Contradiction { column }.into(),
    })
}

/// Fails for a NULL in a field that is no `Option`.
#[must_use]
pub fn null(column: ColumnRef) -> Error {
    OpenError::Null { column }.into()
}

/// Whether two values are the same to their codec.
fn same<T: Plaintext>(a: &T, b: &T) -> bool {
    let encoded = |value: &T| {
        let mut plain = PlainBuf::with_capacity(value.size_hint());
        value.encode(&mut plain).map(|()| plain)
    };
    match (encoded(a), encoded(b)) {
        (Ok(a), Ok(b)) => same_bytes(T::CODEC, a.as_slice(), b.as_slice()),
        _ => false,
    }
}

/// Equal bytes; of JSON, equal values, as it has no canonical form. Times, of which databases keep a part, do not soak.
pub(super) fn same_bytes(codec: Codec, a: &[u8], b: &[u8]) -> bool {
    a == b || (codec == Codec::JSON && same_json(a, b))
}

fn same_json(a: &[u8], b: &[u8]) -> bool {
    #[cfg(feature = "json")]
    {
        let read = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        read(a).is_some_and(|a| Some(a) == read(b))
    }
    #[cfg(not(feature = "json"))]
    {
        _ = (a, b); // no value of this codec is made without the feature
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_to_their_codec() {
        assert!(same(&String::from("a"), &String::from("a")));
        assert!(!same(&String::from("a"), &String::from("A")));
        assert!(!same(&String::new(), &String::from(" ")));
        assert!(same(&f64::NAN, &f64::NAN));
        assert!(!same(&0.0, &-0.0));
        assert!(same(&7_i64, &7) && !same(&7_i64, &8));
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_is_compared_by_value() {
        let json = |a: &str, b: &str| same_bytes(Codec::JSON, a.as_bytes(), b.as_bytes());
        assert!(json(r#"{"a":1,"b":null}"#, r#"{ "b": null, "a": 1 }"#));
        assert!(!json("null", "0") && !json("not JSON", "not JSON either"));
        assert!(!same_bytes(Codec::TEXT, b"{}", b"{ }"));
    }
}
