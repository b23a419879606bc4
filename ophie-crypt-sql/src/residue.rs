//! Old versions of rows in tables that PostgreSQL is asked to vacuum, and whether any is left.
//!
//! Invariant: "gone" is said only of what was deleted before the call, and only if no snapshot held it. Absent: which tables,
//! and what the bytes are that lie in a page's free space (the manual).

use core::time::Duration;

use ophie_crypt::Residue;

use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, Record, Statement,
    run::{read, run},
};

/// Between attempts: what others do at the moment is over by then. Longer snapshots are the caller's to wait for.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// Vacuums the tables, which must be the role's: another's are passed over with a warning that no driver shows.
///
/// To freeze means to look at each page that may hold an older transaction's row; PostgreSQL then notes for the table that
/// no older transaction's number stands in it. Of a deleted version of a row the number is that of who deleted it: if the
/// table's is past a transaction that began after the deletion was committed, the version is gone. This needs no
/// right to see who else is there, and takes in replicas, slots and prepared transactions.
pub(crate) async fn vacuum<D: Driver>(
    driver: &D,
    tables: &[&'static str],
) -> Result<Residue, Failure> {
    if D::DIALECT != Dialect::Postgres || !may_vacuum(driver, tables).await? {
        return Ok(Residue::Unknown);
    }
    let after = Statement::new(D::DIALECT, "SELECT txid_current() AS number");
    let after = run(driver, Begin::Write, move |tx| {
        let after = after.clone();
        Box::pin(tx.fetch(after))
    });
    let after: Vec<Number> = after.await?;
    let after = after.first().map_or(0, |row| row.0);
    let sql = format!("VACUUM (FREEZE) {}", tables.join(", "));
    let mut pauses = PAUSES.iter();
    loop {
        driver.outside(&sql).await?;
        if is_past(driver, tables, after).await? {
            return Ok(Residue::Gone);
        }
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Ok(Residue::Held),
        }
    }
}

async fn may_vacuum<D: Driver>(driver: &D, tables: &[&str]) -> Result<bool, Failure> {
    let may = format!(
        "SELECT CAST(CAST(bool_and(pg_has_role(relowner, 'USAGE')) AS int) AS bigint) AS number FROM pg_class \
         WHERE oid IN ({})",
        oids(tables)
    );
    is_one(driver, Statement::new(D::DIALECT, may)).await
}

/// Whether each table holds only numbers of transactions behind this one.
async fn is_past<D: Driver>(driver: &D, tables: &[&str], after: i64) -> Result<bool, Failure> {
    let past = format!(
        "SELECT CAST(CAST(bool_and(age(relfrozenxid) < age(CAST(CAST(mod($1, 4294967296) AS text) AS xid))) AS int) AS bigint) \
         AS number FROM pg_class WHERE oid IN ({})",
        oids(tables)
    );
    is_one(driver, Statement::new(D::DIALECT, past).bind(after)).await
}

fn oids(tables: &[&str]) -> String {
    let oids = tables.iter().map(|table| format!("to_regclass('{table}')"));
    oids.collect::<Vec<_>>().join(", ")
}

async fn is_one<D: Driver>(driver: &D, statement: Statement) -> Result<bool, Failure> {
    let rows: Vec<Number> = read(driver, statement).await?;
    Ok(rows.first().is_some_and(|row| row.0 == 1))
}

struct Number(i64);

impl Record for Number {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(cells.int("number")?.unwrap_or_default()))
    }
}
