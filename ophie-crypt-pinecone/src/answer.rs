//! How Pinecone's answers read.
//!
//! Invariant: only an answer of Pinecone's about the place that was asked for says that nothing is there; an empty
//! object, a page of a proxy or another namespace's list does not. Absent: HTTP.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{failure::What, names::Place};

/// A page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) ids: Vec<String>,
    /// Where the next begins; a page may be short, or empty, and have one.
    pub(crate) next: Option<String>,
}

impl Page {
    pub(crate) fn read(answer: &[u8], place: &Place) -> Result<Self, What> {
        let answer = &parsed(answer)?;
        let namespace = text(answer, "namespace")?;
        let vectors = match answer.get("vectors") {
            None | Some(Value::Null) => None,
            Some(vectors) => Some(vectors.as_array().ok_or(What::Unreadable)?),
        };
        match namespace {
            Some(namespace) if name(namespace) != name(&place.namespace) => {
                return Err(What::Foreign);
            }
            None if vectors.is_none() => return Err(What::Unreadable),
            _ => {}
        }
        let ids = vectors.map(Vec::as_slice).unwrap_or_default().iter();
        let ids: Vec<String> = ids
            .map(|vector| Some(vector.get("id")?.as_str()?.to_owned()))
            .collect::<Option<_>>()
            .ok_or(What::Unreadable)?;
        if !ids.iter().all(|id| place.holds(id)) {
            return Err(What::Foreign);
        }
        let next = match answer.get("pagination") {
            None | Some(Value::Null) => None,
            Some(pagination) => text(pagination, "next")?.filter(|token| !token.is_empty()),
        };
        Ok(Self {
            ids,
            next: next.map(str::to_owned),
        })
    }
}

/// Vectors whose metadata was shown. What else stands in it, perhaps plaintext of the application's, is not kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    ids: BTreeSet<String>,
    /// How many of the texts in it begin as was asked.
    pub(crate) beginning: u64,
}

impl Shown {
    /// Of the vectors that were asked for, and no others.
    pub(crate) fn read(
        answer: &[u8],
        place: &Place,
        asked: &[String],
        beginnings: &[String],
    ) -> Result<Self, What> {
        let answer = &parsed(answer)?;
        let namespace = text(answer, "namespace")?;
        if namespace.is_some_and(|namespace| name(namespace) != name(&place.namespace)) {
            return Err(What::Foreign);
        }
        let vectors = answer.get("vectors").and_then(Value::as_object);
        let vectors = vectors.ok_or(What::Unreadable)?;
        let mut shown = Self::default();
        for (id, vector) in vectors {
            if !asked.contains(id) {
                return Err(What::Foreign);
            }
            let counted = match vector.as_object().ok_or(What::Unreadable)?.get("metadata") {
                None | Some(Value::Null) => 0,
                Some(fields @ Value::Object(_)) => beginning(fields, beginnings),
                Some(_) => return Err(What::Unreadable),
            };
            shown.beginning = shown.beginning.saturating_add(counted);
            shown.ids.insert(id.clone());
        }
        Ok(shown)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

/// How many texts in a field, which may be a list, begin so.
fn beginning(field: &Value, beginnings: &[String]) -> u64 {
    let sum = |sum: u64, field| sum.saturating_add(beginning(field, beginnings));
    match field {
        Value::String(text) => beginnings
            .iter()
            .any(|begin| text.starts_with(begin))
            .into(),
        Value::Array(fields) => fields.iter().fold(0, sum),
        Value::Object(fields) => fields.values().fold(0, sum),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// How many vectors the index counts in a namespace.
pub(crate) fn counted(answer: &[u8], place: &Place) -> Result<u64, What> {
    let answer = parsed(answer)?;
    let namespaces = answer.get("namespaces").and_then(Value::as_object);
    let namespaces = namespaces.ok_or(What::Unreadable)?;
    let here = namespaces
        .iter()
        .find(|(of, _)| name(of) == name(&place.namespace));
    match here {
        None => Ok(0),
        Some((_, here)) => here
            .get("vectorCount")
            .and_then(Value::as_u64)
            .ok_or(What::Unreadable),
    }
}

fn parsed(answer: &[u8]) -> Result<Value, What> {
    serde_json::from_slice(answer).map_err(|_| What::Unreadable)
}

/// The index's own namespace has two names.
fn name(namespace: &str) -> &str {
    if namespace.is_empty() {
        "__default__"
    } else {
        namespace
    }
}

/// Text, or nothing; anything else is no answer of Pinecone's.
fn text<'a>(answer: &'a Value, field: &str) -> Result<Option<&'a str>, What> {
    match answer.get(field) {
        None | Some(Value::Null) if answer.is_object() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        _ => Err(What::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(namespace: &str, prefix: Option<&str>) -> Place {
        Place {
            namespace: namespace.to_owned(),
            prefix: prefix.map(str::to_owned),
        }
    }

    fn read(answer: &Value, place: &Place) -> Result<Page, What> {
        Page::read(answer.to_string().as_bytes(), place)
    }

    #[test]
    fn pages() {
        let page = |ids: &[&str], next: Option<&str>| {
            Ok(Page {
                ids: ids.iter().map(|&id| id.to_owned()).collect(),
                next: next.map(str::to_owned),
            })
        };
        let ours = place("ns", Some("61#"));
        for (answer, expected) in [
            (
                json!({"vectors": [{"id": "61#a"}], "pagination": {"next": "t"}, "namespace": "ns", "usage": {"readUnits": 1}}),
                page(&["61#a"], Some("t")),
            ),
            (
                json!({"vectors": [], "pagination": {"next": "t"}}),
                page(&[], Some("t")),
            ),
            (
                json!({"vectors": [], "pagination": {"next": ""}}),
                page(&[], None),
            ),
            (json!({"vectors": [], "pagination": null}), page(&[], None)),
            (json!({"namespace": "ns"}), page(&[], None)),
            (json!({}), Err(What::Unreadable)),
            (json!([]), Err(What::Unreadable)),
            (json!("ok"), Err(What::Unreadable)),
            (json!({"vectors": {}}), Err(What::Unreadable)),
            (
                json!({"vectors": [{}], "namespace": "ns"}),
                Err(What::Unreadable),
            ),
            (json!({"vectors": [{"id": 7}]}), Err(What::Unreadable)),
            (
                json!({"vectors": [], "pagination": []}),
                Err(What::Unreadable),
            ),
            (
                json!({"vectors": [], "namespace": "other"}),
                Err(What::Foreign),
            ),
            (json!({"vectors": [], "namespace": ""}), Err(What::Foreign)),
            (
                json!({"vectors": [{"id": "61#a"}, {"id": "6162#a"}]}),
                Err(What::Foreign),
            ),
        ] {
            assert_eq!(read(&answer, &ours), expected, "{answer}");
        }
        let default = place("__default__", None);
        assert!(read(&json!({"namespace": ""}), &default).is_ok());
    }

    #[test]
    fn texts_of_metadata() {
        let asked = ["a".to_owned(), "b".to_owned()];
        let begun = |answer: &Value, beginnings: &[&str]| {
            let beginnings: Vec<_> = beginnings.iter().map(ToString::to_string).collect();
            let answer = answer.to_string();
            Shown::read(answer.as_bytes(), &place("ns", None), &asked, &beginnings)
        };
        let read = |answer: &Value| begun(answer, &[]);
        let answer = json!({"namespace": "ns", "vectors": {
            "a": {"id": "a", "values": [0.5], "metadata": {"n": 1, "memory": "x.1", "tags": ["x.2", "y"]}},
            "b": {"id": "b"},
        }});
        let shown = begun(&answer, &["x.", "z"]).unwrap();
        assert!(shown.has("a") && shown.has("b") && !shown.has("c"));
        assert_eq!(shown.beginning, 2);
        assert_eq!(begun(&answer, &["y"]).unwrap().beginning, 1);
        let text = format!("{shown:?}");
        assert!(!text.contains("x.1"), "no metadata is kept: {text}");
        assert_eq!(read(&json!({"vectors": {}})), Ok(Shown::default()));
        for (answer, expected) in [
            (json!({}), What::Unreadable),
            (json!({"namespace": "ns"}), What::Unreadable),
            (json!({"vectors": []}), What::Unreadable),
            (json!({"vectors": {"a": 1}}), What::Unreadable),
            (
                json!({"vectors": {"a": {"metadata": "x.1"}}}),
                What::Unreadable,
            ),
            (json!({"vectors": {"c": {}}}), What::Foreign),
            (json!({"vectors": {}, "namespace": "other"}), What::Foreign),
        ] {
            assert_eq!(read(&answer), Err(expected), "{answer}");
        }
    }

    #[test]
    fn counts() {
        let answer =
            json!({"namespaces": {"a": {"vectorCount": 3}, "": {"vectorCount": 2}, "b": {}}});
        for (namespace, expected) in [
            ("a", Ok(3)),
            ("__default__", Ok(2)),
            ("c", Ok(0)),
            ("b", Err(What::Unreadable)),
        ] {
            assert_eq!(
                counted(answer.to_string().as_bytes(), &place(namespace, None)),
                expected
            );
        }
        let none = place("a", None);
        assert_eq!(counted(b"{}", &none), Err(What::Unreadable));
    }
}
