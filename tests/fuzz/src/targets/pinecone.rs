//! Answers of Pinecone: any status, headers and body, whole or cut, over a socket.
//!
//! Invariant: "empty" is said only if the last looks were three complete listings of the owner's place in a row that
//! showed nothing, as another reader of the same answers finds; nothing is asked to be deleted but what stands at that
//! place; an error quotes no word of an answer, and no API key.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ophie_crypt::{CanonicalId, VectorStore};
use ophie_crypt_pinecone::{ApiKey, Pinecone};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    bytes::Bytes,
    targets::{told, wait},
};

const KEY: &str = "pcsk_canary_of_the_api_key";
const SAID: &str = "canary-of-the-server";
const SHARED: &str = "all of us";
const OWNER: &str = "74616461";

/// Three looks that show nothing, in both layouts; the same behind each of the answers that may come instead.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const NOTHING: [u8; 4] = [0; 4];
    let mut seeds = vec![vec![0], vec![1]];
    for layout in [0, 1] {
        let bodies = (0..13).map(|body| [0, body, 0, 0]);
        let statuses = [4, 5, 6, 8, 9].map(|status| [status, 6, 0, 0]);
        for other in bodies.chain(statuses) {
            let late = [
                &[layout][..],
                &NOTHING,
                &NOTHING,
                &other,
                &NOTHING,
                &NOTHING,
                &NOTHING,
            ];
            seeds.push(late.concat());
            seeds.push([&[layout][..], &NOTHING, &other, &other, &other].concat());
        }
        for (status, count) in [(4, 6), (4, 7), (4, 8), (6, 6), (8, 6)] {
            let look = [status, 0, 0, 0, 0, count, 0, 0];
            seeds.push([&[layout][..], &NOTHING, &look, &look, &look].concat());
        }
    }
    seeds
}

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let shared = bytes.byte() % 2 == 1;
    let mut answers = Vec::new();
    while !bytes.0.is_empty() {
        answers.push(Answer::read(&mut bytes, shared));
    }
    answers.reverse();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let deleted = wait(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener, answers, Arc::clone(&heard)));
        let pinecone = Pinecone::builder(ApiKey::new(KEY), url).pause(Duration::ZERO);
        let pinecone = if shared {
            pinecone.shared_namespace(SHARED)
        } else {
            pinecone
        };
        let pinecone = pinecone.build().unwrap();
        let deleted = pinecone.delete_owner(&CanonicalId::text("ada")).await;
        server.abort();
        deleted
    });
    let heard = heard.lock().unwrap();
    for exchange in &*heard {
        exchange.deletes_only_the_owners(shared);
    }
    let looks = empty_looks(&heard, shared);
    match deleted {
        Ok(deleted) => {
            assert!(
                !deleted.verified_empty() || looks >= 3,
                "{looks} empty looks: {heard:#?}"
            );
        }
        Err(error) => {
            assert!(looks < 3, "{error:?} after {looks} empty looks: {heard:#?}");
            let told = told(&error);
            assert!(!told.contains(SAID) && !told.contains(KEY), "{told}");
        }
    }
}

#[derive(Debug)]
struct Exchange {
    method: String,
    target: String,
    request: Value,
    answer: Answer,
}

impl Exchange {
    fn deletes_only_the_owners(&self, shared: bool) {
        let body = &self.request;
        match (&*self.method, &*self.target) {
            ("DELETE", path) => assert!(
                !shared && path == format!("/namespaces/{OWNER}"),
                "{self:?}"
            ),
            ("POST", "/vectors/delete") => {
                assert!(shared && body["namespace"] == SHARED, "{self:?}");
                let ids = body["ids"].as_array().unwrap();
                assert!(ids.iter().all(is_owners), "{self:?}");
                assert!((1..=1_000).contains(&ids.len()), "{self:?}");
                assert_eq!(body.as_object().unwrap().len(), 2, "{self:?}");
            }
            ("POST", "/describe_index_stats") | ("GET", _) => {}
            _ => panic!("{self:?}"),
        }
    }
}

fn is_owners(id: &Value) -> bool {
    id.as_str()
        .is_some_and(|id| id.starts_with(&format!("{OWNER}#")))
}

/// How many looks at the end showed nothing, without one between them that did. A look ends with its last page, or by a
/// deletion; what is no answer is asked again.
fn empty_looks(heard: &[Exchange], shared: bool) -> usize {
    let (mut looks, mut found, mut missing) = (0, false, false);
    for exchange in heard {
        let lists = exchange.target.starts_with("/vectors/list?");
        if lists {
            missing = exchange.answer.status == 404;
        } else if exchange.target != COUNT {
            (looks, found, missing) = (0, false, false);
            continue;
        }
        // A count is asked for where a listing found no namespace, and says nothing elsewhere.
        let page = page(exchange, shared).filter(|_| lists || missing);
        if let Some((shows, more)) = page {
            found |= shows;
            if !more {
                looks = if found { 0 } else { looks + 1 };
                found = false;
            }
        }
    }
    looks
}

const COUNT: &str = "/describe_index_stats";

/// Whether a page shows a vector, and whether more pages follow; `None` for what is no word about the place.
fn page(exchange: &Exchange, shared: bool) -> Option<(bool, bool)> {
    let Answer {
        status, body, cut, ..
    } = &exchange.answer;
    let body: Value = serde_json::from_slice(body).ok()?;
    if *cut || !(200..300).contains(status) {
        return None;
    }
    let here = if shared { SHARED } else { OWNER };
    if exchange.target == COUNT {
        let count = body["namespaces"].as_object()?.get(here);
        return count
            .is_none_or(|here| here["vectorCount"] == 0)
            .then_some((false, false));
    }
    let (vectors, named) = (&body["vectors"], &body["namespace"]);
    let about_it = named == here || (named.is_null() && vectors.is_array());
    let listed = vectors.is_null() || vectors.is_array();
    let vectors = vectors.as_array().map(Vec::as_slice).unwrap_or_default();
    let ids = vectors.iter().all(|vector| vector["id"].is_string());
    let pagination = &body["pagination"];
    let next = match pagination {
        Value::Null => "",
        Value::Object(of) => match of.get("next") {
            None | Some(Value::Null) => "",
            Some(next) => next.as_str()?,
        },
        _ => return None,
    };
    (about_it && listed && ids).then_some((!vectors.is_empty(), !next.is_empty()))
}

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: &'static str,
    body: Vec<u8>,
    cut: bool,
}

impl Answer {
    fn read(bytes: &mut Bytes<'_>, shared: bool) -> Self {
        const STATUSES: [u16; 10] = [200, 200, 200, 202, 404, 429, 500, 503, 400, 302];
        const HEADERS: [&str; 4] = [
            "",
            "retry-after: 0\r\n",
            "location: http://127.0.0.1:1/\r\nretry-after: -1\r\n",
            "content-encoding: gzip\r\n",
        ];
        let status = match bytes.number() {
            given if given < 10 => STATUSES[given],
            given => 200 + u16::try_from(given).unwrap(),
        };
        let body = body(bytes, shared);
        let how = bytes.byte();
        Self {
            status,
            headers: HEADERS[usize::from(how % 4)],
            body,
            cut: how >= 0xF0,
        }
    }
}

fn body(bytes: &mut Bytes<'_>, shared: bool) -> Vec<u8> {
    let here = if shared { SHARED } else { OWNER };
    let mine = format!("{OWNER}#{SAID}");
    let answer = match bytes.byte() % 14 {
        0 => json!({ "vectors": [], "namespace": here }),
        1 => json!({ "vectors": [{ "id": mine }], "namespace": here }),
        2 => json!({ "vectors": [], "namespace": here, "pagination": { "next": SAID } }),
        3 => {
            json!({ "vectors": [{ "id": mine }], "namespace": here, "pagination": { "next": "a b" } })
        }
        4 => json!({ "vectors": [{ "id": mine }, { "id": "7461646162#x" }], "namespace": here }),
        5 => json!({ "vectors": [], "namespace": SAID }),
        6 => json!({ "namespaces": { "other": { "vectorCount": 3 } } }),
        7 => json!({ "namespaces": { here: { "vectorCount": 3 } } }),
        8 => json!({ "namespaces": { here: { "vectorCount": 0 } } }),
        9 => json!({ "namespace": here }),
        10 => json!({}),
        11 => json!({ "vectors": null, "namespace": null, "error": SAID }),
        12 => json!({ "vectors": [], "pagination": { "next": bytes.byte() } }),
        _ => return bytes.some().to_vec(),
    };
    let mut body = answer.to_string().into_bytes();
    if bytes.byte() >= 0xE0 {
        let at = bytes.number() % body.len();
        body[at] = bytes.byte();
    }
    body
}

/// Answers one by one; then the server is out of order.
async fn serve(listener: TcpListener, mut answers: Vec<Answer>, heard: Arc<Mutex<Vec<Exchange>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        // A connection that breaks is the client's to mend.
        drop(talk(stream, &mut answers, &heard).await);
    }
}

async fn talk(
    mut stream: TcpStream,
    answers: &mut Vec<Answer>,
    heard: &Mutex<Vec<Exchange>>,
) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let Some((method, target, request)) = next(&mut stream, &mut read).await? else {
            return Ok(());
        };
        let answer = answers.pop().unwrap_or(Answer {
            status: 500,
            headers: "",
            body: SAID.into(),
            cut: false,
        });
        let Answer {
            status,
            headers,
            body,
            cut,
        } = answer.clone();
        heard.lock().unwrap().push(Exchange {
            method,
            target,
            request,
            answer,
        });
        let head = format!(
            "HTTP/1.1 {status} {SAID}\r\n{headers}content-length: {}\r\n\r\n",
            body.len() + usize::from(cut)
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        if cut {
            return Ok(());
        }
    }
}

/// Method, target and body of the next request, if there is one.
async fn next(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
) -> std::io::Result<Option<(String, String, Value)>> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(read.drain(..end).collect()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    while read.len() < length {
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
    let body: Vec<u8> = read.drain(..length).collect();
    let mut words = head.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    Ok(Some((
        method,
        target,
        serde_json::from_slice(&body).unwrap_or_default(),
    )))
}
