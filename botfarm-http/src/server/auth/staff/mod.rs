//! Operators, and the tokens that they give out.

pub(crate) mod api_token;
pub(crate) mod me;
pub(crate) mod operators;
pub(crate) mod tokens;
