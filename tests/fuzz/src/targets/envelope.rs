//! The envelope's parser, and opening.
//!
//! Invariant: what is split is what stands there; of all bytes only those that were sealed open, and give what was
//! sealed; the others are refused for the reason that comes first in SPEC.md's order.

use std::sync::LazyLock;

use ophie_crypt::Envelope;

use crate::{
    forge::{self, FORMS, Place, padded, row_bound},
    golden::places::place_of,
    world::{reason, row, with_session},
};

const PLACE: Place<'_> = Place {
    table: "memories",
    column: "value",
    codec: "text",
};
const TEXT: &str = "slept badly";

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    SEALED.iter().cloned().collect()
}

/// One of each form, in their order.
static SEALED: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| FORMS.map(sealed));

fn sealed(form: u8) -> Vec<u8> {
    let padding = if padded(form) { "\u{80}\0\0\0\0" } else { "" };
    // U+0080 as one byte, which is no UTF-8.
    let padding = padding.chars().map(|c| u8::try_from(u32::from(c)).unwrap());
    let plaintext: Vec<u8> = TEXT.bytes().chain(padding).collect();
    forge::envelope(form, PLACE, &plaintext)
}

pub(crate) fn run(input: &[u8]) {
    parse(input);
    for bound in [false, true] {
        let open = place_of::<String>("value", PLACE.table, PLACE.column).open;
        let opened = with_session(|session| open(input, session, row(bound).as_ref()));
        let opened = opened.map_err(|error| reason(&error));
        assert_eq!(opened, expected(input, bound), "row-bound: {bound}");
    }
}

fn parse(input: &[u8]) {
    let parsed = Envelope::parse(input);
    let form = input.first().filter(|form| FORMS.contains(form));
    let Some(form) = form.filter(|_| input.len() >= 45) else {
        assert_eq!(parsed.map(|_| ()).unwrap_err().len(), input.len());
        return;
    };
    let envelope = parsed.unwrap();
    assert_eq!(envelope.key_id().as_bytes(), &input[1..17]);
    assert_eq!(envelope.plaintext_len(), input.len() - 45);
    assert_eq!(envelope.is_padded(), padded(*form));
    assert_eq!(envelope.is_row_bound(), row_bound(*form));
}

fn expected(input: &[u8], bound: bool) -> Result<Option<String>, &'static str> {
    let Some(sealed) = SEALED.iter().find(|sealed| input.first() == sealed.first()) else {
        return Err("not an envelope");
    };
    if input.len() < 45 {
        Err("not an envelope")
    } else if row_bound(sealed[0]) != bound {
        Err("row binding")
    } else if input[1..17] != sealed[1..17] {
        Err("unknown key")
    } else if input != *sealed {
        Err("rejected")
    } else {
        Ok(Some(format!("{TEXT:?}")))
    }
}
