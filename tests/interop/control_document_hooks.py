"""What schemathesis must leave out: answers without an end, waits of a minute, and sockets in any place of the machine. And what it can't
guess: names of what there is, and rules that make sense."""

import zlib

import schemathesis
from schemathesis import GenerationMode

EVENTS = ("GET", "/api/v1/events")
START = ("POST", "/api/v1/scenarios")
VERIFY = "/api/v1/verify"
SPACE = "/api/v1/spaces/{id}"
GUARD = "/api/v1/guards/{name}"
NAMES = {"name": ["slow", "made", "drawn", "made"], "file": ["app.js", "style.css"]}


def operation(context):
    return context.operation.method.upper(), context.operation.path


@schemathesis.hook
def filter_case(context, case):
    """An event stream has no end, so only requests for one that are refused are left."""
    if operation(context) != EVENTS:
        return True
    kinds = (case.query or {}).get("kinds")
    return kinds is not None and not all(kind.strip().isalpha() for kind in str(kinds).split(","))


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    if context.operation.path == VERIFY and "wait" in body:
        body["wait"] = "0s"
    if context.operation.path == SPACE and isinstance(body.get("listeners"), dict):
        body["listeners"] = {name: "127.0.0.1:0" if address else None for name, address in body["listeners"].items()}
    for check in ("health", "prometheus"):
        if context.operation.path == GUARD and isinstance(body.get(check), dict) and "url" in body[check]:
            body[check]["url"] = "http://127.0.0.1:1"
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """A scenario is begun and not waited for. Half of the valid requests are about something that there is, and half of the rules can
    be compiled."""
    if operation(context) == START and (case.query or {}).get("detach") in (None, "0", "false"):
        case.query = {**(case.query or {}), "detach": "1"}
    if case.meta is None or any(part.mode != GenerationMode.POSITIVE for part in case.meta.components.values()):
        return
    chance = zlib.crc32(repr((case.path_parameters, case.body)).encode(errors="replace"))
    for parameter in case.path_parameters or {}:
        if chance % 2 and parameter in NAMES:
            names = NAMES[parameter]
            case.path_parameters[parameter] = names[chance // 2 % len(names)]
        elif chance % 2 and parameter == "id":
            case.path_parameters[parameter] = "made" if context.operation.path == SPACE else chance // 2 % 20
    if isinstance(case.body, dict) and chance // 4 % 2:
        if operation(context) == ("PUT", "/api/v1/rules/{name}"):
            for key in ("name", "space", "listener", "choose", "match"):
                case.body.pop(key, None)
            case.body["faults"] = [{"delay": "1ms"}]
            (case.query or {}).pop("space", None)
        elif operation(context) == START:
            case.body = {"scenario": "made", "steps": ["disable slow for 20ms"]}
        elif operation(context) == ("PUT", "/api/v1/layers/api"):
            case.body["rules"] = [{"name": "made", "faults": [{"delay": "1ms"}]}]
