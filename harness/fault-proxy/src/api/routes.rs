//! The routes, and what all of them have in common.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde::Serialize;

use super::{
    TOXIPROXY_VERSION, decisions, metrics,
    proxies::{self as proxy_json, ProxyBody},
    refusal::{Reason, Refusal, plain},
    request::{Body, Named, Patience},
    settings::{Answered, Settings},
    toxics::{self as toxic_json, ToxicBody},
};
use crate::{Proxies, Proxy};

type Answer = Result<Response, Refusal>;

pub(super) fn router(proxies: Proxies, settings: &Settings) -> Router {
    let mut routes = Router::new()
        .route("/version", get(version))
        .route("/proxies", get(list_proxies).post(create_proxy))
        .route(
            "/proxies/{proxy}",
            get(show_proxy).post(change_proxy).patch(change_proxy).delete(delete_proxy),
        )
        .route("/proxies/{proxy}/toxics", get(list_toxics).post(create_toxic))
        .route(
            "/proxies/{proxy}/toxics/{toxic}",
            get(show_toxic).post(change_toxic).patch(change_toxic).delete(delete_toxic),
        )
        .route("/populate", post(populate))
        .route("/reset", post(reset))
        .route("/decisions", get(decisions::show).post(decisions::record));
    if settings.any_metrics() {
        let settings = settings.clone();
        let metrics =
            move |State(proxies): State<Proxies>| async move { metrics::answer(&proxies, &settings) };
        routes = routes.route("/metrics", any(metrics));
    }
    routes
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "404 page not found\n") })
        .layer(from_fn(refuse_browsers))
        .layer(from_fn_with_state(Arc::new(settings.clone()), accompany))
        .with_state(proxies)
}

async fn version() -> impl IntoResponse {
    let body = format!("{{\"version\": \"{TOXIPROXY_VERSION}\"}}\n");
    ([(header::CONTENT_TYPE, "application/json;charset=utf-8")], body)
}

async fn list_proxies(State(proxies): State<Proxies>) -> Response {
    let shown: std::collections::BTreeMap<String, ProxyBody> =
        proxies.list().iter().map(|proxy| (proxy.name().to_owned(), ProxyBody::of(proxy))).collect();
    json(StatusCode::OK, &shown)
}

async fn create_proxy(State(proxies): State<Proxies>, Body(body): Body) -> Answer {
    let proxy = proxies.create(proxy_json::new(&body)?).await?;
    Ok(json(StatusCode::CREATED, &ProxyBody::of(&proxy)))
}

async fn show_proxy(State(proxies): State<Proxies>, Named(name): Named<String>) -> Answer {
    Ok(json(StatusCode::OK, &ProxyBody::of(&proxies.get(&name)?)))
}

async fn change_proxy(
    State(proxies): State<Proxies>,
    Named(name): Named<String>,
    Body(body): Body,
) -> Answer {
    proxies.get(&name)?;
    let proxy = proxies.change(&name, proxy_json::change(&body)?).await?;
    Ok(json(StatusCode::OK, &ProxyBody::of(&proxy)))
}

async fn delete_proxy(State(proxies): State<Proxies>, Named(name): Named<String>) -> Answer {
    proxies.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list_toxics(State(proxies): State<Proxies>, Named(name): Named<String>) -> Answer {
    Ok(json(StatusCode::OK, &ToxicBody::all_of(&proxies.get(&name)?)))
}

async fn create_toxic(
    State(proxies): State<Proxies>,
    Named(name): Named<String>,
    Body(body): Body,
) -> Answer {
    let proxy = proxies.get(&name)?;
    let toxic = toxic_json::new_on(&proxy, &body)?;
    proxy.add_toxic(toxic.clone())?;
    Ok(show_one(&proxy, &toxic))
}

async fn show_toxic(State(proxies): State<Proxies>, Named((name, toxic)): Named<(String, String)>) -> Answer {
    let proxy = proxies.get(&name)?;
    Ok(show_one(&proxy, &proxy.toxic(&toxic)?))
}

async fn change_toxic(
    State(proxies): State<Proxies>,
    Named((name, toxic)): Named<(String, String)>,
    Body(body): Body,
) -> Answer {
    let proxy = proxies.get(&name)?;
    let toxic = toxic_json::change(&proxy.toxic(&toxic)?, &body)?;
    proxy.update_toxic(toxic.clone())?;
    Ok(show_one(&proxy, &toxic))
}

async fn delete_toxic(
    State(proxies): State<Proxies>,
    Named((name, toxic)): Named<(String, String)>,
) -> Answer {
    proxies.get(&name)?.remove_toxic(&toxic)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn populate(State(proxies): State<Proxies>, Body(body): Body) -> Response {
    let show = |made: &[Proxy]| made.iter().map(ProxyBody::of).collect::<Vec<_>>();
    let wanted = match proxy_json::list(&body) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.with_proxies(&show(&[])),
    };
    match proxies.populate(wanted).await {
        (made, Ok(())) => json(StatusCode::CREATED, &Populated { proxies: show(&made) }),
        (made, Err(error)) => Refusal::from(error).with_proxies(&show(&made)),
    }
}

#[derive(Serialize)]
struct Populated {
    proxies: Vec<ProxyBody>,
}

async fn reset(State(proxies): State<Proxies>) -> Answer {
    proxies.reset().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn show_one(proxy: &Proxy, toxic: &crate::Toxic) -> Response {
    json(StatusCode::OK, &ToxicBody::of(proxy, toxic))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}

/// A page in a browser must not be able to reach into the test machine's network through us.
async fn refuse_browsers(headers: HeaderMap, request: Request, next: Next) -> Response {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    if agent.starts_with(b"Mozilla/") {
        return plain(StatusCode::FORBIDDEN, "User agent not allowed\n");
    }
    next.run(request).await
}

/// Gives the request its id and its deadline, and tells the log how it went.
async fn accompany(State(settings): State<Arc<Settings>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = next_id();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(Patience(settings.body_timeout));
    let mut response = next.run(request).await;
    if let Some(log) = &settings.log {
        log(&Answered {
            id: &id,
            method: &method,
            path: &path,
            status: response.status(),
            reason: response.extensions().get().map(|Reason(text)| text.as_str()),
            took: started.elapsed(),
        });
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-toxiproxy-request-id", id);
    }
    headers.insert(
        header::SERVER,
        HeaderValue::from_static(concat!("seaworthy-fault-proxy/", env!("CARGO_PKG_VERSION"))),
    );
    response
}

/// Different for every request of this process, and most likely of all processes.
fn next_id() -> String {
    static STARTED: LazyLock<u64> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (since.as_micros() as u64) ^ u64::from(std::process::id()).rotate_right(20)
    });
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:012x}{:08x}", *STARTED & 0xffff_ffff_ffff, NEXT.fetch_add(1, Ordering::Relaxed))
}
