//! Asks before what cannot be undone.
//!
//! Invariant: the answer names what is destroyed; where nobody can be asked, a flag must.

use crate::{error::Error, output::Output};

/// Whether this may be done to what is named so: by the flag's value, else by what is typed.
///
/// # Errors
///
/// [`Error::NotConfirmed`], [`Error::OtherConfirmed`].
pub(crate) fn confirm(
    output: &Output,
    what: &str,
    flag: &'static str,
    name: &str,
    said: Option<&str>,
) -> Result<(), Error> {
    match said {
        Some(said) if said == name => return Ok(()),
        Some(_) => {
            return Err(Error::OtherConfirmed {
                flag,
                name: name.to_owned(),
            });
        }
        None => {}
    }
    let question = format!("{what} cannot be undone. Type {name} to go on:");
    match output.ask(&question) {
        Some(answer) if answer == name => Ok(()),
        _ => Err(Error::NotConfirmed {
            what: what.to_owned(),
            flag,
            name: name.to_owned(),
        }),
    }
}
