//! A server on a free port, and connections to it.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    response::Response,
};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

pub(crate) async fn serve(app: Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// One connection.
pub(crate) struct Client(http1::SendRequest<Body>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (requests, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self(requests))
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        user: Option<i64>,
        body: impl Into<Body>,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(user) = user {
            request = request.header("x-user", user);
        }
        self.0.ready().await?;
        Ok(self.0.send_request(request.body(body.into())?).await?)
    }

    pub(crate) async fn get(
        &mut self,
        path: &str,
        user: impl Into<Option<i64>>,
    ) -> Result<(StatusCode, String)> {
        let response = self.send("GET", path, user.into(), Body::empty()).await?;
        Ok((response.status(), text(response).await?))
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        user: i64,
        body: &str,
    ) -> Result<(StatusCode, String)> {
        let response = self.send("POST", path, Some(user), body.to_owned()).await?;
        Ok((response.status(), text(response).await?))
    }
}

pub(crate) async fn text(response: Response<Incoming>) -> Result<String> {
    let bytes = to_bytes(Body::new(response.into_body()), usize::MAX).await?;
    Ok(String::from_utf8(bytes.into())?)
}
