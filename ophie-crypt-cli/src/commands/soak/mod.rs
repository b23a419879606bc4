//! `soak`: one column from state to state.
//!
//! Invariant: a step is taken only where what must hold does, and what is in the way is reported. Absent: what must hold
//! (`ophie_crypt::soak`), what is done with rows (`jobs`).

mod column;
mod jobs;

use core::time::Duration;

use ophie_crypt::soak::{Gate, Rows, SoakState, Soaker};
use serde_json::{Value, json};

pub(super) use self::column::{Column, store};
use crate::{
    arguments::{At, Soaking},
    confirm::confirm,
    error::{Error, Exit},
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
            batches,
            unwraps,
        } => {
            let job = jobs::Job::new(&batches, waits.wait, unwraps);
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
            let soaker = column.stepper()?;
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
    let soaker = column.stepper()?;
    told.unmet = unmet(world, &soaker, column, to, wait).await?;
    told.interrupted = world.stop.is_asked() && !told.unmet.is_empty();
    if !told.unmet.is_empty() || told.dry_run {
        return Ok(false);
    }
    soaker.step(column.table(), column.name(), to).await?;
    column.again().await?;
    Ok(true)
}

/// What does not hold, once nothing but processes was waited for.
async fn unmet(
    world: &World,
    soaker: &Soaker,
    column: &Column,
    to: SoakState,
    wait: bool,
) -> Result<Vec<Gate>, Error> {
    unmet_of(world, soaker, column, to, wait, |_| true).await
}

/// Of these gates.
async fn unmet_of(
    world: &World,
    soaker: &Soaker,
    column: &Column,
    to: SoakState,
    wait: bool,
    of: fn(&Gate) -> bool,
) -> Result<Vec<Gate>, Error> {
    let bar = world.output.progress("waiting for processes", None);
    loop {
        let mut unmet = soaker.unmet(column.table(), column.name(), to).await?;
        unmet.retain(of);
        if !(wait && unmet == [Gate::Acknowledged]) || world.stop.is_asked() {
            return Ok(unmet);
        }
        bar.done(1);
        world.stop.sleep(PAUSE).await;
    }
}

async fn old_binaries(world: &World, at: &At, admit: bool, dry_run: bool) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of(&column, dry_run);
    let admitted = column.row.as_ref().map(|row| row.admits_old);
    let Some(admitted) = admitted else {
        return Err(no_step(&column, "admit-old"));
    };
    if !dry_run && admitted != admit {
        let soaker = column.stepper()?;
        let (table, name) = (column.table(), column.name());
        soaker.admit_old_binaries(table, name, admit).await?;
        column.again().await?;
    }
    told.line(match admit {
        true => "binaries that know nothing of the soak are admitted",
        false => "binaries that know nothing of the soak are refused; verify again",
    });
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
    let soaker = column.stepper()?;
    told.unmet = unmet(world, &soaker, &column, SoakState::Dropped, wait).await?;
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
    )?;
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
        let soaker = column.stepper()?;
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

/// What a call did with a column.
struct Told {
    was: SoakState,
    /// Where the step leads.
    to: Option<SoakState>,
    unmet: Vec<Gate>,
    /// Rows that a job was done with, and that are left to it.
    done: Option<u64>,
    left: Option<u64>,
    interrupted: bool,
    dry_run: bool,
    findings: bool,
    lines: Vec<String>,
    fields: Vec<(&'static str, Value)>,
}

impl Told {
    fn of(column: &Column, dry_run: bool) -> Self {
        Self {
            was: column.state(),
            to: None,
            unmet: Vec::new(),
            done: None,
            left: None,
            interrupted: false,
            dry_run,
            findings: false,
            lines: Vec::new(),
            fields: Vec::new(),
        }
    }

    fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    fn more(&mut self, name: &'static str, value: Value) {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value));
    }

    /// Where plaintext may still lie.
    fn residue(&mut self, places: &[&str]) {
        self.line("the table was written anew; plaintext may still lie in:");
        for place in places {
            self.line(format!("  {place}"));
        }
        self.more("residue", json!(places));
    }

    fn exit(&self) -> Exit {
        let only_processes = self.unmet == [Gate::Acknowledged];
        match (self.unmet.is_empty(), self.left.unwrap_or(0)) {
            _ if self.interrupted => Exit::Interrupted,
            _ if self.dry_run => Exit::Fine,
            _ if self.findings => Exit::Findings,
            (false, _) if only_processes => Exit::Waiting,
            (false, _) => Exit::Refused,
            (true, 0) => Exit::Fine,
            (true, 1..) => Exit::Waiting,
        }
    }

    fn report(mut self, column: &Column) -> Report {
        let (name, plaintext) = (column.soak.column(), column.plaintext());
        let (was, state) = (self.was, column.state());
        let exit = self.exit();
        let mut lines = vec![match (was == state, self.dry_run, self.to) {
            (true, true, Some(to)) if to != state => {
                format!("{name} (plaintext {plaintext}): {state}; the step would be to {to}")
            }
            (true, ..) => format!("{name} (plaintext {plaintext}): {state}"),
            (false, ..) => format!("{name} (plaintext {plaintext}): {state}, was {was}"),
        }];
        if let (false, Some(to)) = (self.unmet.is_empty(), self.to) {
            lines.push(format!("in the way of {to}:"));
        }
        let said = |gate: &Gate| format!("  {gate}");
        lines.extend(self.unmet.iter().map(said));
        lines.append(&mut self.lines);
        if self.interrupted {
            lines.push("stopped; the same command goes on from here".to_owned());
        }
        let unmet: Vec<_> = self.unmet.iter().map(gate).collect();
        let mut json = json!({
            "table": column.table(), "column": column.name(), "twin": column.soak.twin(),
            "was": was.as_str(), "state": state.as_str(), "unmet": unmet, "done": self.done, "left": self.left,
            "interrupted": self.interrupted, "dry_run": self.dry_run,
        });
        if let Value::Object(fields) = &mut json {
            let more = self.fields.into_iter();
            fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
        }
        Report::fine(lines.join("\n"), json).ends(exit)
    }
}

/// A gate for programs.
pub(super) fn gate(gate: &Gate) -> Value {
    json!({"gate": word(*gate), "says": gate.to_string()})
}

const fn word(gate: Gate) -> &'static str {
    match gate {
        Gate::Acknowledged => "acknowledged",
        Gate::Decrypted => "decrypted",
        Gate::Emptied => "emptied",
        Gate::Floor => "floor",
        Gate::NoOldBinaries => "no-old-binaries",
        Gate::NothingPending => "nothing-pending",
        Gate::Quiet => "quiet",
        Gate::TwinUnknown => "twin-unknown",
        Gate::Verified => "verified",
        _ => "other",
    }
}
