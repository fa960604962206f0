use http::Method;

use super::super::route::{RouteMatch, find};
use super::*;

#[test]
fn every_documented_route_exists() {
    for route in page::rows(ROUTES) {
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        let target = route.example.rsplit(' ').next().unwrap();
        let path = target.split('?').next().unwrap();
        assert!(
            matches!(find(&method, path), RouteMatch::Route(_)),
            "{} {path}",
            route.method
        );
    }
}
