//! Gives lists: a page with a link to the next, or all of it as a stream.

use std::{future::ready, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::OriginalUri,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use botfarm_core::{Cursor, Error, Page, PageRequest, Result};
use form_urlencoded::Serializer;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tracing::Span;

use crate::{
    fields::Fields,
    server::{
        extract::held::held,
        layers::shares::{PageTurn, Share},
        refusal::{Refusal, explained},
    },
};

/// How many items of a whole list are put together at once: what is read slowly is kept in memory until then.
const PIECE: usize = 250;

/// Reads which page is wanted; `None` when neither a limit nor a cursor is given.
pub(crate) fn page(query: &mut Fields) -> Option<PageRequest> {
    let limit: Option<String> = query.optional("limit");
    let cursor: Option<String> = query.optional("cursor");
    if limit.is_none() && cursor.is_none() {
        return None;
    }
    let mut page = PageRequest { cursor: cursor.map(Cursor::from_text), ..PageRequest::default() };
    if let Some(limit) = limit {
        match limit.parse() {
            Ok(limit @ 1..=PageRequest::MAX) => page.limit = limit,
            _ => query.fault("limit", format!("must be from 1 to {}", PageRequest::MAX)),
        }
    }
    Some(page)
}

/// One page, with a link to the next. It takes up its turn until it has been read.
pub(crate) fn one_page<T, W>(OriginalUri(uri): &OriginalUri, page: Page<T>, turn: PageTurn) -> Response
where
    W: From<T> + Serialize,
{
    let next = page.next.map(|cursor| link(uri, &cursor));
    let items: Vec<W> = page.items.into_iter().map(W::from).collect();
    let mut response = Json(items).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        response.headers_mut().insert(header::LINK, next);
    }
    held(response, turn)
}

/// The same path and query, but for the cursor.
fn link(uri: &Uri, cursor: &Cursor) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).filter(|(name, _)| name != "cursor"),
    );
    query.append_pair("cursor", cursor.as_str());
    format!("<{}?{}>; rel=\"next\"", uri.path().trim_end_matches('/'), query.finish())
}

/// All items as one JSON array, page by page: in memory is one page at a time. It takes up one turn until it has been
/// read.
///
/// A failure of the first page is answered as such. A later one cuts the answer short, so that nobody takes half a
/// list for the whole.
pub(crate) async fn all<T, W, F, P>(share: &Share, fetch: F) -> Result<Response, Refusal>
where
    F: Fn(PageRequest) -> P + Send + Sync + 'static,
    P: Future<Output = Result<Page<T>>> + Send,
    T: Send + 'static,
    W: From<T> + Serialize,
{
    let turn = share.page().await?;
    let first = fetch(PageRequest::first(PIECE)).await?;
    let (start, next) = Written::default().chunk::<T, W>(first).map_err(Error::backend)?;
    if next.cursor.is_none() {
        return Ok(held(([(header::CONTENT_TYPE, "application/json")], start).into_response(), turn));
    }
    let (fetch, span) = (Arc::new(fetch), Span::current());
    let rest = stream::try_unfold(next, move |written| {
        let (fetch, span) = (fetch.clone(), span.clone());
        async move {
            let Some(cursor) = written.cursor.clone() else { return Ok(None) };
            let page = fetch(PageRequest::first(PIECE).after(Some(cursor))).await;
            let chunk = page.and_then(|page| written.chunk::<T, W>(page).map_err(Error::backend));
            chunk.map(Some).inspect_err(|error| {
                span.in_scope(|| tracing::error!(cause = explained(error), "a list was cut short"));
            })
        }
    });
    let body = Body::from_stream(stream::once(ready(Ok(start))).chain(rest));
    Ok(held(([(header::CONTENT_TYPE, "application/json")], body).into_response(), turn))
}

/// How far an array has been written.
#[derive(Debug, Default)]
struct Written {
    /// Where to go on.
    cursor: Option<Cursor>,
    /// Whether the bracket is open.
    opened: bool,
    /// Whether the next item needs a comma.
    any: bool,
}

impl Written {
    /// The JSON of one more page. The last one closes the array.
    fn chunk<T, W>(mut self, page: Page<T>) -> serde_json::Result<(Bytes, Self)>
    where
        W: From<T> + Serialize,
    {
        let mut text = Vec::with_capacity(page.items.len() * 400 + 2);
        if !self.opened {
            text.push(b'[');
            self.opened = true;
        }
        for item in page.items {
            if self.any {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &W::from(item))?;
            self.any = true;
        }
        self.cursor = page.next;
        if self.cursor.is_none() {
            text.push(b']');
        }
        Ok((text.into(), self))
    }
}
