//! The strict KMS as an HTTP client of the SDK: protocol, faults and log.
//!
//! Invariant: every request is logged, in the order of arrival, before anything can go wrong with it.
//! Absent: what operations do (`operations`).

use std::pin::Pin;
use std::task::{Context, Poll};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http_body::Frame;
use serde_json::{Value, json};

use super::operations::Request;
use super::{Entry, Fault, Refusal, StrictKms};

impl HttpClient for StrictKms {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for StrictKms {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (fault, answer) = self.arrive(&request);
        HttpConnectorFuture::new(async move {
            match fault {
                Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
                Some(Fault::Hang) => std::future::pending().await,
                Some(Fault::Refuse) => return Err(ConnectorError::io("refused".into())),
                // As the SDK's own HTTP client reports it: not as an I/O error.
                Some(Fault::Reset | Fault::LostAnswer) => {
                    let kind = Some(ErrorKind::TransientError);
                    return Err(ConnectorError::other("connection reset".into(), kind));
                }
                _ => {}
            }
            Ok(answer)
        })
    }
}

/// What is understood of a request's head.
struct Head {
    region: String,
    principal: String,
    operation: String,
}

impl StrictKms {
    fn arrive(&self, request: &HttpRequest) -> (Option<Fault>, HttpResponse) {
        let head = read_head(request).expect("the SDK signs each request and names its operation");
        let body = request.body().bytes().expect("a body in memory");
        let body: Value = serde_json::from_slice(body).expect("the SDK sends JSON");
        let request = Request {
            region: &head.region,
            principal: &head.principal,
            operation: &head.operation,
            body: &body,
        };

        let mut state = self.state();
        let script = state.faults.get_mut(&head.region);
        let fault = script.and_then(std::collections::VecDeque::pop_front);
        let answer = match &fault {
            Some(Fault::Error(code, status)) => Err(Refusal {
                code,
                status: *status,
                message: format!("as scripted, of {body}"), // would show in a leak
            }),
            Some(fault) if !fault.lets_through() => Err(Refusal::new("Fault", "")),
            _ => state.answer(&request),
        };
        let request_id = uuid::Uuid::new_v4().to_string();
        state.log.push(Entry {
            region: head.region.clone(),
            principal: head.principal.clone(),
            operation: head.operation.clone(),
            context: request.context_for_log(),
            request_id: request_id.clone(),
            outcome: answer.as_ref().map(|_| ()).map_err(|r| r.code.to_owned()),
            fault: fault.clone(),
        });
        let response = respond(fault.as_ref(), answer, &request_id);
        (fault, response)
    }
}

fn read_head(request: &HttpRequest) -> Option<Head> {
    let headers = request.headers();
    if headers.get("content-type") != Some("application/x-amz-json-1.1") {
        return None;
    }
    let operation = headers.get("x-amz-target")?.strip_prefix("TrentService.")?;
    // AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/kms/aws4_request, ... From its end: an ARN for a key has slashes too.
    let (_, credential) = headers.get("authorization")?.split_once("Credential=")?;
    let (credential, _) = credential.split_once(',')?;
    let mut scope = credential.rsplitn(5, '/').skip(1);
    let (service, region, _) = (scope.next()?, scope.next()?, scope.next()?);
    let principal = scope.next()?;
    (service == "kms").then(|| Head {
        region: region.to_owned(),
        principal: principal.to_owned(),
        operation: operation.to_owned(),
    })
}

fn respond(fault: Option<&Fault>, answer: Result<Value, Refusal>, id: &str) -> HttpResponse {
    let response = http::Response::builder().header("x-amzn-requestid", id);
    if let Some(Fault::Page(status)) = fault {
        let page = SdkBody::from("<html>a page, not of KMS</html>");
        return finish(http::Response::builder().status(*status), page);
    }
    let response = response.header("content-type", "application/x-amz-json-1.1");
    let (status, body) = match answer {
        Ok(mut answer) => {
            if let Some(fault) = fault {
                fault.falsify(&mut answer);
            }
            (200, answer)
        }
        Err(refusal) if refusal.message.is_empty() => {
            (refusal.status, json!({ "__type": refusal.code }))
        }
        Err(refusal) => (
            refusal.status,
            json!({ "__type": refusal.code, "message": refusal.message }),
        ),
    };
    let body = body.to_string().into_bytes();
    let body = match fault {
        Some(fault) => fault.disfigure(body),
        None => body,
    };
    let breaks = fault == Some(&Fault::CutBody);
    let body = SdkBody::from_body_1_x(Streamed {
        part: Some(body),
        breaks,
    });
    finish(response.status(status), body)
}

fn finish(response: http::response::Builder, body: SdkBody) -> HttpResponse {
    let response = response.body(body).expect("a sound response");
    HttpResponse::try_from(response).expect("a sound response")
}

/// A body that arrives later than the head, as from a socket. (The SDK traces bodies that are in memory.)
struct Streamed {
    part: Option<Vec<u8>>,
    /// Whether the connection breaks after the part.
    breaks: bool,
}

impl http_body::Body for Streamed {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(match self.part.take() {
            Some(part) => Some(Ok(Frame::data(part.into()))),
            None => self
                .breaks
                .then(|| Err(std::io::ErrorKind::ConnectionReset.into())),
        })
    }
}
