//! The words that generated people, places and texts are made of.

pub(in crate::fake) const FIRST_NAMES: &[&str] = &[
    "Ada", "Amir", "Anouk", "Basil", "Beatrix", "Bruno", "Carmen", "Cosmo", "Dagmar", "Dexter", "Edith", "Emil",
    "Farida", "Felix", "Greta", "Gustav", "Hana", "Hector", "Ines", "Ivo", "Jolanda", "Jasper", "Kenji", "Klara",
    "Lorenz", "Lucia", "Malik", "Mina", "Nadia", "Nils", "Odette", "Oscar", "Paloma", "Quentin", "Rosa", "Rufus",
    "Selma", "Tariq", "Ulla", "Viktor", "Wanda", "Yusuf", "Zelda",
];

pub(in crate::fake) const LAST_NAMES: &[&str] = &[
    "Abbott",
    "Baxter",
    "Calloway",
    "Dimitrov",
    "Eriksen",
    "Farrow",
    "Gupta",
    "Hartmann",
    "Ibrahim",
    "Jensen",
    "Kovacs",
    "Lindqvist",
    "Mbeki",
    "Nakamura",
    "Oduya",
    "Pereira",
    "Quigley",
    "Romano",
    "Santos",
    "Tanaka",
    "Underhill",
    "Vasquez",
    "Whitlock",
    "Xu",
    "Yilmaz",
    "Zimmer",
];

pub(in crate::fake) const TITLES: &[&str] = &[
    "Admiral",
    "Archivist",
    "Baroness",
    "Captain",
    "Chancellor",
    "Cousin",
    "Dame",
    "Doctor",
    "Duke",
    "Grandmaster",
    "Inspector",
    "Lady",
    "Librarian",
    "Marquis",
    "Navigator",
    "Professor",
    "Sir",
    "Squire",
    "Uncle",
    "Vice-Admiral",
];

/// Things, in the singular and in the plural.
pub(in crate::fake) const THINGS: &[(&str, &str)] = &[
    ("accordion", "accordions"),
    ("anchor", "anchors"),
    ("bagpipe", "bagpipes"),
    ("bucket", "buckets"),
    ("cabbage", "cabbages"),
    ("candle", "candles"),
    ("carpet", "carpets"),
    ("dumpling", "dumplings"),
    ("envelope", "envelopes"),
    ("flamingo", "flamingos"),
    ("gherkin", "gherkins"),
    ("hammock", "hammocks"),
    ("inkwell", "inkwells"),
    ("jigsaw", "jigsaws"),
    ("kettle", "kettles"),
    ("ladder", "ladders"),
    ("lantern", "lanterns"),
    ("marble", "marbles"),
    ("moustache", "moustaches"),
    ("noodle", "noodles"),
    ("onion", "onions"),
    ("otter", "otters"),
    ("pancake", "pancakes"),
    ("pigeon", "pigeons"),
    ("puddle", "puddles"),
    ("radish", "radishes"),
    ("saucer", "saucers"),
    ("sofa", "sofas"),
    ("teapot", "teapots"),
    ("trombone", "trombones"),
    ("turnip", "turnips"),
    ("umbrella", "umbrellas"),
    ("walrus", "walruses"),
    ("whistle", "whistles"),
    ("yoghurt", "yoghurts"),
    ("zeppelin", "zeppelins"),
];

pub(in crate::fake) const ADJECTIVES: &[&str] = &[
    "brisk",
    "crumpled",
    "curious",
    "damp",
    "elastic",
    "enormous",
    "fluffy",
    "foggy",
    "glossy",
    "grumpy",
    "hollow",
    "invisible",
    "jolly",
    "lukewarm",
    "magnetic",
    "modest",
    "nervous",
    "overdue",
    "peculiar",
    "polite",
    "reluctant",
    "rusty",
    "silent",
    "slippery",
    "sturdy",
    "tepid",
    "unlikely",
    "velvet",
    "wobbly",
    "zealous",
];

pub(in crate::fake) const VERBS: &[&str] = &[
    "alphabetise",
    "auction",
    "borrow",
    "count",
    "decorate",
    "exchange",
    "inspect",
    "juggle",
    "knit",
    "label",
    "measure",
    "photograph",
    "polish",
    "rearrange",
    "rent",
    "repair",
    "sell",
    "stack",
    "translate",
    "weigh",
];

pub(in crate::fake) const GROUPS: &[&str] = &[
    "armful", "bundle", "choir", "crate", "drawer", "handful", "heap", "parade", "pile", "row", "suitcase", "trolley",
];

pub(in crate::fake) const PLACE_STEMS: &[&str] = &[
    "amber", "bramble", "clover", "cobble", "drizzle", "ember", "fern", "gravel", "hazel", "ivy", "juniper", "kestrel",
    "lichen", "marsh", "nettle", "oyster", "pebble", "quarry", "raven", "saffron", "thistle", "umber", "willow",
];

pub(in crate::fake) const PLACE_ENDINGS: &[&str] = &[
    "borough", "bridge", "bury", "dale", "field", "ford", "haven", "mouth", "shire", "stead", "ton", "ville", "wick",
];

pub(in crate::fake) const COUNTRIES: &[&str] = &[
    "averland",
    "borduria",
    "castelmar",
    "dunmoor",
    "eastmarch",
    "florin",
    "grand fenwick",
    "graustark",
    "hillonia",
    "isle of tarn",
    "kosmania",
    "lorvania",
    "mirewald",
    "novaterra",
    "orsinia",
    "pontevedra",
    "ruritania",
    "san lorenzo",
    "tarsonia",
    "vestria",
    "zubrowka",
];

pub(in crate::fake) const DIRECTIONS: &[&str] = &["north", "east", "south", "west", "central", "upper", "lower", "new"];

pub(in crate::fake) const STREETS: &[&str] = &[
    "alley",
    "avenue",
    "boulevard",
    "close",
    "court",
    "crescent",
    "drive",
    "lane",
    "place",
    "road",
    "street",
    "way",
];

pub(in crate::fake) const COLOURS: &[&str] = &[
    "amber", "blue", "brown", "crimson", "green", "grey", "indigo", "olive", "purple", "silver", "teal", "white",
];

pub(in crate::fake) const COMPANY_STEMS: &[&str] = &[
    "Applied",
    "Consolidated",
    "Cyber",
    "Data",
    "Global",
    "Hyper",
    "Integrated",
    "International",
    "Micro",
    "Modern",
    "Nano",
    "National",
    "Omni",
    "Quantum",
    "Rapid",
    "Royal",
    "Solar",
    "Strategic",
    "Turbo",
    "Universal",
];

pub(in crate::fake) const COMPANY_ENDINGS: &[&str] = &[
    "& Daughters",
    "& Sons",
    "Cooperative",
    "Dynamics",
    "Enterprises",
    "Holdings",
    "Industries",
    "Laboratories",
    "Logistics",
    "Management Systems",
    "Partners",
    "Plumbing",
    "Solutions",
    "Studios",
    "Trading",
    "Works",
];

/// Top-level domains reserved for examples and tests (RFC 2606, section 2), so that no generated address exists.
pub(in crate::fake) const DOMAINS: &[&str] = &["example", "test", "invalid"];

pub(in crate::fake) const TENS: &[&str] = &[
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

pub(in crate::fake) const UNITS: &[&str] = &["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

pub(in crate::fake) const JOKES: &[&str] = &[
    "I asked the load balancer for advice. It told me to try someone else.",
    "A cache walks into a bar. The bartender gives it what it had last time.",
    "My retry policy and I have a lot in common: we both believe in third chances.",
    "The timeout came early. It said it could not wait to see me.",
    "There is no place like 127.0.0.1, but ::1 has more room.",
    "I would tell you the joke about UDP, and I don't mind if you get it.",
    "The database took a day off. Everyone was locked out.",
    "Two threads meet in a mutex. One of them does.",
    "I have a joke about latency, but the timing is never right.",
    "The log file was full of itself.",
    "Eventual consistency: you will have laughed at this by tomorrow.",
    "The queue was so long that the message retired on its way.",
];
