//! A Pinecone index as bad as eventual consistency allows: what it holds, and what it answers.
//!
//! Invariant: of three looks in a row at least one shows what is there, and of five answers to one call at least one
//! is right, so that what a client does not achieve is the client's fault. Absent: sockets (`server`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Marsaglia's xorshift64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How it misbehaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Faults, late deletions, lies and short pages, by chance.
    pub(crate) chance: bool,
    /// Lists a shared namespace without looking at the prefix.
    pub(crate) ignores_prefix: bool,
    /// Lists another namespace than the one asked for.
    pub(crate) ignores_namespace: bool,
    /// Answers 404 for a namespace that is not there.
    pub(crate) missing_is_404: bool,
    /// Answers this to everything.
    pub(crate) status: Option<u16>,
    /// Takes deletions and never does them.
    pub(crate) deletes_never: bool,
    /// Never shows one of the vectors that it lists.
    pub(crate) shows_one_never: bool,
}

/// An answer to be sent, and how much of it.
pub(crate) enum Answer {
    Whole(u16, Vec<(&'static str, String)>, String),
    /// The connection is lost within it.
    Cut(String),
    /// Or before it.
    Lost,
}

pub(crate) struct Index {
    pub(crate) manners: Manners,
    pub(crate) random: Random,
    /// By namespace and id; when it is gone, in requests, once it was deleted.
    vectors: BTreeMap<(String, String), Option<u64>>,
    /// Of a vector, as it is and as it was before.
    metadata: BTreeMap<(String, String), (Value, Value)>,
    stale: u32,
    tokens: BTreeMap<String, String>,
    pub(crate) requests: u64,
    pub(crate) deletions: Vec<usize>,
    faults: u32,
    lies: u32,
    empty_pages: u32,
}

/// What no error and no log may hold.
pub(crate) const KEY: &str = "pcsk_canary_of_the_api_key";
pub(crate) const SAID: &str = "canary-of-the-server";

impl Index {
    pub(crate) fn new(seed: u64, manners: Manners) -> Self {
        Self {
            manners,
            random: Random::new(seed),
            vectors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            stale: 0,
            tokens: BTreeMap::new(),
            requests: 0,
            deletions: Vec::new(),
            faults: 0,
            lies: 0,
            empty_pages: 0,
        }
    }

    pub(crate) fn upsert(&mut self, namespace: &str, id: &str) {
        let key = (namespace.to_owned(), id.to_owned());
        self.vectors.insert(key, None);
    }

    /// Changes what stands beside a vector.
    pub(crate) fn describe(&mut self, namespace: &str, id: &str, metadata: Value) {
        let key = (namespace.to_owned(), id.to_owned());
        let (now, before) = self.metadata.entry(key).or_default();
        *before = core::mem::replace(now, metadata);
    }

    /// All that is there, or will be shown again.
    pub(crate) fn held(&self) -> BTreeSet<(String, String)> {
        let held = self.vectors.iter();
        held.filter(|(_, gone)| gone.is_none_or(|at| at > self.requests))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Answers a request; at times it does what was asked and the answer is lost, or half of it, or nothing.
    pub(crate) fn answer(
        &mut self,
        method: &str,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Answer {
        self.requests += 1;
        if let Some(status) = self.manners.status {
            return whole(status, &json!({ "message": format!("{SAID} {KEY}") }));
        }
        let fault = self.manners.chance && self.faults < 4 && self.random.one_in(3);
        if !fault {
            self.faults = 0;
            return self.done(method, path, query, body, false);
        }
        self.faults += 1;
        // A look that nobody saw is none.
        let (lies, stale) = (self.lies, self.stale);
        let answer = self.fault(method, path, query, body);
        (self.lies, self.stale) = (lies, stale);
        answer
    }

    fn fault(
        &mut self,
        method: &str,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Answer {
        match self.random.below(8) {
            0 => {
                let wait = vec![("retry-after", "0".to_owned())];
                Answer::Whole(429, wait, SAID.to_owned())
            }
            1 => whole(500, &json!({ "message": SAID })),
            2 => whole(503, &json!(null)),
            3 => Answer::Lost,
            4 => Answer::Whole(200, Vec::new(), format!("<html>{SAID}</html>")),
            5 => {
                self.done(method, path, query, body, true);
                whole(500, &json!({ "message": SAID }))
            }
            6 => {
                self.done(method, path, query, body, true);
                Answer::Lost
            }
            _ => match self.done(method, path, query, body, false) {
                Answer::Whole(_, _, body) => Answer::Cut(body),
                other => other,
            },
        }
    }

    fn done(
        &mut self,
        method: &str,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
        half: bool,
    ) -> Answer {
        match (method, path) {
            ("GET", "/vectors/list") => self.list(query),
            ("GET", "/vectors/fetch") => self.fetch(query),
            ("POST", "/vectors/delete") => self.delete(body, half),
            ("POST", "/describe_index_stats") => self.count(),
            ("DELETE", path) => match path.strip_prefix("/namespaces/") {
                Some(namespace) => self.delete_namespace(namespace),
                None => whole(404, &json!(null)),
            },
            _ => whole(404, &json!(null)),
        }
    }

    fn list(&mut self, query: &BTreeMap<String, String>) -> Answer {
        let of = |name| query.get(name).cloned();
        let (Some(limit), Some(mut namespace)) = (of("limit"), of("namespace")) else {
            return whole(400, &json!({ "message": SAID }));
        };
        let limit: usize = limit.parse().unwrap();
        let mut prefix = of("prefix").unwrap_or_default();
        assert!((1..=100).contains(&limit), "{limit} ids on a page");
        let after = match of("paginationToken") {
            None => None,
            Some(token) => match self.tokens.get(&token) {
                Some(id) => Some(id.clone()),
                None => return whole(400, &json!({ "message": SAID })),
            },
        };
        if self.manners.missing_is_404 && !self.held().iter().any(|(of, _)| *of == namespace) {
            return whole(404, &json!({ "code": 5, "message": "Namespace not found" }));
        }
        if self.manners.ignores_prefix {
            prefix.clear();
        }
        if self.manners.ignores_namespace {
            namespace = "another".to_owned();
        }
        let held = self.held();
        let ids = held
            .iter()
            .filter(|(of, id)| *of == namespace && id.starts_with(&prefix))
            .map(|(_, id)| id)
            .filter(|id| after.as_ref().is_none_or(|after| *id > after));
        let mut ids: Vec<_> = ids.cloned().collect();
        // A replica that is ahead, or behind: it shows nothing of what others still have.
        let lies = after.is_none() && self.manners.chance && self.lies < 2 && self.random.one_in(2);
        if lies {
            ids.clear();
            self.lies += 1;
        } else if after.is_none() {
            self.lies = 0;
        }
        let mut take = limit;
        if self.manners.chance && self.random.one_in(2) {
            take = usize::try_from(self.random.below(7)).unwrap();
        }
        if take == 0 {
            self.empty_pages += 1;
            if self.empty_pages > 2 {
                (take, self.empty_pages) = (1, 0);
            }
        }
        let more = ids.len() > take;
        ids.truncate(take);
        let mut page = json!({
            "vectors": ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>(),
            "namespace": namespace,
            "usage": { "readUnits": 1 },
        });
        if more {
            let last = ids.last().cloned().or(after).unwrap_or_default();
            let token = format!("{}+/=&#?% {}", self.tokens.len(), self.random.next());
            self.tokens.insert(token.clone(), last);
            page["pagination"] = json!({ "next": token });
        }
        whole(200, &page)
    }

    /// By chance as it was before, or without some of them, at most twice in a row.
    fn fetch(&mut self, query: &BTreeMap<String, String>) -> Answer {
        let (Some(namespace), Some(ids)) = (query.get("namespace"), query.get("ids")) else {
            return whole(400, &json!({ "message": SAID }));
        };
        let stale = self.manners.chance && self.stale < 2 && self.random.one_in(2);
        self.stale = if stale { self.stale + 1 } else { 0 };
        let held = self.held();
        let mut vectors = serde_json::Map::new();
        for (n, id) in ids.lines().enumerate() {
            let key = (namespace.clone(), id.to_owned());
            let hidden = self.manners.shows_one_never && n == 0;
            if hidden || !held.contains(&key) || (stale && self.random.one_in(3)) {
                continue;
            }
            let mut vector = json!({ "id": id, "values": [0.5, -1.0, 3e-7] });
            if let Some((now, before)) = self.metadata.get(&key) {
                vector["metadata"] = if stale { before } else { now }.clone();
            }
            vectors.insert(id.to_owned(), vector);
        }
        let usage = json!({ "readUnits": 1 });
        whole(
            200,
            &json!({ "vectors": vectors, "namespace": namespace, "usage": usage }),
        )
    }

    fn delete(&mut self, body: &Value, half: bool) -> Answer {
        let namespace = body["namespace"].as_str().unwrap();
        let ids = body["ids"].as_array().unwrap();
        if !(1..=1_000).contains(&ids.len()) {
            return whole(400, &json!({ "message": SAID }));
        }
        self.deletions.push(ids.len());
        for id in ids {
            if !half || self.random.one_in(2) {
                self.remove(namespace, id.as_str().unwrap());
            }
        }
        whole(200, &json!({}))
    }

    fn delete_namespace(&mut self, namespace: &str) -> Answer {
        let here: Vec<_> = self
            .held()
            .into_iter()
            .filter(|(of, _)| of == namespace)
            .collect();
        if here.is_empty() {
            return whole(404, &json!({ "code": 5, "message": "Namespace not found" }));
        }
        for (of, id) in here {
            self.remove(&of, &id);
        }
        whole(200, &json!({}))
    }

    fn count(&self) -> Answer {
        let mut namespaces = BTreeMap::<String, u64>::new();
        for (namespace, _) in self.held() {
            *namespaces.entry(namespace).or_default() += 1;
        }
        let namespaces: serde_json::Map<_, _> = namespaces
            .into_iter()
            .map(|(of, count)| (of, json!({ "vectorCount": count })))
            .collect();
        whole(200, &json!({ "namespaces": namespaces, "dimension": 3 }))
    }

    /// Now, or some requests later.
    fn remove(&mut self, namespace: &str, id: &str) {
        if self.manners.deletes_never {
            return;
        }
        let late = if self.manners.chance {
            self.random.below(9)
        } else {
            0
        };
        let key = (namespace.to_owned(), id.to_owned());
        if let Some(gone @ None) = self.vectors.get_mut(&key) {
            *gone = Some(self.requests + late);
        }
    }
}

fn whole(status: u16, body: &Value) -> Answer {
    Answer::Whole(status, Vec::new(), body.to_string())
}
