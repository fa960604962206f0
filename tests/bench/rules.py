"""Rules by the thousand, none of which matches what the benchmark sends."""

from itertools import cycle, islice

# What the benchmark sends: enough in every dimension that rules look at for a near miss.
PATH = "/api/v1/items/7?page=2&region=eu"
HEADERS = {"Host": "shop.example.com", "x-user": "ada", "Cookie": "session=abc; theme=dark"}

ABORT = "    faults: [{abort: 503}]\n"
BY_HEADER = f"""
  - name: by header
    match: {{headers: {{x-chaos: "yes"}}}}
{ABORT}"""

MIXED = [
    "{path: {exact: /api/v1/items/x%d}}",
    "{path: /shop%d/*/checkout/**}",
    "{path: {prefix: /team%d/}}",
    "{path: {regex: '^/orders/r%d/[0-9]+$'}}",
    "{headers: {x-user: user-%d}}",
    "{host: h%d.example.com}",
    "{method: POST, path: /api/v1/carts/%d}",
    "{client: 10.%d.%d.0/24}",
    "{query: {page: p%d}}",
]

# The same kinds with the part that tells them apart behind a wildcard.
WILD = [
    "{path: /*/shop%d/**}",
    "{path: {regex: '/items/[0-9]+/r%d$'}}",
    "{headers: {x-user: {prefix: beta-%d-}}}",
    "{host: '*.t%d.example.com'}",
    "{query: {region: {prefix: us-%d}}}",
]


def rules(kinds, count):
    """The YAML of `count` rules, of each kind in turn."""
    return "\n" + "".join(rule(number, match) for number, match in enumerate(islice(cycle(kinds), count)))


def rule(number, match):
    parts = (number // 250 % 250, number % 250) if match.count("%d") == 2 else (number,)
    return f"  - name: rule {number}\n    match: {match % parts}\n{ABORT}"
