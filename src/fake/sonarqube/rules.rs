//! The coding rules that generated issues break, and the other fixed lists of the API.

/// From the least to the worst, as the API lists them.
pub(super) const SEVERITIES: &[&str] = &["INFO", "MINOR", "MAJOR", "CRITICAL", "BLOCKER"];
pub(super) const STATUSES: &[&str] = &["OPEN", "CONFIRMED", "REOPENED", "RESOLVED", "CLOSED"];
/// What [`STATUSES`] from `RESOLVED` on may go with.
pub(super) const RESOLUTIONS: &[&str] = &["FALSE-POSITIVE", "WONTFIX", "FIXED", "REMOVED"];
pub(super) const TYPES: &[&str] = &["CODE_SMELL", "BUG", "VULNERABILITY", "SECURITY_HOTSPOT"];

/// The place of `VULNERABILITY` in [`TYPES`].
pub(super) const VULNERABILITY: usize = 2;

/// What later versions call [`SEVERITIES`] and [`TYPES`], and have instead of [`STATUSES`] and [`RESOLUTIONS`].
pub(super) const IMPACT_SEVERITIES: &[&str] = &["INFO", "LOW", "MEDIUM", "HIGH", "BLOCKER"];
pub(super) const QUALITIES: &[&str] = &["MAINTAINABILITY", "RELIABILITY", "SECURITY", "SECURITY"];
pub(super) const ISSUE_STATUSES: &[&str] = &["OPEN", "CONFIRMED", "FALSE_POSITIVE", "ACCEPTED", "FIXED"];
/// For each of [`TYPES`], the attribute that its rules are about, and the category of that.
pub(super) const CLEAN_CODE: &[(&str, &str)] = &[
    ("CLEAR", "INTENTIONAL"),
    ("LOGICAL", "INTENTIONAL"),
    ("TRUSTWORTHY", "RESPONSIBLE"),
    ("TRUSTWORTHY", "RESPONSIBLE"),
];

/// A language: its key, its name, where its files are and how their names end. In the order of the folders.
pub(super) struct Language {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) folder: &'static str,
    pub(super) ending: &'static str,
}

pub(super) const LANGUAGES: &[Language] = &[
    Language {
        key: "java",
        name: "Java",
        folder: "src/main/java",
        ending: "java",
    },
    Language {
        key: "js",
        name: "JavaScript",
        folder: "src/main/js",
        ending: "js",
    },
    Language {
        key: "py",
        name: "Python",
        folder: "src/main/python",
        ending: "py",
    },
];

pub(super) const TAGS: &[&str] = &[
    "bad-practice",
    "brain-overload",
    "cert",
    "clumsy",
    "convention",
    "cwe",
    "design",
    "error-handling",
    "leak",
    "multi-threading",
    "owasp-a3",
    "performance",
    "suspicious",
    "unused",
];

/// A coding rule.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    /// Its place in [`LANGUAGES`].
    pub(super) language: u8,
    /// Its place in [`TYPES`].
    pub(super) kind: u8,
    /// Their places in [`TAGS`].
    pub(super) tags: &'static [u8],
    /// What its issues say; `{}` is a name in the code.
    pub(super) message: &'static str,
    /// The least effort to mend it, in minutes; 0 if that is not known.
    pub(super) effort: u16,
}

const fn rule(
    key: &'static str,
    name: &'static str,
    (language, kind): (u8, u8),
    tags: &'static [u8],
    message: &'static str,
    effort: u16,
) -> Rule {
    Rule {
        key,
        name,
        language,
        kind,
        tags,
        message,
        effort,
    }
}

/// The first of [`RULES`].
pub(super) const FIRST_RULE: &Rule = &rule(
    "squid:S1192",
    "String literals should not be duplicated",
    (0, 0),
    &[6],
    "Make a constant of \"{}\", which is duplicated.",
    8,
);

pub(super) const RULES: &[Rule] = &[
    *FIRST_RULE,
    rule(
        "squid:S3776",
        "Methods should not be too complex",
        (0, 0),
        &[1],
        "Split `{}`: it is too complex.",
        21,
    ),
    rule(
        "squid:S1068",
        "Unused private fields should be removed",
        (0, 0),
        &[13],
        "Remove the unused private field `{}`.",
        5,
    ),
    rule(
        "squid:S00100",
        "Method names should follow the convention",
        (0, 0),
        &[4],
        "Rename `{}` to follow the convention.",
        5,
    ),
    rule(
        "squid:S2095",
        "Resources should be closed",
        (0, 1),
        &[2, 5, 8],
        "Close `{}` even if something fails.",
        5,
    ),
    rule(
        "squid:S2259",
        "Null should not be dereferenced",
        (0, 1),
        &[2, 5],
        "`{}` may be null here.",
        10,
    ),
    rule(
        "squid:S2142",
        "Interruptions should not be ignored",
        (0, 1),
        &[5, 9],
        "Interrupt again, or rethrow what `{}` caught.",
        15,
    ),
    rule(
        "squid:S2068",
        "Secrets should not be in the code",
        (0, 2),
        &[2, 5, 10],
        "`{}` looks like a password: move it out of the code.",
        30,
    ),
    rule(
        "squid:S2077",
        "Queries should not be concatenated from strings",
        (0, 3),
        &[5],
        "Make sure that `{}` can't change the query.",
        20,
    ),
    rule(
        "squid:S1854",
        "Stored values should be used",
        (0, 0),
        &[2, 5, 13],
        "The value stored in `{}` is never read.",
        15,
    ),
    rule(
        "squid:S112",
        "Exceptions should say what happened",
        (0, 0),
        &[2, 7],
        "Throw a dedicated exception instead of `{}`.",
        20,
    ),
    rule(
        "squid:S134",
        "Control flow should not be nested deeply",
        (0, 0),
        &[1],
        "Split `{}`: it is nested too deeply.",
        10,
    ),
    rule(
        "javascript:S1481",
        "Unused variables should be removed",
        (1, 0),
        &[13],
        "Remove the unused variable `{}`.",
        5,
    ),
    rule(
        "javascript:EqEqEq",
        "Comparisons should not convert types",
        (1, 1),
        &[12],
        "Compare `{}` with `===`.",
        5,
    ),
    rule(
        "javascript:S2681",
        "Blocks should have braces",
        (1, 1),
        &[2, 5],
        "Put braces around the block of `{}`.",
        5,
    ),
    rule(
        "javascript:S1541",
        "Functions should not branch too much",
        (1, 0),
        &[1],
        "`{}` has too many branches.",
        121,
    ),
    rule(
        "javascript:S2228",
        "The console should not be used",
        (1, 2),
        &[0, 5, 10],
        "Do not write `{}` to the console.",
        5,
    ),
    rule(
        "python:S1542",
        "Function names should follow the convention",
        (2, 0),
        &[4],
        "Rename `{}` to follow the convention.",
        10,
    ),
    rule(
        "python:S107",
        "Functions should not have many parameters",
        (2, 0),
        &[1],
        "`{}` has too many parameters.",
        20,
    ),
    rule(
        "python:S1764",
        "Both sides of an operator should differ",
        (2, 1),
        &[2, 12],
        "Both sides are `{}`.",
        2,
    ),
    rule(
        "python:S2190",
        "Recursion should end",
        (2, 1),
        &[12],
        "`{}` calls itself endlessly.",
        20,
    ),
    rule(
        "python:S4721",
        "Commands should not be run carelessly",
        (2, 3),
        &[5],
        "Make sure that running `{}` is safe.",
        0,
    ),
];
