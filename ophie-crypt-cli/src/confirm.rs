//! Asks before what cannot be undone.
//!
//! Invariant: the question names the database, and the answer what is destroyed; where nobody can be asked, a flag must.

use crate::{config::Setting, error::Error, world::World};

/// Whether this may be done to what is named so: by the flag's value, else by what is typed.
///
/// # Errors
///
/// [`Error::NotConfirmed`], [`Error::OtherConfirmed`].
pub(crate) fn confirm(
    world: &World,
    database: &Setting,
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
    let at = database.whereabouts();
    let question = format!("In {at}, {what} cannot be undone. Type {name} to go on:");
    match world.output.ask(&question) {
        // Ctrl-C does not end a program that waits for a line.
        Some(answer) if answer == name && !world.stop.is_asked() => Ok(()),
        _ => Err(Error::NotConfirmed {
            at: at.to_owned(),
            what: what.to_owned(),
            flag,
            name: name.to_owned(),
        }),
    }
}
