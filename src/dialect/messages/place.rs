//! Decides what goes where in a request.

use super::Places;
use crate::dialect::injection::{Composed, Injection};
use crate::dialect::request::Request;
use crate::wire::splice::Splice;

/// The body to send for `request` with `injection`.
pub fn compose(request: &Request, _places: &Places, _injection: &Injection) -> Composed {
    Splice::new(request.body()).finish()
}
