//! Texts of a format, and those that the name of a property asks for although its schema says nothing.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::fake::made_up::dice::Dice;
use crate::fake::made_up::{fields, phrases};

const COUNTRIES: &[(&str, &str)] = &[
    ("DE", "DEU"),
    ("FR", "FRA"),
    ("GB", "GBR"),
    ("JP", "JPN"),
    ("US", "USA"),
];
const CURRENCIES: &[&str] = &["CHF", "EUR", "GBP", "JPY", "USD"];
const LANGUAGES: &[&str] = &["de", "en", "es", "fr", "ja"];
const LOCALES: &[&str] = &["de-DE", "en-GB", "en-US", "fr-FR", "ja-JP"];
const TIME_ZONES: &[&str] = &[
    "America/New_York",
    "Asia/Tokyo",
    "Europe/Berlin",
    "Europe/London",
    "UTC",
];

/// A text of a format: of those that JSON Schema and OpenAPI register, and of others that clients parse. `None` if it is not
/// known.
pub(super) fn text(format: &str, dice: &mut Dice) -> Option<String> {
    let letters = format.chars().filter(|character| character.is_alphanumeric());
    let format: String = letters.collect::<String>().to_ascii_lowercase();
    moment(&format, dice)
        .or_else(|| number(&format, dice))
        .or_else(|| network(&format, dice))
        .or_else(|| code(&format, dice))
        .or_else(|| encoded(&format, dice))
}

fn moment(format: &str, dice: &mut Dice) -> Option<String> {
    Some(match format {
        "date" | "fulldate" | "isodate" | "iso8601date" | "localdate" | "yyyymmdd" => fields::date(dice),
        "datetime" | "googledatetime" | "iso8601" | "isodatetime" | "iso8601datetime" | "rfc3339" | "timestamp"
        | "offsetdatetime" | "zoneddatetime" | "instant" | "datetimeoffset" | "iso" => fields::date_time(dice),
        "localdatetime" => format!("{}T{}", fields::date(dice), fields::time(dice)),
        "httpdate" | "datetimerfc1123" | "rfc1123" | "datetimerfc2822" | "rfc7231" => {
            // 1 January 2024 was a Monday.
            format!("Mon, 01 Jan 2024 {} GMT", fields::time(dice))
        }
        "time" | "isotime" | "fulltime" => format!("{}Z", fields::time(dice)),
        "partialtime" | "localtime" | "timelocal" => fields::time(dice),
        "duration" | "iso8601duration" | "isoduration" | "period" => format!("PT{}M", dice.from(1, 59)),
        "googleduration" => format!("{}.5s", dice.from(1, 59)),
        "unixtime" | "unixtimestamp" | "epoch" | "unixtimeseconds" => {
            dice.from(1_420_070_400, 1_735_689_599).to_string()
        }
        "year" => dice.from(2015, 2024).to_string(),
        "yearmonth" => format!("{}-{:02}", dice.from(2015, 2024), dice.from(1, 12)),
        _ => return None,
    })
}

fn number(format: &str, dice: &mut Dice) -> Option<String> {
    Some(match format {
        "decimal" | "decimal128" | "bigdecimal" | "double" | "float" | "number" | "money" | "amount"
        | "currencyamount" | "percentage" | "percent" | "numeric" | "double64" => {
            format!("{}.{:02}", dice.from(0, 99), dice.below(100))
        }
        "int" | "integer" | "long" | "int8" | "uint8" => dice.from(1, 99).to_string(),
        "int16" | "int32" | "int64" | "int128" | "int256" | "uint" | "uint16" | "uint32" | "uint64" | "uint128"
        | "uint256" | "bigint" | "biginteger" | "snowflake" | "digits" => dice.from(1, 9999).to_string(),
        "intorstring" => dice.from(1, 99).to_string(),
        "boolean" | "bool" => dice.one_in(2).to_string(),
        _ => return None,
    })
}

/// The addresses are ones for documentation: RFC 2606, RFC 3849, RFC 5737 and RFC 7042.
fn network(format: &str, dice: &mut Dice) -> Option<String> {
    let ipv4 = |dice: &mut Dice| format!("192.0.2.{}", dice.from(1, 254));
    let ipv6 = |dice: &mut Dice| format!("2001:db8::{:x}", dice.from(1, 0xffff));
    Some(match format {
        "email" | "idnemail" | "emailaddress" => fields::email(dice),
        "uri" | "url" | "iri" | "urireference" | "irireference" | "uriref" | "httpurl" | "link" | "href"
        | "uritemplate" | "httpsurl" | "weburl" => fields::url(dice),
        "hostname" | "idnhostname" | "domain" | "domainname" | "fqdn" | "dns" => phrases::domain(dice),
        "ipv4" | "ip" | "ipaddress" | "ipaddr" | "ipv4address" => ipv4(dice),
        "ipv6" | "ipv6address" => ipv6(dice),
        "cidr" | "ipv4cidr" | "cidrv4" | "ipv4network" | "ipnetwork" | "ipv4prefix" | "ipprefix" => {
            "192.0.2.0/24".to_owned()
        }
        "ipv6cidr" | "cidrv6" | "ipv6network" | "ipv6prefix" => "2001:db8::/32".to_owned(),
        "mac" | "macaddress" | "macaddr" => format!("00:00:5e:00:53:{:02x}", dice.below(256)),
        "phone" | "phonenumber" | "e164" | "tel" | "telephone" | "mobile" => {
            format!("+1202555{:04}", dice.from(100, 199))
        }
        _ => return None,
    })
}

fn code(format: &str, dice: &mut Dice) -> Option<String> {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    Some(match format {
        "uuid" | "guid" | "uuid4" | "uuidv4" => fields::uuid(dice).to_string(),
        // The first characters are a time: up to 7 for the largest.
        "ulid" => {
            let letters = (0..25).map(|_| char::from(dice.pick(LETTERS)));
            format!("0{}", letters.collect::<String>())
        }
        "objectid" | "mongoid" | "bsonobjectid" => hex(24, dice),
        "semver" | "version" | "semanticversion" => {
            format!("{}.{}.{}", dice.from(1, 9), dice.below(20), dice.below(20))
        }
        "country" | "countrycode" | "isocountrycode" | "iso31661alpha2" | "iso3166" | "iso31661" | "countrycode2" => {
            dice.pick(COUNTRIES).0.to_owned()
        }
        "iso31661alpha3" | "countrycode3" | "countryalpha3" => dice.pick(COUNTRIES).1.to_owned(),
        "currency" | "currencycode" | "iso4217" | "isocurrencycode" => dice.pick(CURRENCIES).to_owned(),
        "language" | "languagecode" | "iso6391" => dice.pick(LANGUAGES).to_owned(),
        "locale" | "bcp47" | "languagetag" | "ietfbcp47" => dice.pick(LOCALES).to_owned(),
        "timezone" | "tz" | "ianatimezone" | "tzname" => dice.pick(TIME_ZONES).to_owned(),
        "iban" => "DE89370400440532013000".to_owned(),
        "bic" | "swift" => "DEUTDEFF".to_owned(),
        "color" | "colour" | "hexcolor" | "colorhex" | "rgb" => format!("#{}", hex(6, dice)),
        "slug" => slug(dice),
        "cron" => format!("{} {} * * *", dice.below(60), dice.below(24)),
        "regex" | "regexp" => "^[a-z]+$".to_owned(),
        "jsonpointer" | "jsonpath" => format!("/{}", phrases::thing(dice)),
        "relativejsonpointer" => format!("0/{}", phrases::thing(dice)),
        "mimetype" | "mediatype" => "application/json".to_owned(),
        _ => return None,
    })
}

fn encoded(format: &str, dice: &mut Dice) -> Option<String> {
    Some(match format {
        "byte" | "base64" => STANDARD.encode(phrases::sentence(dice)),
        "base64url" => URL_SAFE_NO_PAD.encode(phrases::sentence(dice)),
        "binary" => phrases::sentence(dice),
        "hex" | "hexadecimal" => hex(16, dice),
        "md5" => hex(32, dice),
        "sha1" => hex(40, dice),
        "sha256" => hex(64, dice),
        "sha512" => hex(128, dice),
        "json" | "jsonstring" => json!({"name": phrases::thing(dice)}).to_string(),
        "jwt" => {
            let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let head = part(json!({"alg": "HS256", "typ": "JWT"}));
            format!(
                "{head}.{}.{}",
                part(json!({"sub": phrases::thing(dice)})),
                URL_SAFE_NO_PAD.encode(hex(32, dice))
            )
        }
        "password" | "secret" => format!("{}-{}", phrases::thing(dice), dice.from(1000, 9999)),
        _ => return None,
    })
}

/// A text for names that tell a format although the schema does not: `created_at`, `userId`.
pub(super) fn named(name: &str, dice: &mut Dice) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    Some(match lower.as_str() {
        "id" => slug(dice),
        "timestamp" | "created" | "updated" | "modified" => fields::date_time(dice),
        "date" | "birthday" => fields::date(dice),
        "uuid" | "guid" => fields::uuid(dice).to_string(),
        "version" => text("semver", dice)?,
        "currency" => text("currency", dice)?,
        "language" | "lang" => text("language", dice)?,
        "locale" => text("locale", dice)?,
        "timezone" | "time_zone" => text("timezone", dice)?,
        "ip" | "ipaddress" | "ip_address" => text("ipv4", dice)?,
        "sha" | "hash" | "checksum" => hex(40, dice),
        "slug" => slug(dice),
        "amount" | "price" => text("decimal", dice)?,
        _ if ends(&["_at", "datetime", "_time", "timestamp"]) || name.ends_with("At") => fields::date_time(dice),
        _ if ends(&["_date"]) || name.ends_with("Date") => fields::date(dice),
        _ if ends(&["_uuid"]) || name.ends_with("Uuid") => fields::uuid(dice).to_string(),
        _ if ends(&["_id", "-id"]) || name.ends_with("Id") || name.ends_with("ID") => slug(dice),
        _ if ends(&["country_code"]) || name == "countryCode" => text("countrycode", dice)?,
        _ => return None,
    })
}

fn slug(dice: &mut Dice) -> String {
    format!("{}-{}", phrases::thing(dice), dice.from(1000, 9999)).replace(' ', "-")
}

fn hex(length: usize, dice: &mut Dice) -> String {
    (0..length)
        .map(|_| char::from(dice.pick(b"0123456789abcdef")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::made_up::dice::Stream;

    #[test]
    fn formats_that_clients_parse() {
        let make = |format: &str| text(format, &mut Dice::new(3, Stream::Documents, 0)).unwrap();
        for format in [
            "decimal",
            "big-decimal",
            "double",
            "int64",
            "uint64",
            "bigint",
            "unix-time",
        ] {
            assert!(make(format).parse::<f64>().is_ok(), "{format}");
        }
        for format in ["date-time", "dateTime", "google-datetime", "iso8601"] {
            assert!(make(format).ends_with('Z') && make(format).contains('T'), "{format}");
        }
        assert_eq!(make("iso-country-code").len(), 2);
        assert_eq!(make("jwt").split('.').count(), 3);
        assert_eq!(make("semver").split('.').count(), 3);
        assert!(make("phone").starts_with("+1"));
        assert_eq!(text("no such", &mut Dice::new(3, Stream::Documents, 0)), None);
    }

    #[test]
    fn names_that_tell_a_format() {
        let make = |name: &str| named(name, &mut Dice::new(3, Stream::Documents, 0));
        assert!(make("created_at").unwrap().contains('T'));
        assert!(!make("userId").unwrap().contains(' '));
        assert_eq!(make("title"), None);
        assert_eq!(make("plaid"), None);
    }
}
