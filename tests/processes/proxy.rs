//! A way to PostgreSQL that can be cut.

use std::sync::Arc;

use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes connections on to the server, or breaks them.
pub(crate) struct Proxy {
    url: String,
    is_cut: Arc<watch::Sender<bool>>,
}

impl Proxy {
    /// To the server and database of this URL.
    pub(crate) async fn to(url: &str) -> Self {
        let server: PgConnectOptions = url.parse().unwrap();
        let target = (server.get_host().to_owned(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = server.port(listener.local_addr().unwrap().port());
        let is_cut = Arc::new(watch::Sender::new(false));
        let cuts = Arc::clone(&is_cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, target.clone(), cuts.subscribe()));
            }
        });
        Self {
            url: here.to_url_lossy().into(),
            is_cut,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Breaks every connection, and each new one.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn pass_on(mut client: TcpStream, target: (String, u16), mut is_cut: watch::Receiver<bool>) {
    if *is_cut.borrow_and_update() {
        return;
    }
    let mut server = TcpStream::connect(target).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = is_cut.changed() => {}
    }
}
