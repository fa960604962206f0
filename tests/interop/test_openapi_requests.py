"""Requests to `openapi:` of a declared fake that checks them: what real clients send, in all its forms."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import requests
from fakes import Fake, configuration
from squall import binary

API = """
openapi: 3.0.3
info: {title: API, version: '1'}
x-topics: [{content: {$ref: ./start.md}}]
security: [{key: []}, {basic: []}]
paths:
  /list:
    get:
      security: []
      parameters:
        - {name: Accept, in: header, required: true, schema: {type: string, enum: [application/vnd.api+json;version=2]}}
        - {name: tags, in: query, schema: {anyOf: [{type: array, items: {type: integer}}, {type: string, enum: [all]}]}}
        - {name: filter, in: query, style: deepObject, explode: true, schema: {type: object, properties: {at: {type: object, properties: {gte: {type: integer}}}}}}
        - {name: where, in: query, content: {application/json: {schema: {type: object, required: [n]}}}}
        - {name: page, in: query, schema: {type: object, properties: {offset: {type: integer}, limit: {type: integer}}}}
      responses:
        '200': {description: ok, content: {application/json: {examples: {one: {value: [1]}, two: {value: [2]}}}}}
        '404': {description: none, content: {application/json: {example: {error: none}}}}
  /form:
    post:
      security: [{}]
      requestBody:
        required: true
        content:
          application/x-www-form-urlencoded:
            encoding: {card: {style: deepObject, explode: true}}
            schema: &form {type: object, additionalProperties: false, required: [card], properties: {expand: {type: array, items: {type: string}}, card: {type: object, required: [number], properties: {number: {type: string}, year: {type: integer}}}}}
          multipart/form-data: {schema: {type: object, required: [file, kind], properties: {file: {type: string, format: binary}, kind: {type: string, enum: [a, b]}}}}
      responses: {'204': {description: ok}, '400': {description: bad}}
  /closed:
    get: {responses: {'204': {description: ok}}}
  /search?kind=cat&q={q}:
    get: {security: [], responses: {'200': {description: ok, content: {text/plain: {example: cats}}}}}
  /files/{+path}:
    get: {security: [], responses: {'200': {description: ok, content: {text/plain: {example: file}}}}}
  /never#reached:
    get: {responses: {'204': {description: ok}}}
  /pets: {$ref: 'paths/pets.yaml'}
components:
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}, basic: {type: http, scheme: basic}}
"""

PETS = """
post:
  security: []
  requestBody: {content: {application/json: {schema: {$ref: '../schemas.yaml#/Pet'}}}}
  responses: {'204': {description: ok}}
"""

SCHEMAS = """
Pet:
  oneOf: [{$ref: '#/Cat'}, {$ref: '#/Dog'}]
  discriminator: {propertyName: kind, mapping: {cat: '#/Cat', dog: schemas.yaml#/Dog}}
Animal: &animal {type: object, required: [kind], properties: {kind: {type: string}, name: {type: string}}}
Cat: {<<: *animal, required: [kind, name]}
Dog: {<<: *animal, maxProperties: 2}
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    (folder / "paths").mkdir()
    (folder / "api.yaml").write_text(API)
    (folder / "paths" / "pets.yaml").write_text(PETS)
    (folder / "schemas.yaml").write_text(SCHEMAS)
    with Fake("openapi: {file: api.yaml, validate: true}", folder) as fake:
        yield fake


def fields(reply, status=422):
    """The fields that a refused request is wrong in."""
    assert reply.status_code == status, reply.text
    return {problem["field"] for problem in reply.json()["problems"]}


def test_queries_of_all_kinds(api):
    def get(query="", **headers):
        return requests.get(f"{api.url}/list?{query}", headers=headers, timeout=10)

    for query in ("", "tags=1&tags=2", "tags=1", "tags=all", "tags[]=1", "filter[at][gte]=5", "filter%5Bat%5D%5Bgte%5D=5",
                  "where=%7B%22n%22:1%7D", "offset=0&limit=9"):  # fmt: skip
        assert get(query).status_code == 200, query
    assert fields(get("tags=x")) == {"tags"}
    assert fields(get("filter[at][gte]=x")) == {"filter.at.gte"}
    assert fields(get("where=%7Bbad")) == {"where"}
    assert fields(get("where=%7B%7D")) == {"where.n"}
    assert fields(get("offset=x")) == {"page.offset"}
    assert requests.get(f"{api.url}/list", params={"tags": [1, 2], "where": '{"n": 1}'}, timeout=10).status_code == 200


def test_media_types_are_negotiated_kindly_and_queries_have_preferences(api):
    def get(query="", **headers):
        return requests.get(f"{api.url}/list?{query}", headers=headers, timeout=10)

    vendor = get(Accept="application/vnd.api+json;version=2")
    assert (vendor.status_code, vendor.headers["content-type"], vendor.json()) == (200, "application/json", [1])
    assert get(Accept="image/png").status_code == 406
    assert get("__example=two").json() == [2]
    assert get("__code=404").json() == {"error": "none"}
    assert get("__code=404", Prefer="code=200").status_code == 200
    assert get("__code=500").status_code == 404


def test_forms(api):
    def post(**body):
        return requests.post(f"{api.url}/form", timeout=10, **body)

    assert post(data={"expand[]": ["x", "y"], "card[number]": "4242", "card[year]": 30}).status_code == 204
    assert fields(post(data={"card[year]": "x"}), 400) == {"card.number", "card.year"}
    assert fields(post(data={"other": "x"}), 400) == {"card", "other"}
    file = {"file": ("a.png", b"\x89PNG\xff", "image/png")}
    assert post(files=file, data={"kind": "a"}).status_code == 204
    assert fields(post(files=file, data={"kind": "c"}), 400) == {"kind"}
    assert fields(post(files={"kind": (None, "a")}), 400) == {"file"}
    assert post(data="x", headers={"Content-Type": "text/plain"}).status_code == 415


def test_credentials(api):
    def get(**request):
        return requests.get(f"{api.url}/closed", timeout=10, **request)

    refused = get()
    assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Basic")
    assert refused.json()["needs"] == ["the header `X-Key`", "`Authorization: Basic` with `user:password` in base64"]
    assert get(headers={"X-Key": "any"}).status_code == 204
    assert get(auth=("a", "b")).status_code == 204
    assert get(headers={"Authorization": "Bearer t"}).status_code == 401


def test_paths_beyond_the_standard(api):
    def get(path):
        reply = requests.get(api.url + path, timeout=10)
        return reply.status_code, reply.text if reply.ok else None

    assert get("/search?kind=cat&q=x") == (200, "cats")
    assert get("/search?kind=dog&q=x") == (404, None)
    assert get("/files/a/b%20c") == (200, "file")


def test_a_path_that_no_request_reaches_is_a_warning(tmp_path):
    responses = "{get: {responses: {'204': {description: ok}}}}"
    (tmp_path / "a.yaml").write_text(f"openapi: 3.0.0\npaths: {{/a: {responses}, '/a#b': {responses}, '/c/{{d}}': {responses}, '/c/{{e}}': {responses}}}")
    (tmp_path / "squall.yaml").write_text(configuration("openapi: a.yaml"))
    checked = subprocess.run([binary(), "check", str(tmp_path / "squall.yaml")], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked
    assert "no request can reach a path with a `#`" in checked.stderr + checked.stdout
    assert "GET never gets here, since `/c/{d}` matches the same requests" in checked.stderr + checked.stdout


def test_a_document_of_several_files_with_a_discriminator(api):
    def post(pet):
        return requests.post(f"{api.url}/pets", json=pet, timeout=10)

    assert post({"kind": "dog"}).status_code == 204
    assert post({"kind": "cat", "name": "x", "more": 1}).status_code == 204
    assert fields(post({"kind": "cat"})) == {"name"}
    assert fields(post({"kind": "cow"})) == {"kind"}


def test_other_files_of_a_document_are_watched(squall, tmp_path):
    document, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    document.write_text("openapi: 3.0.0\npaths: {/a: {get: {responses: {200: {$ref: b.yaml#/ok}}}}}")

    def save(text):
        new = Path(f"{other}.new")
        new.write_text("ok: {content: {text/plain: {example: %s}}}" % text)
        os.replace(new, other)

    save("one")
    running = squall(configuration(f"openapi: {document}"))
    assert requests.get(running.url("/a"), timeout=10).text == "one"
    deadline = time.monotonic() + 30
    while requests.get(running.url("/a"), timeout=10).text != "number two":
        assert time.monotonic() < deadline, running.log()
        save("number two")
        time.sleep(0.5)
