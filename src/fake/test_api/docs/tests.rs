use http::Method;

use super::super::route::{RouteMatch, find};
use super::*;

#[test]
fn every_documented_route_exists() {
    for entry in ENTRIES {
        let method = Method::from_bytes(entry.method.as_bytes()).unwrap();
        let path = entry.example.split('?').next().unwrap();
        assert!(
            matches!(find(&method, path), RouteMatch::Route(_)),
            "{} {path}",
            entry.method
        );
    }
}
