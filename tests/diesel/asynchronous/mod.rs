//! What works by diesel-async on every database, by theme. Each file is compiled once for each.

mod moments;
mod paths;
mod pools;
mod transactions;

use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::{Asynchronous, db::Database};

pub(crate) async fn connect(database: &Database) -> Asynchronous {
    establish(&crate::url(database)).await.unwrap()
}

async fn establish(url: &str) -> diesel::ConnectionResult<Asynchronous> {
    let mut db = Asynchronous::establish(url).await?;
    db.batch_execute(crate::PATIENCE)
        .await
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(db)
}
