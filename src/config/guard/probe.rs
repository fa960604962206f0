//! Conditions that squall asks others about: a health check, or a query of Prometheus.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::time;

use super::Found;
use crate::guards::spec::OnError;
use crate::proxy::upstream::{Connector, Page};

/// The most bytes that are read of a page. An answer of Prometheus that is longer has a series, too.
const MOST_BYTES: usize = 4 << 20;

/// The longest part of an error of Prometheus that is shown, in characters.
const MOST_WORDS: usize = 200;

/// A page that is asked now and then.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) page: Page,
    /// The time from one probe to the next.
    pub(super) every: Duration,
    /// How long one may take.
    pub(super) timeout: Duration,
    /// How many in a row must fail.
    pub(super) failures: u32,
    pub(super) ask: Ask,
}

/// What a page is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask {
    /// A status from 200 to 299.
    Health,
    /// A query that comes true.
    Prometheus(OnError),
}

/// A response of Prometheus' HTTP API.
#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

impl Probe {
    pub(super) async fn ask(&self, connector: &Connector) -> Found {
        let asked = time::timeout(self.timeout, self.page.get(connector, MOST_BYTES)).await;
        let asked = asked.unwrap_or_else(|_| Err("no response in time".to_owned()));
        match (self.ask, asked) {
            (Ask::Health, Ok((status, _))) if status.is_success() => Found::Well,
            (Ask::Health, Ok((status, _))) => {
                Found::Failed(format!("the health check responds with {}", status.as_u16()))
            }
            (Ask::Health, Err(error)) => Found::Failed(format!("the health check fails: {error}")),
            (Ask::Prometheus(on_error), asked) => match asked.and_then(|(status, body)| comes_true(status, &body)) {
                Ok(true) => Found::True("the query of Prometheus is true".to_owned()),
                Ok(false) => Found::Well,
                Err(error) => {
                    let reason = format!("Prometheus can't be asked: {error}");
                    match on_error {
                        OnError::Stop => Found::Failed(reason),
                        OnError::Ignore => Found::Unknown(reason),
                    }
                }
            },
        }
    }
}

/// Whether the answer to an instant query has a series, or is a scalar other than 0.
fn comes_true(status: StatusCode, body: &Bytes) -> Result<bool, String> {
    let answer: Result<Answer, _> = serde_json::from_slice(body);
    let answer = match answer {
        Ok(answer) => answer,
        Err(_) if !status.is_success() => return Err(format!("it responds with {}", status.as_u16())),
        Err(_) => return Err("its response is not that of a query".to_owned()),
    };
    if let Some(error) = answer.error {
        let words: String = error.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect();
        return Err(words);
    }
    let Some(data) = answer.data else {
        return Err("its response has no result".to_owned());
    };
    match (data.result_type.as_str(), &data.result) {
        ("vector", Value::Array(series)) => Ok(!series.is_empty()),
        ("scalar", Value::Array(pair)) => {
            let value = pair
                .get(1)
                .and_then(Value::as_str)
                .and_then(|value| value.parse::<f64>().ok());
            // Not a number is what 0/0 gives, and says nothing.
            Ok(value.is_some_and(|value| value != 0.0 && !value.is_nan()))
        }
        (kind, _) => Err(format!("the query gives a {kind}, not an instant vector or a scalar")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_prometheus_are_understood() {
        let check = |body: &str, expected: Result<bool, &str>| {
            let found = comes_true(StatusCode::OK, &Bytes::from(body.to_owned()));
            assert_eq!(found, expected.map_err(str::to_owned), "{body}");
        };
        let result = |kind: &str, result: &str| {
            format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
        };
        check(&result("vector", "[]"), Ok(false));
        check(&result("vector", r#"[{"metric":{},"value":[1.5,"0"]}]"#), Ok(true));
        check(&result("scalar", r#"[1.5,"0"]"#), Ok(false));
        check(&result("scalar", r#"[1.5,"NaN"]"#), Ok(false));
        check(&result("scalar", r#"[1.5,"+Inf"]"#), Ok(true));
        check(&result("scalar", r#"[1.5,"1"]"#), Ok(true));
        let matrix = "the query gives a matrix, not an instant vector or a scalar";
        check(&result("matrix", "[]"), Err(matrix));
        check(
            r#"{"status":"error","errorType":"bad_data","error":"1:3: parse\nerror"}"#,
            Err("1:3: parseerror"),
        );
        check("<html>", Err("its response is not that of a query"));
        check("{}", Err("its response has no result"));
        let down = comes_true(StatusCode::BAD_GATEWAY, &Bytes::new());
        assert_eq!(down, Err("it responds with 502".to_owned()));
    }
}
