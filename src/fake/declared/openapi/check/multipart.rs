//! Bodies of forms in parts, as fields.

use bytes::Bytes;

use super::is_json;
use super::typed::{FieldTree, FieldValue, Layers};
use crate::content::multipart;
use crate::fake::reply::essence;

/// The most parts that are read.
const PARTS_LIMIT: usize = 10_000;

/// The fields of a form.
///
/// # Errors
/// It can't be read.
pub(super) fn read(body: &Bytes, boundary: &str, layers: &Layers<'_>) -> Result<FieldTree, String> {
    let parts = multipart::parts(body, boundary, PARTS_LIMIT);
    let parts = parts.ok_or_else(|| format!("the body is not a form in parts with the boundary `{boundary}`"))?;
    let mut fields = FieldTree::default();
    for part in parts {
        let is_json = part
            .content_type
            .is_some_and(|media_type| is_json(&essence(&media_type)));
        let value = match serde_json::from_slice(part.content) {
            Ok(value) if is_json && part.filename.is_none() => FieldValue::Json(value),
            _ => FieldValue::Text(String::from_utf8_lossy(part.content).into_owned()),
        };
        if layers.named().any(|(name, _)| name == part.name) {
            fields.add_literally(&part.name, value);
        } else {
            fields.add(&part.name, value);
        }
    }
    Ok(fields)
}
