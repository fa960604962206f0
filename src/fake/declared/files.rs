//! Files that a declared fake is made from.

use std::path::{Path, PathBuf};

use super::openapi;
use crate::fake::spec::FakeSettings;
use crate::files;
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span};

/// The files that a fake is made from, but for its store, relative to `folder`.
pub(in crate::fake) fn named(spec: &FakeSettings, folder: &Path) -> Vec<PathBuf> {
    let openapi = spec
        .openapi
        .iter()
        .map(|openapi| folder.join(&openapi.value.0.file.value));
    let openapi = openapi.flat_map(|document| openapi::bundle::named(&document));
    let har = spec.har.as_ref().map(|har| &har.value.0.file.value);
    let routes = spec.routes.iter().flat_map(|routes| &routes.value);
    let routes = routes.flat_map(|route| route.value.files());
    let others = har.into_iter().map(String::as_str).chain(routes);
    openapi.chain(others.map(|file| folder.join(file))).collect()
}

/// The whole file, if it has at most `max_bytes`. `place` is where it is named, if the name has no place of its own.
pub(super) fn read(
    file: &Spanned<String>,
    place: Span,
    folder: &Path,
    max_bytes: usize,
) -> Result<Vec<u8>, Box<Diagnostic>> {
    let path = folder.join(&file.value);
    files::read(&path, max_bytes).map_err(|error| {
        let message = format!("can't read `{}`: {error}", path.display());
        Box::new(Diagnostic::error(place_of(file, place), message))
    })
}

/// Where a file is named: at its name, or, where that has no place, at what it belongs to.
pub(super) fn place_of(file: &Spanned<String>, place: Span) -> Span {
    if file.span.is_nowhere() { place } else { file.span }
}
