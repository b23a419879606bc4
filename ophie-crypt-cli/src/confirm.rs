//! Asks before what cannot be undone.
//!
//! Invariant: the question names the database, and the answer what is destroyed; where nobody can be asked, a flag must.

use crate::{config::Setting, error::Error, world::World};

/// Whether this may be done to what is named so: by the flag's value, else by what is typed.
///
/// # Errors
///
/// [`Error::NotConfirmed`], [`Error::OtherConfirmed`], [`Error::Interrupted`].
pub(crate) async fn confirm(
    world: &World,
    database: &Setting,
    what: &str,
    flag: &'static str,
    name: &str,
    said: Option<&str>,
) -> Result<(), Error> {
    match said {
        Some(said) if said == name => return world.stop.unless_stopped(),
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
    match world.stop.or_left(answer(world, question)).await? {
        Some(answer) if answer == name => Ok(()),
        _ => Err(Error::NotConfirmed {
            at: at.to_owned(),
            what: what.to_owned(),
            flag,
            name: name.to_owned(),
        }),
    }
}

/// What is typed. Ctrl-C does not end a program that waits for a line: a thread does, which the process does not wait for.
async fn answer(world: &World, question: String) -> Result<Option<String>, Error> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let output = world.output.clone();
    std::thread::spawn(move || tell.send(output.ask(&question)));
    Ok(told.await.unwrap_or(None))
}
