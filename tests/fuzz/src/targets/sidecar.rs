//! The text of sidecars.
//!
//! Invariant: a text is taken if and only if it is the one text of an envelope, by a decoder written from SPEC.md; it
//! stays the same text, by serde too; what is refused is quoted in no error.

use ophie_crypt::Sidecar;
use serde_json::Value;

use crate::{forge::FORMS, targets::told};

type Text = Sidecar<String>;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let vectors = crate::golden::vectors().into_iter();
    let sidecars = vectors.filter(|vector| vector.get("what") == Some("sidecar"));
    sidecars.map(|vector| vector.stored).collect()
}

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else {
        return;
    };
    let parsed = Text::from_text(text);
    let through_serde = serde_json::from_value::<Text>(Value::from(text));
    let Some(envelope) = envelope(input) else {
        let errors = [
            told(&parsed.unwrap_err()),
            told(&through_serde.unwrap_err()),
        ];
        // Its words may be those of the error, which says them of any text as long.
        let other = if text.starts_with('~') { "^" } else { "~" };
        let other = Text::from_text(other.repeat(text.len()));
        let said = told(&other.unwrap_err());
        for error in errors {
            let quoted = error.contains(text) && !said.contains(text);
            assert!(text.len() < 8 || !quoted, "{error}");
        }
        return;
    };
    let sidecar = parsed.unwrap();
    assert_eq!(sidecar.as_str(), text);
    assert_eq!(sidecar.key_id().as_bytes(), &envelope[1..17]);
    assert!(sidecar == through_serde.unwrap());
    assert_eq!(serde_json::to_value(&sidecar).unwrap(), Value::from(text));
}

fn envelope(text: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut out, mut held, mut bits) = (Vec::new(), 0_usize, 0);
    let body = text.strip_prefix(b"ophie1.")?;
    for c in body {
        held = (held << 6) | ALPHABET.iter().position(|of| of == c)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits).unwrap());
            held &= (1 << bits) - 1;
        }
    }
    let whole = bits < 6 && held == 0;
    let known = out.len() >= 45 && FORMS.contains(&out[0]);
    (whole && known).then_some(out)
}
