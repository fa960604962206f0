use super::*;

#[test]
fn upgrades_to_http2_are_not_passed_on() {
    let passes = |connection: &'static str, upgrade: &[&'static str]| {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        head.set_version(Version::HTTP_11);
        head.insert_header("Connection", connection).unwrap();
        for value in upgrade {
            head.append_header("Upgrade", *value).unwrap();
        }
        passes_upgrade(&head)
    };
    assert!(passes("keep-alive, Upgrade", &["websocket"]) && passes("upgrade", &["tcp"]));
    for upgrade in [
        &["h2c"][..],
        &["H2C"],
        &[",h2c"],
        &["websocket, h2c"],
        &["websocket", "h2c"],
        &[],
    ] {
        assert!(!passes("upgrade", upgrade), "{upgrade:?}");
    }
    assert!(!passes("keep-alive", &["websocket"]), "RFC 9110, section 7.8");
}
