//! Reading YAML: text to a tree that knows where each value stands, and the tree to typed values, with every error at its
//! place. What the keys mean is the business of the rooms above.

pub mod decode;
pub mod env;
pub mod forms;
pub mod report;
pub mod tree;
pub mod units;

#[cfg(test)]
pub(crate) mod testing {
    use serde::de::DeserializeOwned;

    use super::report::{Report, Sources};
    use super::{decode, tree};

    /// Reads a text as the value of a key in a configuration.
    pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
        let text = format!("key:\n  {}", text.replace('\n', "\n  "));
        let source = sources.add("test.yaml", text, "/");
        let node = tree::parse(&sources, source, Some(&|_| None), &mut diagnostics);
        let value = node.and_then(|mut node| decode::decode(&node.remove("key")?.1, &mut diagnostics));
        value.ok_or_else(|| Report::new(diagnostics, sources.into()).to_string())
    }
}
