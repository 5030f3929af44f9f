//! From a request to its operation. In: the head and the body. Out: the answer of the one handler
//! that path and method name; 404 for a path that names nothing, 405 for a method a route does not
//! know.

use http::{HeaderValue, Method, StatusCode, header::ALLOW, request::Parts};

use crate::{
    access,
    handlers::{
        account, base, blob, collection,
        error_map::{Failure, Outcome},
        extensions,
        incoming::{self, Incoming},
        manifest, probes, referrers,
        scope::Scope,
        scrub, tags, token, upload,
    },
    metrics::RouteClass,
    protocol::{ErrorCode, Query, Route},
    registry::Registry,
    server::{MayRepeat, Peer, RouteSlot},
};

/// Answers one request, except for what goes wrong.
pub async fn route(registry: &Registry, head: &Parts, body: &mut impl Incoming) -> Outcome {
    let route = Route::parse(head.uri.path());
    if !matches!(route, Ok(Route::Health(_))) {
        not_too_many(registry, head)?;
    }
    let route = route?;
    if let Some(slot) = head.extensions.get::<RouteSlot>() {
        slot.set(class(&route));
    }
    if head.method == Method::OPTIONS {
        return Ok(base::options(&route));
    }
    if !route.allows(&head.method) {
        let allow = HeaderValue::from_static(route.allow());
        let message = format!("this path answers {} only", route.allow());
        return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message).with(ALLOW, allow));
    }
    let grant = access::admit(registry, head, &route).await?;
    let query = Query::parse(head.uri.query())?;
    let mut _turn = None;
    if !matches!(head.method, Method::GET | Method::HEAD) {
        incoming::require_plain(&head.headers)?;
        if head.method != Method::DELETE {
            _turn = incoming::require_turn(&registry.pressure, body)?;
        }
    }
    let brings_content = matches!(route, Route::Blob { .. } | Route::Manifest { .. });
    if head.method == Method::GET && brings_content {
        incoming::require_memory_to_pull(&registry.pressure)?;
    }
    let (method, headers) = (&head.method, &head.headers);
    let holders = || head.extensions.get::<MayRepeat>().and_then(|_| grant.holders(head));
    // Pulls run as part of this future; everything else has one of its own. A future has the size of
    // its largest branch, and every request would pay for moving an upload's.
    match &route {
        Route::Base => Ok(base::get(&grant, head)),
        Route::Token => Box::pin(token::answer(registry, &grant, head, body)).await,
        Route::Account(path) => Box::pin(account::answer(registry, path, &grant, head, body)).await,
        Route::Extensions => Ok(extensions::discover()),
        Route::Management => Ok(extensions::management(registry.access.as_deref())),
        Route::Catalog => Box::pin(tags::catalog(&registry.engine, &registry.limits, &grant, &query)).await,
        Route::Tags { name } => {
            let scope = registry.scope(name, &grant);
            Box::pin(tags::list(&scope, &query)).await
        }
        Route::Referrers { name, digest } => {
            let scope = registry.scope(name, &grant);
            Box::pin(referrers::list(&scope, digest, &query)).await
        }
        Route::Blob { name, digest } => {
            let scope = Scope { holders: holders(), ..registry.scope(name, &grant) };
            match *method {
                Method::HEAD => blob::head(&scope, digest, headers).await,
                Method::DELETE => Box::pin(blob::delete(&scope, digest)).await,
                _ => blob::get(&scope, digest, headers).await,
            }
        }
        Route::Manifest { name, reference } => {
            let scope = Scope { holders: holders(), ..registry.scope(name, &grant) };
            match *method {
                Method::HEAD => manifest::head(&scope, reference, headers).await,
                Method::PUT => {
                    let put = async {
                        let tags = manifest::tags(reference, &query)?;
                        access::admit_tags(&grant, &scope, head, &tags).await?;
                        manifest::put(&scope, reference, &tags, headers, body).await
                    };
                    Box::pin(put).await
                }
                Method::DELETE => Box::pin(manifest::delete(&scope, reference)).await,
                _ => manifest::get(&scope, reference, headers).await,
            }
        }
        Route::UploadStart { name } => {
            let scope = registry.scope(name, &grant);
            Box::pin(upload::start(&scope, &query, headers, body)).await
        }
        Route::Upload { name, id } => {
            let scope = registry.scope(name, &grant);
            match *method {
                Method::PATCH => Box::pin(upload::append(&scope, id, headers, body)).await,
                Method::PUT => Box::pin(upload::finish(&scope, id, &query, headers, body)).await,
                Method::DELETE => Box::pin(upload::cancel(&scope, id)).await,
                _ => Box::pin(upload::status(&scope, id)).await,
            }
        }
        Route::Health(question) => Ok(probes::health(&registry.health, *question)),
        Route::Metrics => Ok(probes::metrics(&registry.metrics)),
        Route::Collection => {
            collection::admit(registry, head.extensions.get::<Peer>(), headers)?;
            collection::answer(registry, method)
        }
        Route::Scrub => {
            collection::admit(registry, head.extensions.get::<Peer>(), headers)?;
            Box::pin(scrub::answer(registry, method)).await
        }
    }
}

/// Refuses a request of a client that has sent too many, before anything is done for it. Probes are not counted: a
/// supervisor that is refused would end the process.
pub fn not_too_many(registry: &Registry, head: &Parts) -> Outcome<()> {
    let Some(rates) = &registry.front.rates else { return Ok(()) };
    let Some(peer) = head.extensions.get::<Peer>() else { return Ok(()) };
    rates.admit(peer.client, &head.method).map_err(Failure::too_many)
}

fn class(route: &Route) -> RouteClass {
    match route {
        Route::Base | Route::Extensions | Route::Management => RouteClass::Base,
        Route::Catalog => RouteClass::Catalog,
        Route::Tags { .. } => RouteClass::Tags,
        Route::Manifest { .. } => RouteClass::Manifest,
        Route::Blob { .. } => RouteClass::Blob,
        Route::UploadStart { .. } | Route::Upload { .. } => RouteClass::Upload,
        Route::Referrers { .. } => RouteClass::Referrers,
        Route::Health(_) => RouteClass::Health,
        Route::Metrics => RouteClass::Metrics,
        Route::Token | Route::Account(_) => RouteClass::Token,
        Route::Collection | Route::Scrub => RouteClass::Operators,
    }
}
