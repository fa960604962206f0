//! HTTP/2 error codes (RFC 9113, section 7).

/// The HTTP/2 error code where none is given: INTERNAL_ERROR.
pub const DEFAULT: u32 = 2;

/// The names of RFC 9113, section 7, by number.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// The name of an HTTP/2 error code, or its number.
pub fn name(code: u32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| CODES.get(code));
    name.map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

/// An HTTP/2 error code, by name or number.
///
/// # Errors
/// It is neither; the text lists the names.
pub fn parse(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase().replace('-', "_");
    (0u32..)
        .zip(CODES)
        .find_map(|(number, name)| (name == upper).then_some(number))
        .ok_or_else(|| {
            format!(
                "`{text}` is not a valid HTTP/2 error code: use {}, or a number",
                CODES.join(", ")
            )
        })
}
