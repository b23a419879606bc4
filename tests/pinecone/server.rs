//! The index on a socket: HTTP/1.1 by hand, so that a connection can be lost in the middle of an answer.
//!
//! Invariant: it checks what Pinecone checks: key, version, encoding. Absent: what is answered (`index`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::index::{Answer, Index, KEY};

pub(crate) struct Server {
    pub(crate) url: String,
    index: Arc<Mutex<Index>>,
    /// Told of each request.
    pub(crate) asked: Arc<Notify>,
    /// All bytes that came in.
    received: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(index: Index) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let index = Arc::new(Mutex::new(index));
        let (asked, received) = <(Arc<Notify>, Arc<Mutex<Vec<u8>>>)>::default();
        let (served, told, kept) = (
            Arc::clone(&index),
            Arc::clone(&asked),
            Arc::clone(&received),
        );
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (served, told, kept) =
                    (Arc::clone(&served), Arc::clone(&told), Arc::clone(&kept));
                // A connection that goes away is a client's that went away.
                tokio::spawn(async move { drop(serve(stream, &served, &told, &kept).await) });
            }
        });
        Self {
            url,
            index,
            asked,
            received,
            task,
        }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap()
    }

    pub(crate) fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    index: &Mutex<Index>,
    told: &Notify,
    kept: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let tls = bytes.first() == Some(&0x16); // a handshake, which nobody here answers
            if tls || read(&mut stream, &mut bytes, kept).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let (method, target) = {
            let mut words = lines.next().unwrap().split(' ');
            (words.next().unwrap(), words.next().unwrap())
        };
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length");
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while bytes.len() < end + length {
            if read(&mut stream, &mut bytes, kept).await? == 0 {
                return Ok(());
            }
        }
        let body: Vec<u8> = bytes.drain(..end + length).skip(end).collect();
        let answer = checked(&headers, &body).unwrap_or_else(|| {
            let (path, query) = parsed(target);
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            index.lock().unwrap().answer(method, &path, &query, &body)
        });
        told.notify_one();
        match answer {
            Answer::Lost => return Ok(()),
            Answer::Cut(body) => {
                let whole = response(200, &[], &body);
                let half = whole.len() - body.len().div_ceil(2);
                stream.write_all(&whole.as_bytes()[..half]).await?;
                return stream.flush().await;
            }
            Answer::Whole(status, headers, body) => {
                let whole = response(status, &headers, &body);
                stream.write_all(whole.as_bytes()).await?;
            }
        }
    }
}

async fn read(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    kept: &Mutex<Vec<u8>>,
) -> std::io::Result<usize> {
    let before = bytes.len();
    let count = stream.read_buf(bytes).await?;
    kept.lock().unwrap().extend(&bytes[before..]);
    Ok(count)
}

/// What Pinecone refuses before it looks at the request.
fn checked(headers: &BTreeMap<String, String>, body: &[u8]) -> Option<Answer> {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let status = if !is("api-key", KEY) {
        401
    } else if !is("x-pinecone-api-version", "2025-10")
        || !(body.is_empty() || is("content-type", "application/json"))
    {
        400
    } else {
        return None;
    };
    Some(Answer::Whole(status, Vec::new(), json!(null).to_string()))
}

/// The path and the parameters, decoded.
fn parsed(target: &str) -> (String, BTreeMap<String, String>) {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    // A name that comes again has its values in lines.
    let mut found = BTreeMap::<String, String>::new();
    for (name, value) in query {
        let values = found.entry(name.to_owned()).or_default();
        let line = if values.is_empty() { "" } else { "\n" };
        *values += &format!("{line}{}", decoded(value));
    }
    (decoded(path), found)
}

fn response(status: u16, headers: &[(&str, String)], body: &str) -> String {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}
