"""A declared fake's own page at `/`: each source lists what it answers, with a line to try that works."""

import html
import json
import re
import shlex
import subprocess

import requests
from fakes import Fake

DECLARED = """
routes: [{path: /ping, body: pong}]
collections: {things: {fields: {name: string}, generate: 3}}
openapi: {file: api.json, prefix: /v1}
har: recorded.har
"""
OPENAPI = {
    "openapi": "3.0.3",
    "info": {"title": "t", "version": "1"},
    "paths": {
        "/pets/{id}": {
            "get": {
                "summary": "One pet",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "example": "a b"}},
                    {"name": "kind", "in": "query", "required": True, "schema": {"type": "string", "enum": ["cat & dog"]}},
                ],
                "responses": {"200": {"description": "", "content": {"application/json": {"example": {"name": "Rex"}}}}},
            },
            "delete": {"operationId": "removePet", "responses": {"204": {"description": ""}}},
        }
    },
}
RECORDED = {"request": {"method": "GET", "url": "http://a.example/rec%20orded?q=%26"}, "response": {"status": 200, "content": {"text": "hi"}}}


def test_all_sources_are_listed_with_lines_that_work(tmp_path):
    (tmp_path / "api.json").write_text(json.dumps(OPENAPI))
    (tmp_path / "recorded.har").write_text(json.dumps({"log": {"entries": [RECORDED]}}))
    with Fake(DECLARED, tmp_path) as fake:
        page = requests.get(fake.url, timeout=10).text
        rows = re.findall(r"<tr><td>(.*?)<td><code>(.*?)</code><td>(.*?)<td>(.*?)<td><code>(.*?)</code>", page)
        rows = {(html.unescape(method), html.unescape(path)): html.unescape(line) for method, path, _, _, line in rows}
        assert set(rows) == {
            ("GET", "/ping"),
            ("GET, POST", "/things"),
            ("GET, PUT, PATCH, DELETE", "/things/{id}"),
            ("GET", "/v1/pets/{id}"),
            ("DELETE", "/v1/pets/{id}"),
            ("GET", "/rec%20orded"),
        }
        assert "One pet" in page and "removePet" in page
        for line in rows.values():
            command = [*shlex.split(line), "-s", "-o", "/dev/null", "-w", "%{http_code}"]
            status = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
            assert status in ("200", "204"), line
