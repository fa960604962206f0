"""`openapi:` of a declared fake, with a document in the style of the petstore."""

import os
import time
import uuid
from pathlib import Path

import pytest
import requests
from fakes import Fake, configuration

STORE = """
openapi: 3.1.0
info: {title: Store, version: '1'}
servers: [{url: https://store.example/api}]
paths:
  /pet:
    post:
      requestBody: {$ref: '#/components/requestBodies/Pet'}
      responses:
        '200': {description: ok, content: {application/json: {schema: {$ref: '#/components/schemas/Pet'}}, application/xml: {schema: {$ref: '#/components/schemas/Pet'}}}}
        '422': {description: bad}
  /pet/findByStatus:
    get:
      parameters: [{name: status, in: query, required: true, schema: {type: string, enum: [available, pending, sold], default: available}}]
      responses:
        '200':
          description: ok
          headers: {X-Rate-Limit: {schema: {type: integer, minimum: 5, maximum: 5}}}
          content: {application/json: {schema: {type: array, minItems: 2, items: {$ref: '#/components/schemas/Pet'}}}}
  /pet/{petId}:
    parameters: [{name: petId, in: path, required: true, schema: {type: integer}}]
    get:
      responses:
        '200':
          description: ok
          content:
            application/json:
              examples:
                cat: {summary: a cat, value: {id: 1, name: Minka, photoUrls: []}}
                dog: {$ref: '#/components/examples/dog'}
              schema: {$ref: '#/components/schemas/Pet'}
        '404': {$ref: '#/components/responses/Missing'}
        default: {description: other, content: {application/problem+json: {schema: {$ref: '#/components/schemas/Problem'}}}}
    delete:
      parameters: [{name: api_key, in: header, required: true, schema: {type: string}}]
      responses: {'204': {description: gone}}
  /files/{name}.{ending}:
    get: {responses: {'200': {description: ok, content: {text/csv: {example: "a,b\\n1,2\\n"}}}}}
components:
  requestBodies: {Pet: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Pet'}}, application/x-www-form-urlencoded: {schema: {$ref: '#/components/schemas/Pet'}}}}}
  responses: {Missing: {description: none, content: {application/json: {example: {message: no such pet}}}}}
  examples: {dog: {value: {id: 2, name: Rex, photoUrls: []}}}
  schemas:
    Problem: {type: object, required: [title], properties: {title: {type: string}, status: {type: integer, example: 500}}}
    Category: {type: object, properties: {id: {type: integer}, name: {type: string}, parent: {$ref: '#/components/schemas/Category'}}}
    Base: {type: object, required: [id], properties: {id: {type: integer, format: int64, minimum: 1, readOnly: true}, key: {type: string, format: uuid}}}
    Pet:
      allOf:
        - {$ref: '#/components/schemas/Base'}
        - type: object
          required: [name, photoUrls]
          properties:
            name: {type: string, minLength: 2, maxLength: 30}
            category: {$ref: '#/components/schemas/Category'}
            photoUrls: {type: array, minItems: 1, items: {type: string, format: uri}}
            born: {type: [string, 'null'], format: date}
            code: {type: string, pattern: '^[A-Z]{2}-[0-9]{4}$'}
            status: {type: string, enum: [available, pending, sold]}
            weight: {type: number, exclusiveMinimum: 0, maximum: 90}
            friends: {type: array, items: {$ref: '#/components/schemas/Pet'}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    (folder / "store.yaml").write_text(STORE)
    with Fake("openapi: {file: store.yaml, validate: true}\nseed: 3", folder) as fake:
        yield fake


def check_pet(pet):
    assert isinstance(pet["id"], int) and pet["id"] >= 1
    assert 2 <= len(pet["name"]) <= 30 and pet["photoUrls"] and all("://" in url for url in pet["photoUrls"])
    assert pet["status"] in ("available", "pending", "sold") and 0 < pet["weight"] <= 90
    assert uuid.UUID(pet["key"]) and pet["code"][2] == "-" and len(pet["born"]) == 10
    assert pet["friends"] == []


def test_values_fit_and_stay(store):
    found = requests.get(f"{store.url}/pet/findByStatus?status=sold", timeout=10)
    assert found.status_code == 200 and found.headers["x-rate-limit"] == "5" and len(found.json()) >= 2
    for pet in found.json():
        check_pet(pet)
    assert found.text == requests.get(f"{store.url}/pet/findByStatus?status=sold", timeout=10).text
    check_pet(requests.get(f"{store.url}/pet/1", headers={"Prefer": "dynamic=true"}, timeout=10).json())


def test_examples_and_preferences(store):
    def get(path="/pet/7", **headers):
        return requests.get(store.url + path, headers=headers, timeout=10)

    assert get().json()["name"] == "Minka"
    assert get(Prefer="example=dog").json()["name"] == "Rex"
    missing = get(Prefer="code=404")
    assert (missing.status_code, missing.json()) == (404, {"message": "no such pet"})
    other = get(Prefer="code=503")
    assert (other.status_code, other.headers["content-type"], other.json()["status"]) == (503, "application/problem+json", 500)
    assert get(Accept="application/xml").status_code == 406
    assert get("/files/table.csv").text == "a,b\n1,2\n"
    assert get("/nothing").status_code == 404
    refused = requests.put(f"{store.url}/pet/7", timeout=10)
    assert refused.status_code == 405 and refused.headers["allow"] == "DELETE, GET, HEAD"
    xml = requests.post(f"{store.url}/pet", json={"name": "Ada", "photoUrls": ["a:b"]}, headers={"Accept": "text/xml, application/xml"}, timeout=10)
    assert xml.headers["content-type"] == "application/xml" and "<Pet><id>" in xml.text


def test_requests_are_checked(store):
    def problems(reply):
        assert reply.status_code == 422, reply.text
        return {(problem["in"], problem["field"]) for problem in reply.json()["problems"]}

    assert problems(requests.get(f"{store.url}/pet/findByStatus", timeout=10)) == {("query", "status")}
    assert problems(requests.get(f"{store.url}/pet/x", timeout=10)) == {("path", "petId")}
    assert problems(requests.delete(f"{store.url}/pet/1", timeout=10)) == {("header", "api_key")}
    assert requests.delete(f"{store.url}/pet/1", headers={"api_key": "k"}, timeout=10).status_code == 204
    pet = {"name": "x", "photoUrls": ["no url"], "weight": 0, "friends": [{"name": "Rex"}]}
    wanted = {("body", field) for field in ("name", "photoUrls[0]", "weight", "friends[0].photoUrls")}
    assert problems(requests.post(f"{store.url}/pet", json=pet, timeout=10)) == wanted
    assert problems(requests.post(f"{store.url}/pet", timeout=10)) == {("body", "")}
    for data, status in ((b"{", 400), (b"\xff\x00", 400), (b"null", 422), (b"[" * 5000, 400)):
        reply = requests.post(f"{store.url}/pet", data=data, headers={"Content-Type": "application/json"}, timeout=10)
        assert reply.status_code == status
    form = requests.post(f"{store.url}/pet", data={"name": "Ada", "photoUrls": ["a:b", "c:d"]}, timeout=10)
    assert form.status_code == 200
    assert requests.post(f"{store.url}/pet", data="x", headers={"Content-Type": "text/plain"}, timeout=10).status_code == 415


def test_behind_a_listener_the_document_is_read_again_when_it_changes(squall, tmp_path):
    document = tmp_path / "d.json"

    def save(text):
        new = Path(f"{document}.new")
        new.write_text('{"openapi": "3.0.0", "paths": {"/a": {"get": {"responses": {"200": {"content": {"text/plain": {"example": "%s"}}}}}}}}' % text)
        os.replace(new, document)

    save("one")
    running = squall(configuration(f"openapi: {document}"))
    assert requests.get(running.url("/a"), timeout=10).text == "one"
    save("number two")
    deadline = time.monotonic() + 15
    while requests.get(running.url("/a"), timeout=10).text != "number two":
        assert time.monotonic() < deadline, running.log()
        time.sleep(0.1)


def test_a_document_needs_no_configuration(tmp_path):
    document = tmp_path / "store.yaml"
    document.write_text(STORE)
    with Fake.of_file(document, "--set", "validate=true", "--set", "prefix=/v2") as fake:
        assert requests.get(f"{fake.url}/v2/pet/1", timeout=10).json()["id"] == 1
        assert requests.get(f"{fake.url}/v2/pet/x", timeout=10).status_code == 422
