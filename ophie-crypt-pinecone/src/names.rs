//! The names under which an owner's vectors stand.
//!
//! Invariant: two owners never share a name, and no owner's prefix is a prefix of another's. Absent: HTTP.

use ophie_crypt::CanonicalId;

use crate::failure::{Failure, What};

/// Pinecone's limit for ids and namespaces, in characters.
const LONGEST: usize = 512;

/// Ends an owner's prefix. No digit, so that `user1` is no prefix of `user12`.
const SEPARATOR: char = '#';

/// How the vectors of owners are told apart.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// A namespace for each owner.
    Namespaces,
    /// One for all, by the prefix of the ids.
    Shared(String),
}

/// Where an owner's vectors stand, and nobody else's.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// Of the ids, in a shared namespace.
    pub(crate) prefix: Option<String>,
}

impl Layout {
    pub(crate) fn place(&self, owner: &CanonicalId) -> Result<Place, Failure> {
        let name = owner.to_hex();
        let place = match self {
            Self::Namespaces => Place {
                namespace: name,
                prefix: None,
            },
            Self::Shared(namespace) => Place {
                namespace: namespace.clone(),
                prefix: Some(format!("{name}{SEPARATOR}")),
            },
        };
        check(place.prefix.as_deref().unwrap_or(&place.namespace))?;
        Ok(place)
    }
}

impl Place {
    /// The id of one of the owner's vectors.
    pub(crate) fn vector_id(&self, id: &str) -> Result<String, Failure> {
        let id = format!("{}{id}", self.prefix.as_deref().unwrap_or_default());
        check(&id)?;
        Ok(id)
    }

    /// Whether a vector that was listed is the owner's.
    pub(crate) fn holds(&self, id: &str) -> bool {
        self.prefix
            .as_deref()
            .is_none_or(|prefix| id.starts_with(prefix))
    }
}

fn check(name: &str) -> Result<(), Failure> {
    let too_long = Failure {
        call: "names",
        what: What::TooLong,
    };
    if name.len() > LONGEST {
        Err(too_long)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_owners_prefix_is_a_prefix_of_anothers() {
        let shared = Layout::Shared("memories".to_owned());
        let mut owners: Vec<_> = ["u", "user1", "user12", "user1#", "#", "7", "USER1", "userq"]
            .map(CanonicalId::text)
            .into();
        owners.extend([7, 0x37, -1].map(CanonicalId::integer));
        owners.push(CanonicalId::uuid(&[0x37; 16]));
        for (n, one) in owners.iter().enumerate() {
            let place = shared.place(one).unwrap();
            assert!(place.holds(&place.vector_id("a#b").unwrap()));
            for (m, other) in owners.iter().enumerate() {
                let of_other = shared.place(other).unwrap().vector_id("a").unwrap();
                assert_eq!(place.holds(&of_other), n == m, "{one:?} {other:?}");
                let namespaces =
                    [one, other].map(|owner| Layout::Namespaces.place(owner).unwrap().namespace);
                assert_eq!(namespaces[0] == namespaces[1], n == m);
            }
        }
    }

    #[test]
    fn names_have_512_characters_at_most() {
        let too_long = |what: Result<String, Failure>| what.map_err(|failure| failure.what);
        let owner = |len: usize| CanonicalId::text(&"x".repeat(len));
        for layout in [Layout::Namespaces, Layout::Shared("all".to_owned())] {
            assert!(layout.place(&owner(254)).is_ok());
            assert!(layout.place(&owner(256)).is_err());
            let place = layout.place(&owner(9)).unwrap();
            let room = LONGEST - place.prefix.as_ref().map_or(0, String::len);
            assert!(place.vector_id(&"x".repeat(room)).is_ok());
            let id = place.vector_id(&"x".repeat(room + 1));
            assert_eq!(too_long(id), Err(What::TooLong));
        }
    }
}
