//! `GET /v1/openapi.json`: the description of `/v1`, for programs and for those that write clients.
//!
//! The description is `walrusd/openapi.json`, checked in so that a change of the API shows in
//! review, and served as it is. A test writes it anew from the models (`walrus-admin` with its
//! feature `openapi`) and from the table in `routes.rs`, and fails where the two differ or where a
//! route has no line there.
//!
//! A new route takes one line in `routes.rs` (`Route::get(path, summary).query(…).tells::<Model>()`,
//! or `Route::post(…).takes::<Request>().tells::<Answer>()`). Its models derive `utoipa::ToSchema`
//! as their neighbours do; two of one name say another by `schema(as = Name)`. Then
//!
//! ```sh
//! WALRUS_OPENAPI=write cargo test -p walrusd --lib openapi
//! ```
//!
//! writes the file, and `tests/openapi/run` has it validated and a client made of it.

#[cfg(test)]
mod describe;
#[cfg(test)]
mod routes;

use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};

/// As it is checked in.
const DESCRIPTION: &str = include_str!("../../../../openapi.json");

pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}
