//! Declared fakes, as they are typed.

pub use super::collections::spec::{CollectionPageSpec, CollectionSpec, FieldKind, FieldLong, FieldSpec, IdKind};
pub use super::har::spec::{HarLong, HarPart, HarRepeat, HarSpec};
pub use super::openapi::spec::{OpenApiLong, OpenApiSpec};
pub use super::routes::spec::RouteSpec;
