//! The column of a call, and how far it is.
//!
//! Absent: steps (`super`), jobs (`jobs`).

use std::sync::Arc;

use ophie_crypt::{
    Keyring, LocalKms, MemoryKeyStore, Models,
    soak::{Rows, SoakColumn, SoakRow, SoakState, SoakStore, Soaker},
};

use crate::{arguments::ColumnName, error::Error, world::World};

/// A column, as models and database have it.
pub(in crate::commands) struct Column {
    pub(in crate::commands) store: Arc<dyn SoakStore>,
    pub(in crate::commands) soak: SoakColumn,
    pub(in crate::commands) row: Option<SoakRow>,
}

/// The application's tables, which have those of soaks beside them.
pub(in crate::commands) async fn store(world: &World) -> Result<Arc<dyn SoakStore>, Error> {
    world.needs_models()?;
    let rows = world.rows_database().await?;
    match rows.has_soaks().await? {
        true => Ok(rows.soaks(world.application.models.clone())),
        false => Err(Error::NoSoakTables),
    }
}

impl Column {
    /// The column of this name, or the one whose plaintext column has it.
    pub(in crate::commands) async fn find(world: &World, name: &ColumnName) -> Result<Self, Error> {
        let store = store(world).await?;
        let rows = store.soaks().await?;
        let found = named(store.models(), &rows, name);
        let soak = found.ok_or_else(|| Error::NoSoak(name.to_string()))?;
        let mut column = Self {
            store,
            soak,
            row: None,
        };
        column.row = rows
            .into_iter()
            .find(|row| row.is_of(&column.soak.column()));
        Ok(column)
    }

    /// Of a row of the database, if a model has the column.
    pub(in crate::commands) fn of_row(store: &Arc<dyn SoakStore>, row: &SoakRow) -> Option<Self> {
        let soak = of_row(store.models(), row)?;
        Some(Self {
            store: Arc::clone(store),
            soak,
            row: Some(row.clone()),
        })
    }

    /// How far it is.
    pub(in crate::commands) fn state(&self) -> SoakState {
        let row = self.row.as_ref();
        row.map_or(SoakState::Plain, |row| row.state)
    }

    pub(in crate::commands) fn table(&self) -> &'static str {
        self.soak.column().table()
    }

    /// The encrypted column.
    pub(in crate::commands) fn name(&self) -> &'static str {
        self.soak.column().name()
    }

    /// The table and the plaintext column, as people name what moves.
    pub(in crate::commands) fn plaintext(&self) -> String {
        format!("{}.{}", self.table(), self.soak.twin())
    }

    pub(in crate::commands) async fn count(&self, rows: Rows) -> Result<u64, Error> {
        Ok(self.store.count(&self.soak, rows).await?)
    }

    /// Looks at its state once more.
    pub(super) async fn again(&mut self) -> Result<(), Error> {
        let rows = self.store.soaks().await?;
        let column = self.soak.column();
        self.row = rows.into_iter().find(|row| row.is_of(&column));
        Ok(())
    }

    /// What steps: it opens no key, so it has none. It waits for nobody once that is to be stopped.
    pub(super) fn stepper(&self, world: &World) -> Result<Soaker, Error> {
        let soaker = self.looker()?;
        stops(world, &soaker);
        Ok(soaker)
    }

    /// The same for who only looks.
    pub(in crate::commands) fn looker(&self) -> Result<Soaker, Error> {
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral()?)
            .key_store(MemoryKeyStore::new())
            .build()?;
        Ok(Soaker::new(&keyring, Arc::clone(&self.store)))
    }
}

/// Ctrl-C stops it, too.
pub(super) fn stops(world: &World, soaker: &Soaker) {
    let (stop, asked) = (soaker.stop_handle(), world.stop.clone());
    tokio::spawn(async move {
        asked.asked().await;
        stop.stop();
    });
}

fn named(models: &Models, rows: &[SoakRow], name: &ColumnName) -> Option<SoakColumn> {
    let of_table = || rows.iter().filter(|row| row.table == name.table);
    let encrypted = SoakColumn::of(models, &name.table, &name.column).or_else(|| {
        let row = of_table().find(|row| row.column == name.column)?;
        of_row(models, row)
    });
    encrypted
        .or_else(|| {
            let of_table = models.iter().filter(|model| model.table() == name.table);
            let mut columns = of_table.flat_map(|model| model.columns());
            let column = columns.find(|info| info.twin() == Some(&name.column))?;
            SoakColumn::of(models, &name.table, column.column().name())
        })
        .or_else(|| {
            let of_twin = of_table().filter(|row| row.twin == name.column);
            let row = of_twin.min_by_key(|row| row.state)?;
            of_row(models, row)
        })
}

/// Also of a model that no longer says that the column soaks.
fn of_row(models: &Models, row: &SoakRow) -> Option<SoakColumn> {
    SoakColumn::of(models, &row.table, &row.column)
        .or_else(|| SoakColumn::without_attribute(models, &row.table, &row.column, &row.twin))
}
