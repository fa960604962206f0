//! Files that a declared fake is made from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::fake::spec::FakeSettings;
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span};

/// The files that a fake is made from, but for its store, relative to `folder`.
pub(in crate::fake) fn named(spec: &FakeSettings, folder: &Path) -> Vec<PathBuf> {
    let openapi = spec.openapi.as_ref().map(|openapi| &openapi.value.0.file.value);
    let har = spec.har.as_ref().map(|har| &har.value.0.file.value);
    let routes = spec.routes.iter().flat_map(|routes| &routes.value);
    let routes = routes.flat_map(|route| route.value.files());
    let documents = openapi.into_iter().chain(har).map(String::as_str);
    documents.chain(routes).map(|file| folder.join(file)).collect()
}

/// The whole file, if it has at most `limit` bytes. `place` is where it is named, if the name has no place of its own.
pub(super) fn read(file: &Spanned<String>, place: Span, folder: &Path, limit: u64) -> Result<Vec<u8>, Box<Diagnostic>> {
    let span = place_of(file, place);
    let path = folder.join(&file.value);
    let name = path.display();
    let error = |error: std::io::Error| Box::new(Diagnostic::error(span, format!("{name}: {error}")));
    // A pipe or a device would be waited for.
    if !std::fs::metadata(&path).map_err(error)?.is_file() {
        return Err(Box::new(Diagnostic::error(span, format!("{name} is not a file"))));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).map_err(error)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > limit {
        let message = format!("{name} is larger than {} MiB", limit >> 20);
        return Err(Box::new(Diagnostic::error(span, message)));
    }
    Ok(bytes)
}

/// Where a file is named: at its name, or, where that has no place, at what it belongs to.
pub(super) fn place_of(file: &Spanned<String>, place: Span) -> Span {
    if file.span.is_nowhere() { place } else { file.span }
}
