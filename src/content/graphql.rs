//! What GraphQL requests ask for (GraphQL over HTTP, and the batches that many servers accept).

use apollo_parser::{Parser, cst};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most requests of a batch that are looked at.
const MOST: usize = 100;

/// The deepest nesting of a document.
const DEPTH: usize = 200;

/// The most tokens of a document.
const TOKENS: usize = 100_000;

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationType {
    /// Reads.
    Query,
    /// Changes something.
    Mutation,
    /// Asks to be told of events.
    Subscription,
}

/// The operation that a GraphQL request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// Its name; `None` if it has none.
    pub name: Option<String>,
    /// Its type; `None` if the request has no document, as with persisted queries, or no valid one.
    pub kind: Option<OperationType>,
}

impl OperationType {
    /// The keyword for it in documents.
    pub fn name(self) -> &'static str {
        match self {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        }
    }
}

/// The operations that a request asks for: one, or each of a batch. Empty if it is not a GraphQL request.
pub(super) fn operations(json: &Value) -> Vec<Operation> {
    match json {
        Value::Array(batch) => batch.iter().take(MOST).filter_map(operation).collect(),
        one => operation(one).into_iter().collect(),
    }
}

fn operation(request: &Value) -> Option<Operation> {
    let text = |name: &str| request.get(name)?.as_str().filter(|text| !text.is_empty());
    match (text("query"), text("operationName")) {
        (Some(document), name) => Operation::of_document(document, name),
        (None, Some(name)) => Some(Operation {
            name: Some(name.to_owned()),
            kind: None,
        }),
        (None, None) => None,
    }
}

impl Operation {
    /// The operation with this name, or the only one of a document (GraphQL, section 6.1). `None` if it is ambiguous, or if the
    /// document has no operation.
    pub(super) fn of_document(document: &str, name: Option<&str>) -> Option<Operation> {
        let parsed = Parser::new(document).recursion_limit(DEPTH).token_limit(TOKENS).parse();
        let mut operations = parsed
            .document()
            .definitions()
            .filter_map(|definition| match definition {
                cst::Definition::OperationDefinition(operation) => Some(operation),
                _ => None,
            });
        let Some(name) = name else {
            let only = operations.next()?;
            return operations.next().is_none().then(|| Operation {
                name: name_of(&only),
                kind: Some(type_of(&only)),
            });
        };
        let named = operations.find(|operation| name_of(operation).as_deref() == Some(name));
        Some(Operation {
            name: Some(name.to_owned()),
            kind: named.map(|operation| type_of(&operation)),
        })
    }
}

fn name_of(operation: &cst::OperationDefinition) -> Option<String> {
    operation.name().map(|name| name.text().to_string())
}

fn type_of(operation: &cst::OperationDefinition) -> OperationType {
    match operation.operation_type() {
        Some(keyword) if keyword.mutation_token().is_some() => OperationType::Mutation,
        Some(keyword) if keyword.subscription_token().is_some() => OperationType::Subscription,
        // `{ … }` alone is a query.
        _ => OperationType::Query,
    }
}
