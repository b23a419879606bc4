//! How an operation runs: in one transaction, to its end, and again after a deadlock.
//!
//! Invariant: no step of a driver is cut off, and no transaction is left open. Absent: operations.

use core::pin::Pin;

use crate::{Begin, Connection, Driver, Failure, FailureKind, Record, Statement, Transaction};

/// How often what a deadlock rolled back is tried.
const TRIES: u32 = 5;

/// The statements of an operation.
pub(crate) type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 't>>;

/// Runs it in a task of its own, which goes on when its caller is cut off. A connection whose statement was cut
/// off is not safe to use again: SQLx on MySQL knows of no transaction before BEGIN was answered, diesel-async there
/// leaves the answer for the next statement, and deadpool keeps a connection with its locks until somebody asks.
pub(crate) async fn run<D: Driver, T: Send + 'static>(
    driver: &D,
    kind: Begin,
    work: impl for<'t> Fn(&'t mut D::Transaction) -> Work<'t, T> + Send + Sync + 'static,
) -> Result<T, Failure> {
    let driver = driver.clone();
    let task = tokio::spawn(async move {
        for _ in 1..TRIES {
            match once(&driver, kind, &work).await {
                Err(failure) if failure.kind() == FailureKind::Retry => {}
                done => return done,
            }
        }
        once(&driver, kind, &work).await
    });
    let done = task.await;
    done.map_err(|error| Failure::new(FailureKind::Unavailable, error))?
}

async fn once<D: Driver, T>(
    driver: &D,
    kind: Begin,
    work: impl for<'t> Fn(&'t mut D::Transaction) -> Work<'t, T>,
) -> Result<T, Failure> {
    let mut tx = driver.begin(kind).await?;
    match work(&mut tx).await {
        Ok(done) => {
            tx.commit().await?;
            Ok(done)
        }
        Err(failure) => {
            tx.rollback().await.ok(); // the connection is gone then
            Err(failure)
        }
    }
}

/// Runs one statement that reads.
pub(crate) async fn read<D: Driver, R: Record>(
    driver: &D,
    statement: Statement,
) -> Result<Vec<R>, Failure> {
    run(driver, Begin::Read, move |tx| {
        let statement = statement.clone();
        Box::pin(tx.fetch(statement))
    })
    .await
}
