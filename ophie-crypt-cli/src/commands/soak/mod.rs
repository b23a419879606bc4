//! `soak`: one column from state to state.
//!
//! Invariant: a step is taken only where what must hold does, and what is in the way is reported. Absent: what must hold
//! (`ophie_crypt::soak`), what is done with rows (`jobs`), how it is told (`told`).

mod column;
mod jobs;
mod told;

use core::time::Duration;

use ophie_crypt::soak::{Gate, Rows, SoakJobError, SoakState, Soaker};
use serde_json::json;

use self::told::Told;
pub(super) use self::{
    column::{Column, store},
    told::gate,
};
use crate::{
    arguments::{At, Soaking},
    confirm::confirm,
    error::Error,
    output::Report,
    world::World,
};

/// Between two looks at who has acknowledged.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(world: &World, command: Soaking) -> Result<Report, Error> {
    match command {
        Soaking::Expand { at, dry } => expand(world, &at, dry.dry_run).await,
        Soaking::DualWrite { at, waits, dry } => {
            let to = (SoakState::DualWrite, "dual-write");
            forward(world, &at, to, waits.wait, dry.dry_run).await
        }
        Soaking::Backfill {
            at,
            waits,
            without_provisioning,
            workers,
            batches,
            unwraps,
        } => {
            let job = jobs::Job::new(&batches, waits.wait, unwraps).with(workers);
            jobs::backfill(world, &at, &job, without_provisioning).await
        }
        Soaking::Verify {
            at,
            waits,
            batches,
            unwraps,
        } => {
            let job = jobs::Job::new(&batches, waits.wait, unwraps);
            jobs::verify(world, &at, &job).await
        }
        Soaking::Soak { at, waits, dry } => {
            let to = (SoakState::Soak, "soak");
            forward(world, &at, to, waits.wait, dry.dry_run).await
        }
        Soaking::Seal { at, waits, dry } => {
            let to = (SoakState::Sealed, "seal");
            forward(world, &at, to, waits.wait, dry.dry_run).await
        }
        Soaking::RefuseOld { at, dry } => old_binaries(world, &at, false, dry.dry_run).await,
        Soaking::AdmitOld { at, dry } => old_binaries(world, &at, true, dry.dry_run).await,
        Soaking::Retire {
            at,
            waits,
            batches,
            dry,
        } => {
            let job = jobs::Job::without_keys(&batches, waits.wait, dry.dry_run);
            jobs::retire(world, &at, &job).await
        }
        Soaking::Drop {
            at,
            waits,
            yes_drop,
            rewrite,
            dry,
        } => match rewrite {
            true => write_anew(world, &at, dry.dry_run).await,
            false => drop_plaintext(world, &at, yes_drop.as_deref(), waits.wait, dry.dry_run).await,
        },
        Soaking::Back {
            at,
            waits,
            batches,
            reason,
            dry,
        } => {
            let mut job = jobs::Job::without_keys(&batches, waits.wait, dry.dry_run);
            job.reason = reason;
            jobs::back(world, &at, &job).await
        }
    }
}

async fn expand(world: &World, at: &At, dry_run: bool) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of(&column, dry_run);
    match column.state() {
        SoakState::Plain if dry_run => {}
        SoakState::Plain => {
            let soaker = column.stepper(world)?;
            world.stop.unless_stopped()?;
            soaker.expand(column.table(), column.name()).await?;
            column.again().await?;
        }
        SoakState::Expand => {}
        _ => return Err(no_step(&column, "expand")),
    }
    told.to = Some(SoakState::Expand);
    Ok(told.report(&column))
}

/// One step, without a job.
async fn forward(
    world: &World,
    at: &At,
    (to, asked): (SoakState, &'static str),
    wait: bool,
    dry_run: bool,
) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of(&column, dry_run);
    step(world, &mut column, (to, asked), wait, &mut told).await?;
    Ok(told.report(&column))
}

/// Steps from the state before, if what must hold does; nothing where the column is there already. Whether it is there.
async fn step(
    world: &World,
    column: &mut Column,
    (to, asked): (SoakState, &'static str),
    wait: bool,
    told: &mut Told,
) -> Result<bool, Error> {
    told.to = Some(to);
    if column.state() == to {
        return Ok(true);
    }
    // Of a column of which the database knows nothing, no gate is asked for.
    if column.state().next() != Some(to) || column.row.is_none() {
        return Err(no_step(column, asked));
    }
    let soaker = column.stepper(world)?;
    unmet(world, &soaker, column, to, wait, told).await?;
    if !told.unmet.is_empty() || told.dry_run {
        return Ok(false);
    }
    world.stop.unless_stopped()?;
    soaker.step(column.table(), column.name(), to).await?;
    column.again().await?;
    Ok(true)
}

/// Looks for what does not hold, once nothing but processes was waited for.
async fn unmet(
    world: &World,
    soaker: &Soaker,
    column: &Column,
    to: SoakState,
    wait: bool,
    told: &mut Told,
) -> Result<(), Error> {
    unmet_of(world, soaker, column, to, wait, told, |_| true).await
}

/// Of these gates.
async fn unmet_of(
    world: &World,
    soaker: &Soaker,
    column: &Column,
    to: SoakState,
    wait: bool,
    told: &mut Told,
    of: fn(&Gate) -> bool,
) -> Result<(), Error> {
    let bar = world.output.progress("waiting for processes", None);
    loop {
        let mut unmet = soaker.unmet(column.table(), column.name(), to).await?;
        unmet.retain(of);
        if !(wait && unmet == [Gate::Acknowledged]) || world.stop.is_asked() {
            told.holds_not(world, unmet);
            return Ok(());
        }
        bar.done(1);
        world.stop.sleep(PAUSE).await;
    }
}

async fn old_binaries(world: &World, at: &At, admit: bool, dry_run: bool) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of(&column, dry_run);
    let row = column.row.as_ref();
    let row = row.filter(|row| row.state < SoakState::Retired);
    let Some(admitted) = row.map(|row| row.admits_old) else {
        let asked = if admit { "admit-old" } else { "refuse-old" };
        return Err(no_step(&column, asked));
    };
    let (soaker, table, name) = (column.stepper(world)?, column.table(), column.name());
    if admitted != admit && dry_run {
        let gates = match admit {
            true => soaker.unmet_of_old_binaries(table, name).await?,
            false => Vec::new(),
        };
        told.holds_not(world, gates);
    } else if admitted != admit {
        match soaker.admit_old_binaries(table, name, admit).await {
            Err(SoakJobError::Gates { unmet, .. }) => told.holds_not(world, unmet),
            done => done?,
        }
        column.again().await?;
    }
    let who = "binaries that know nothing of the soak";
    told.line(
        match (admit, admitted == admit, told.unmet.is_empty(), dry_run) {
            (true, true, ..) => format!("{who} are admitted already"),
            (false, true, ..) => format!("{who} are refused already"),
            (_, _, false, true) => format!("{who} would not be admitted"),
            (_, _, false, false) => format!("{who} are not admitted"),
            (true, _, _, true) => format!("{who} would be admitted"),
            (false, _, _, true) => format!("{who} would be refused; then verify again"),
            (true, _, _, false) => format!("{who} are admitted"),
            (false, _, _, false) => format!("{who} are refused; verify again"),
        },
    );
    Ok(told.report(&column))
}

async fn drop_plaintext(
    world: &World,
    at: &At,
    yes: Option<&str>,
    wait: bool,
    dry_run: bool,
) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of(&column, dry_run);
    told.to = Some(SoakState::Dropped);
    told.more("residue", json!([]));
    if column.state() == SoakState::Dropped {
        told.line("the plaintext column is gone; `--rewrite` writes the table anew");
        return Ok(told.report(&column));
    }
    if column.state() != SoakState::Retired {
        return Err(no_step(&column, "drop"));
    }
    let soaker = column.stepper(world)?;
    let dropped = SoakState::Dropped;
    unmet(world, &soaker, &column, dropped, wait, &mut told).await?;
    told.left = Some(column.count(Rows::WithTwin).await?);
    if !told.unmet.is_empty() || dry_run {
        return Ok(told.report(&column));
    }
    let plaintext = column.plaintext();
    let what = format!("to drop the column {plaintext} with all plaintext of it");
    confirm(
        world,
        world.config.rows_url()?,
        &what,
        "--yes-drop",
        &plaintext,
        yes,
    )
    .await?;
    let bar = world.output.progress("writing the table anew", None);
    let (table, name) = (column.table(), column.name());
    let residue = soaker.drop_twin(table, name, &plaintext).await?;
    drop(bar);
    column.again().await?;
    told.residue(residue);
    Ok(told.report(&column))
}

/// After a drop whose rewrite failed.
async fn write_anew(world: &World, at: &At, dry_run: bool) -> Result<Report, Error> {
    let column = Column::find(world, &at.column).await?;
    let mut told = Told::of(&column, dry_run);
    told.more("residue", json!([]));
    if column.state() != SoakState::Dropped {
        return Err(no_step(&column, "drop --rewrite"));
    }
    if !dry_run {
        let bar = world.output.progress("writing the table anew", None);
        let soaker = column.stepper(world)?;
        let residue = soaker.rewrite(column.table(), column.name()).await?;
        drop(bar);
        told.residue(residue);
    }
    Ok(told.report(&column))
}

fn no_step(column: &Column, asked: &'static str) -> Error {
    Error::NoStep {
        column: column.soak.column().to_string(),
        state: column.state(),
        asked,
    }
}
