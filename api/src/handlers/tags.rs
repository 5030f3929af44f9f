//! Lists of names: the tags of a repository (spec, "Listing Tags") and the repositories (the
//! catalog of the Docker registry API). Both are in byte order and continue after any text, whether
//! it is still in the list or not, so that a page survives the deletion of its last entry.

use http::{Response, StatusCode, header::LINK};
use orlop_engine::Engine;
use serde::Serialize;

use super::{
    error_map::{Failure, Outcome},
    reply,
    scope::Scope,
};
use crate::{
    access::Grant,
    body::ResponseBody,
    limits::{Limits, size},
    protocol::{Query, link, query::Page},
};

/// Repositories looked up in one step while some have to be left out.
const STEP_ENTRIES: usize = 1024;

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: &'a [String],
}

/// `GET /v2/<name>/tags/list`
pub async fn list(scope: &Scope<'_>, query: &Query<'_>) -> Outcome {
    let page = Listing::of(query, scope.limits.tags_page_max)?;
    let names = scope.engine.names(&scope.namespace, page.after(), page.fetch()).await.map_err(Failure::manifest)?;
    let tags = names.into_iter().map(|named| named.name).collect();
    let name = scope.repository.as_str();
    Ok(page.answer(tags, || format!("/v2/{name}/tags/list"), |tags| json(&Tags { name, tags })))
}

/// `GET /v2/_catalog`
pub async fn catalog(engine: &Engine, limits: &Limits, grant: &Grant, query: &Query<'_>) -> Outcome {
    let page = Listing::of(query, limits.catalog_page_max)?;
    let names = listed(engine, grant, page.after(), page.fetch()).await?;
    Ok(page.answer(names, || "/v2/_catalog".to_owned(), |repositories| json(&Catalog { repositories })))
}

/// The first `limit` repositories after `after` that may be listed. Those that may not are passed over here and not
/// in the page, so that no page and no link names one. It ends where the repositories end.
async fn listed(engine: &Engine, grant: &Grant, after: Option<&str>, limit: usize) -> Outcome<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut after = after.map(str::to_owned);
    let step = if grant.lists_all() { limit } else { limit.max(STEP_ENTRIES) };
    loop {
        let found = engine.namespaces(after.as_deref(), step).await.map_err(Failure::manifest)?;
        let is_last = found.len() < step || grant.lists_all();
        after = found.last().cloned();
        names.extend(found.into_iter().filter(|name| grant.may_list(name)));
        if is_last || names.len() >= limit {
            names.truncate(limit);
            return Ok(names);
        }
    }
}

/// The part of a list that was asked for.
struct Listing(Page);

impl Listing {
    fn of(query: &Query<'_>, entries_max: u64) -> Outcome<Self> {
        let mut page = query.page()?;
        page.entries = page.entries.min(size(entries_max));
        Ok(Listing(page))
    }

    fn after(&self) -> Option<&str> {
        self.0.last.as_deref()
    }

    /// One entry more than is sent tells whether there is a next page. A page of nothing has none,
    /// but the look-up is still made: it says whether the repository exists.
    fn fetch(&self) -> usize {
        if self.0.entries == 0 { 0 } else { self.0.entries + 1 }
    }

    fn answer(
        &self,
        mut names: Vec<String>,
        path: impl FnOnce() -> String,
        body: impl FnOnce(&[String]) -> Vec<u8>,
    ) -> Response<ResponseBody> {
        let more = names.len() > self.0.entries;
        names.truncate(self.0.entries);
        let mut response = reply::json(StatusCode::OK, body(&names));
        if let (true, Some(last)) = (more, names.last()) {
            let next = link::next(&path(), &[("n", &self.0.entries.to_string()), ("last", last)]);
            response.headers_mut().insert(LINK, reply::text(next));
        }
        response
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("lists of strings are always JSON")
}
