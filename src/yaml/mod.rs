//! Reads YAML to a tree with positions, and decodes the tree to typed values, with the position of every error. Knows nothing
//! of what the keys mean.

pub mod decode;
pub mod env;
pub mod forms;
mod json;
pub mod report;
pub mod tree;
pub mod units;

#[cfg(test)]
pub(crate) mod testing {
    use serde::de::DeserializeOwned;

    use super::report::{Report, Sources};
    use super::{decode, tree};

    /// Reads a text as the value of a key in a configuration would be read.
    pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
        let text = format!("key:\n  {}", text.replace('\n', "\n  "));
        let source = sources.add("test.yaml", text, "/");
        let node = tree::parse(&sources, source, Some(&|_| None), &mut diagnostics);
        let value = node.and_then(|mut node| decode::decode(&node.remove("key")?.1, &mut diagnostics));
        value.ok_or_else(|| Report::new(diagnostics, sources.into()).to_string())
    }
}
