//! The strict KMS behind a socket, so that the log of one KMS covers many processes.
//!
//! Invariant: each request is written to the journal when it has arrived, before the KMS sees it.
//! Absent: what the KMS answers (`strict_kms`).

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::HttpConnector,
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use axum::body::{Body, to_bytes};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ophie_crypt_tests::strict_kms::{Fault, StrictKms};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

/// Far less than an attempt may take.
const HOLD: Duration = Duration::from_millis(500);
pub(crate) const REGION: &str = "eu-central-1";

/// What a request says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Arrival {
    /// The access key that signed it: the worker's name.
    pub(crate) actor: String,
    /// `Decrypt`, say.
    pub(crate) operation: String,
    pub(crate) owner: String,
    pub(crate) generation: String,
}

/// Says which fault, if any, meets a request.
type Plan = Box<dyn FnMut(&Arrival) -> Option<Fault> + Send>;

/// How the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Up,
    /// Connections are reset.
    Reset,
    /// Connections are made, and nothing is answered.
    Silent,
}

pub(crate) struct KmsServer {
    pub(crate) kms: StrictKms,
    arn: String,
    port: u16,
    plan: Mutex<Plan>,
    journal: File,
    service: watch::Sender<Service>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    /// No answer leaves before so many requests are under way.
    gate: watch::Sender<usize>,
}

impl KmsServer {
    pub(crate) async fn start(journal: PathBuf) -> Arc<Self> {
        let kms = StrictKms::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let journal = OpenOptions::new().create(true).append(true).open(journal);
        let server = Arc::new(Self {
            arn: kms.make_key(REGION).await,
            kms,
            port: listener.local_addr().unwrap().port(),
            plan: Mutex::new(Box::new(|_| None)),
            journal: journal.unwrap(),
            service: watch::Sender::new(Service::Up),
            in_flight: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            gate: watch::Sender::new(0),
        });
        let weak = Arc::downgrade(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(server) = weak.upgrade() else { return };
                tokio::spawn(server.connection(stream));
            }
        });
        server
    }

    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn plan(&self, plan: impl FnMut(&Arrival) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    pub(crate) fn is(&self, service: Service) {
        self.service.send_replace(service);
    }

    /// The most requests that were under way at a moment.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.most.load(SeqCst)
    }

    /// Holds all answers back until so many requests are under way, or for half a second; once.
    pub(crate) fn gather(&self, count: usize) {
        self.gate.send_replace(count);
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let mut service = self.service.subscribe();
        let up = *service.borrow_and_update();
        if up == Service::Reset {
            let _ = stream.set_zero_linger(); // closing resets it
            return;
        }
        if up == Service::Silent {
            let _ = service.changed().await;
            return;
        }
        stream.set_nodelay(true).unwrap();
        let answer = service_fn(|request| self.answer(request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        tokio::select! {
            _ = connection => {}
            _ = service.changed() => {}
        }
    }

    /// An error breaks the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, ConnectorError> {
        let _under_way = UnderWay::new(self);
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await;
        let body = body.map_err(|error| ConnectorError::io(error.into()))?;
        let arrival = Arrival::read(&head, &body);
        let request = Request::from_parts(head, SdkBody::from(body.to_vec()));
        let request = HttpRequest::try_from(request).expect("a sound request");
        let answer = {
            let mut plan = self.plan.lock().unwrap();
            self.note(&arrival);
            let fault = plan(&arrival);
            self.kms.script(REGION, fault);
            self.kms.call(request) // takes the fault at once
        };
        let mut gate = self.gate.subscribe();
        let open = gate.wait_for(|count| self.in_flight.load(SeqCst) >= *count);
        let _ = timeout(HOLD, open).await;
        self.gate.send_replace(0);
        Ok(read(answer.await?).await)
    }

    fn note(&self, arrival: &Arrival) {
        let Arrival {
            actor,
            operation,
            owner,
            generation,
        } = arrival;
        let line = format!("arrival {actor} {operation} {owner} {generation}\n");
        (&self.journal).write_all(line.as_bytes()).unwrap();
    }
}

impl Arrival {
    fn read(head: &http::request::Parts, body: &[u8]) -> Self {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let body: Value = serde_json::from_slice(body).expect("the SDK sends JSON");
        let context = |name: &str| {
            let value = body.pointer(&format!("/EncryptionContext/{name}"));
            let value = value.and_then(Value::as_str);
            value.expect("the whole context").to_owned()
        };
        let credential = header("authorization").and_then(|text| {
            let (_, credential) = text.split_once("Credential=")?;
            Some(credential.split_once('/')?.0.to_owned())
        });
        let operation = header("x-amz-target").and_then(|text| text.strip_prefix("TrentService."));
        Self {
            actor: credential.expect("a signature"),
            operation: operation.expect("an operation").to_owned(),
            owner: context("owner"),
            generation: context("generation"),
        }
    }
}

/// The SDK's response as hyper's.
async fn read(response: HttpResponse) -> Response<Body> {
    let response = response.try_into_http1x().expect("a sound response");
    response.map(Body::new)
}

struct UnderWay<'a>(&'a KmsServer);

impl<'a> UnderWay<'a> {
    fn new(server: &'a KmsServer) -> Self {
        let now = server.in_flight.fetch_add(1, SeqCst).saturating_add(1);
        server.most.fetch_max(now, SeqCst);
        server.gate.send_modify(|_| {}); // those who wait count anew
        Self(server)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}
