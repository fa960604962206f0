"""What the answers of an OpenAPI fake hold: an independent validator finds that they fit their schemas."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from datetime import datetime
from decimal import Decimal

import pytest
import requests
from fakes import Fake
from jsonschema import Draft202012Validator

DEFINITIONS = {
    "Text": {"type": "string"},
    "Base": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "Spec": {"type": "object", "required": ["selector"], "properties": {"selector": {"type": "string"}}},
    "Pet": {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"type": "string"}},
        "discriminator": {"propertyName": "kind", "mapping": {"dog": "#/components/schemas/Dog", "cat": "#/components/schemas/Cat"}},
    },
    "Dog": {"allOf": [{"$ref": "#/components/schemas/Pet"}, {"required": ["bark"], "properties": {"kind": {"const": "dog"}, "bark": {"type": "boolean"}}}]},
    "Cat": {"allOf": [{"$ref": "#/components/schemas/Pet"}, {"required": ["lives"], "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}}]},
    "Node": {
        "type": "object",
        "required": ["value", "next"],
        "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/components/schemas/Node"}, {"type": "null"}]}},
    },
    **{
        f"L{n}": {"type": "object", "required": ["n"], "properties": {"n": {"anyOf": [{"$ref": f"#/components/schemas/L{n + 1}"}]}}}
        for n in range(1, 30)
    },
    "L30": {"type": "object", "required": ["names", "n"], "properties": {"names": {"type": "array", "items": {"type": "string"}}, "n": {"type": "integer"}}},
}

SCHEMAS = {
    "required": {"type": "object", "required": ["a", "b"], "properties": {"b": {"type": "string"}}},
    "exclusive": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
    "options": {"oneOf": [{"required": ["a"], "properties": {"a": {"const": n}, "b": {"type": "string"}}} for n in range(4)]},
    "lengths": {"type": "string", "pattern": "^[a-z]+$", "minLength": 12, "maxLength": 14},
    "ahead": {"type": "string", "pattern": "^(?!-)(?=.*[0-9])[a-z0-9-]{6}$"},
    "password": {"type": "string", "pattern": "^(?=.*[a-z])(?=.*[A-Z])(?=.*\\d)[A-Za-z\\d]{8,16}$"},
    "unique": {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"type": "string", "enum": ["a", "b"], "example": "a"}},
    "patterns": {"type": "object", "minProperties": 2, "additionalProperties": False, "patternProperties": {"^x-": {"type": "integer"}}},
    "not": {"type": "object", "properties": {"a": {"type": "integer", "not": {"const": 3}, "minimum": 3, "maximum": 4}}, "required": ["a"]},
    "siblings": {"$ref": "#/components/schemas/Text", "minLength": 40},
    "condition": {
        "type": "object",
        "properties": {"k": {"enum": ["x", "y"]}},
        "required": ["k"],
        "if": {"properties": {"k": {"const": "x"}}},
        "then": {"required": ["v"]},
        "else": {"required": ["w"], "properties": {"w": {"type": "integer"}}},
    },
    "dependent": {"type": "object", "properties": {"card": {"type": "string"}}, "dependentRequired": {"card": ["address"]}},
    "dependent-schemas": {"required": ["card"], "dependentSchemas": {"card": {"required": ["address"], "properties": {"address": {"type": "integer"}}}}},
    "unevaluated": {"allOf": [{"$ref": "#/components/schemas/Base"}], "properties": {"b": {"type": "string"}}, "unevaluatedProperties": False},
    "contains": {"type": "array", "contains": {"const": 7}, "minContains": 2, "items": {"type": "integer"}, "maxItems": 4},
    "names": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "minProperties": 3, "additionalProperties": {"type": "integer"}},
    "prefix": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "items": False},
    "bounds": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "multiple": {"type": "integer", "allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "minimum": 1},
    "cents": {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 10},
    "large": {"type": "integer", "minimum": 1e20, "maximum": 2e20},
    "both": {"allOf": [{"$ref": "#/components/schemas/Base"}, {"required": ["b"], "properties": {"b": {"type": "integer"}}}, {"maxProperties": 2}]},
    "default": {"type": "object", "required": ["spec"], "properties": {"spec": {"default": {}, "allOf": [{"$ref": "#/components/schemas/Spec"}]}}},
    "example-of-a-part": {"allOf": [{"properties": {"id": {"type": "string"}}, "example": {"id": "7"}}, {"required": ["owner"], "properties": {"owner": {"type": "string"}}}]},
    "example": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "example": {"n": "seven"}},
    "discriminator": {"oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}], "discriminator": {"propertyName": "kind"}},
    "child": {"$ref": "#/components/schemas/Pet"},
    "deep": {"$ref": "#/components/schemas/L1"},
    "recursive": {"$ref": "#/components/schemas/Node"},
    "types": {"type": ["null", "array", "string"], "minItems": 1, "items": {"type": ["integer", "null"]}},
    "formats": {
        "type": "object",
        "properties": {
            name: {"type": "string", "format": name}
            for name in ("date", "date-time", "time", "duration", "uuid", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "regex", "json-pointer")
        },
    },
}


def document(paths, **more):
    return json.dumps({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": paths, **more})


def get(media_type, media, **response):
    return {"get": {"responses": {"200": {"description": "ok", "content": {media_type: media}, **response}}}}


@pytest.fixture(scope="module")
def schemas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schemas")
    paths = {f"/{name}/{{n}}": get("application/json", {"schema": schema}) for name, schema in SCHEMAS.items()}
    (folder / "schemas.json").write_text(document(paths, components={"schemas": DEFINITIONS}))
    with Fake("openapi: schemas.json\nseed: 3", folder) as fake:
        yield fake


@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_fit_their_schema(schemas, name):
    schema = {"components": {"schemas": DEFINITIONS}, **SCHEMAS[name]}
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for n in range(12):
        for preference in ("", "dynamic=true"):
            answer = requests.get(f"{schemas.url}/{name}/{n}", headers={"Prefer": preference}, timeout=10)
            assert answer.status_code == 200
            problem = next(validator.iter_errors(answer.json()), None)
            assert problem is None, f"{answer.text}: {problem}"


def fake_of(tmp_path, paths, **more):
    (tmp_path / "document.json").write_text(document(paths, **more))
    return Fake("openapi: document.json\nseed: 3", tmp_path)


def test_formats_that_clients_parse(tmp_path):
    names = ("decimal", "int64", "google-datetime", "unix-time", "iso-country-code", "jwt", "semver", "byte")
    properties = {name: {"type": "string", "format": name} for name in names}
    with fake_of(tmp_path, {"/a": get("application/json", {"schema": {"type": "object", "properties": properties}})}) as fake:
        answer = requests.get(f"{fake.url}/a", timeout=10).json()
    assert Decimal(answer["decimal"]) >= 0 and int(answer["int64"]) > 0 and int(answer["unix-time"]) > 10**9
    assert datetime.fromisoformat(answer["google-datetime"]) and re.fullmatch("[A-Z]{2}", answer["iso-country-code"])
    assert answer["jwt"].count(".") == 2 and re.fullmatch(r"\d+\.\d+\.\d+", answer["semver"])


def test_examples_that_do_not_fit_are_mended(tmp_path):
    schema = {"type": "object", "required": ["id", "tags"], "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "integer"}}}}
    examples = {"odd": {"value": {"id": "x", "tags": [1, "two"]}}, "even": {"value": {"id": 2, "tags": []}}}
    paths = {
        "/mended": get("application/json", {"schema": schema, "example": {"id": 5, "tags": [1, "two", 3]}}),
        "/several": get("application/json", {"schema": schema, "examples": examples}),
    }
    with fake_of(tmp_path, paths) as fake:
        mended = requests.get(f"{fake.url}/mended", timeout=10).json()
        assert mended["id"] == 5 and mended["tags"][0] == 1 and isinstance(mended["tags"][1], int) and mended["tags"][2] == 3
        assert requests.get(f"{fake.url}/several", timeout=10).json() == {"id": 2, "tags": []}
        odd = requests.get(f"{fake.url}/several", headers={"Prefer": "example=odd"}, timeout=10)
        assert odd.json() == {"id": "x", "tags": [1, "two"]}


def test_paging_ends(tmp_path):
    page = {
        "type": "object",
        "required": ["has_more", "next_cursor"],
        "properties": {
            "has_more": {"type": "boolean"},
            "next_cursor": {"type": ["string", "null"]},
            "nextPageToken": {"type": "string"},
            "links": {"type": "object", "properties": {"next": {"type": "string", "format": "uri"}, "self": {"type": "string"}}},
        },
    }
    link = {"Link": {"schema": {"type": "string"}, "example": '<https://api.example.com/v1/b?page=2>; rel="next"'}}
    paths = {f"/a/{n}": get("application/json", {"schema": page}) for n in range(8)}
    paths["/b"] = get("application/json", {"schema": {"type": "array", "items": {"type": "integer"}}}, headers=link)
    with fake_of(tmp_path, paths, servers=[{"url": "https://api.example.com/v1"}]) as fake:
        for n in range(8):
            answer = requests.get(f"{fake.url}/a/{n}", timeout=10).json()
            assert answer["has_more"] is False and answer["next_cursor"] is None
            assert "nextPageToken" not in answer and "next" not in answer["links"]
        first = requests.get(f"{fake.url}/b", timeout=10)
        assert first.links["next"]["url"] == f"{fake.url}/b?page=2"
        assert "next" not in requests.get(first.links["next"]["url"], timeout=10).links


def test_links_lead_to_the_fake(tmp_path):
    made = {"responses": {"201": {"description": "made", "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}}}}}
    moved = {"Location": {"schema": {"type": "string"}, "example": "/v1/things/7"}}
    thing = {"example": {"self": "https://api.example.com/v1/things/7", "other": "https://example.org/"}}
    paths = {
        "/things": {"post": made},
        "/moved": {"get": {"responses": {"302": {"description": "moved", "headers": moved}}}},
        "/things/{id}": get("application/json", thing),
    }
    with fake_of(tmp_path, paths, servers=[{"url": "https://api.example.com/v1"}]) as fake:
        location = requests.post(f"{fake.url}/things", timeout=10).headers["location"]
        assert location.startswith(f"{fake.url}/things/")
        assert requests.get(location, timeout=10).json() == {"self": f"{fake.url}/things/7", "other": "https://example.org/"}
        assert requests.get(f"{fake.url}/moved", timeout=10).json()["self"] == f"{fake.url}/things/7"


def test_streams_and_tables_are_framed(tmp_path):
    items = {"type": "array", "minItems": 2, "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "n": {"type": "string"}}}}
    event = {"type": "object", "required": ["event", "data"], "properties": {"event": {"const": "made"}, "data": {"type": "object", "properties": {"id": {"type": "integer"}}}}}
    types = {"/n": "application/x-ndjson", "/l": "application/jsonl", "/s": "application/json-seq", "/c": "text/csv", "/e": "text/event-stream"}
    paths = {path: get(media_type, {"schema": items}) for path, media_type in types.items()}
    paths["/named"] = get("text/event-stream", {"schema": event})
    with fake_of(tmp_path, paths) as fake:
        texts = {path: requests.get(f"{fake.url}{path}", timeout=10).text for path in paths}
    for path in ("/n", "/l"):
        assert texts[path].endswith("\n") and len([json.loads(line)["id"] for line in texts[path].splitlines()]) >= 2
    assert all(json.loads(one)["id"] for one in texts["/s"].split("\x1e")[1:])
    assert all(row["id"].isdigit() for row in csv.DictReader(io.StringIO(texts["/c"])))
    events = texts["/e"].split("\n\n")
    assert events.pop() == "" and all(json.loads(one.removeprefix("data: "))["id"] for one in events)
    assert re.fullmatch(r'event: made\ndata: \{"id":\d+\}\n\n', texts["/named"])


def test_xml_is_as_the_schema_says(tmp_path):
    pet = {
        "type": "object",
        "xml": {"name": "pet", "prefix": "p", "namespace": "urn:x"},
        "properties": {
            "id": {"type": "integer", "example": 7, "xml": {"attribute": True}},
            "photos": {"type": "array", "xml": {"wrapped": True}, "items": {"type": "string", "example": "a<b", "xml": {"name": "photo"}}},
        },
    }
    with fake_of(tmp_path, {"/a": get("application/xml", {"schema": pet})}) as fake:
        root = ElementTree.fromstring(requests.get(f"{fake.url}/a", timeout=10).content)
    assert (root.tag, root.get("id")) == ("{urn:x}pet", "7")
    assert [(wrapper.tag, [item.text for item in wrapper]) for wrapper in root] == [("photos", ["a<b"])]


def test_fields_that_frame_or_code_the_body_are_left_out(tmp_path):
    fields = {name: {"schema": {"type": "string"}, "example": "gzip"} for name in ("Content-Encoding", "Keep-Alive", "Trailer", "Upgrade", "X-Kept")}
    with fake_of(tmp_path, {"/a": get("application/json", {"example": {"a": 1}}, headers=fields)}) as fake:
        answer = requests.get(f"{fake.url}/a", timeout=10)
    assert answer.json() == {"a": 1} and answer.headers["x-kept"] == "gzip"
    assert not {"content-encoding", "keep-alive", "trailer", "upgrade"} & {name.lower() for name in answer.headers}


def test_errors_alone_are_answered_as_such(tmp_path):
    error = {"description": "bad", "content": {"application/json": {"example": {"error": "bad"}}}}
    with fake_of(tmp_path, {"/a": {"get": {"responses": {"5XX": {"description": "worse"}, "4XX": error}}}}) as fake:
        answer = requests.get(f"{fake.url}/a", timeout=10)
    assert (answer.status_code, answer.json()) == (400, {"error": "bad"})
