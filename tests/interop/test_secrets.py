"""Secrets of the configuration are in nothing that squall shows: the admin API, explanations, printed configurations, errors.

As Prometheus and Envoy hide them in what they show of theirs. What came from the environment is shown as it was typed.
"""

import pytest
from squall import Squall, command

SECRETS = {
    "TOKEN": "s3cr3t-t0ken",
    "PASSWORD": "pass\"word'with: #signs{",
    "SHORT": "hunter2",
    "ADMIN": "admin-t0ken",
    "PART": "part0f-a-path",
}
TYPED = ["typed-key-1", "typed-basic=="]
PLAIN = {"WAIT": "15ms", "PLACE": "r-one"}

CONFIG = """
listeners: {web: {address: '127.0.0.1:0', upstream: u}}
upstreams:
  u: {url: 'http://127.0.0.1:1'}
  login: {fake: {routes: [{path: /login, match: {headers: {authorization: 'Bearer ${TOKEN}'}}, json: {token: '${TOKEN}'}}]}}
rules:
  - name: r-one
    match: {headers: {authorization: 'Bearer ${TOKEN}', x-api-key: {exact: typed-key-1}}, query: {password: '${SHORT}'}, path: {prefix: '/${PART}'}}
    faults:
      - delay: ${WAIT}
      - rewrite: {request: {headers: {set: {authorization: 'Basic typed-basic=='}}}, replace: [{find: '${TOKEN}', with: '${SHORT}'}]}
      - abort: {status: 503, headers: {x-secret: '${SHORT}', x-plain: 'on ${PLACE}'}, body: 'a ${PASSWORD} b'}
"""
ADMIN = "admin: {address: '127.0.0.1:0', token: '${ADMIN}'}\n"
REQUEST = ["-H", f"authorization: Bearer {SECRETS['TOKEN']}", "-H", "x-api-key: typed-key-1", "/part0f-a-path?password=hunter2"]


def assert_hidden(text):
    assert text
    for secret in [*SECRETS.values(), *TYPED]:
        assert secret not in text, text
        assert secret.replace('"', '\\"') not in text, text


@pytest.fixture
def environment(monkeypatch):
    for name, value in {**SECRETS, **PLAIN}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def file(tmp_path, environment):
    file = tmp_path / "squall.yaml"
    file.write_text(ADMIN + CONFIG)
    return file


def test_a_printed_configuration_names_its_variables(file):
    printed = command("check", "--print", file)
    assert printed.returncode == 0, printed.stderr
    assert_hidden(printed.stdout + printed.stderr)
    for shown in ["Bearer ${TOKEN}", "${SHORT}", "/${PART}", "***", "on r-one"]:
        assert shown in printed.stdout
    file.write_text(printed.stdout)
    again = command("check", "--print", file)
    assert (again.returncode, again.stdout) == (0, printed.stdout)


@pytest.mark.parametrize("form", ["text", "json"])
def test_explanations(file, form):
    explained = command("explain", "--format", form, "-c", file, *REQUEST)
    assert explained.returncode == 0, explained.stderr
    assert "503" in explained.stdout
    assert_hidden(explained.stdout + explained.stderr)


def test_the_admin_api(tmp_path, environment):
    squall = Squall(CONFIG, tmp_path)
    try:
        query = "?url=/part0f-a-path&header=authorization:Bearer%20s3cr3t-t0ken&header=x-api-key:typed-key-1"
        for path in ["config", "config?format=yaml", "rules", f"explain{query}", f"explain{query}&format=text"]:
            status, text = squall.admin_call(f"/api/v1/{path}")
            assert status == 200, text
            assert_hidden(text)
            assert "r-one" in text
    finally:
        squall.kill()


def test_errors(file):
    """A secret in the wrong place."""
    file.write_text("listeners: {web: {address: '${TOKEN}', upstream: '${SHORT}'}}\nupstreams: {a: {url: '${PASSWORD}'}}\n")
    checked = command("check", file)
    assert checked.returncode == 64
    assert_hidden(checked.stderr)
    assert "${TOKEN}" in checked.stderr
