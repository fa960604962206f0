"""`squall schema` and `squall check` agree, as seen by an independent validator: on the examples, on the YAML blocks of the
documentation, and on bad files."""

import json
import re

import jsonschema
import pytest
import yaml
from squall import ROOT, command

SCENARIOS = sorted((ROOT / "config" / "examples" / "scenarios").glob("*.yaml"))
GOOD = [
    *sorted(set((ROOT / "config" / "examples").glob("**/*.yaml")) - set(SCENARIOS)),
    *filter(lambda path: path.exists(), [ROOT / "config" / "squall.yaml"]),
]

DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md"))]

# YAML of other tools that they show, by a top-level key that squall does not have.
FOREIGN = {"services", "apiVersion", "scrape_configs", "jobs"}

# What a block that is only a part of a configuration leaves out.
OMITTED = {
    "listeners": {"web": {"address": "127.0.0.1:0", "upstream": "shop", "tls": {"certificate": "web.pem", "key": "web.key"}}},
    "upstreams": {"shop": {"fake": "echo"}},
}


class Yaml12Loader(yaml.SafeLoader):
    """PyYAML reads YAML 1.1, where `on` is a boolean, 12:30 a number and 2019-06-01 a date; the language is YAML 1.2."""


Yaml12Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] in ("null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$", re.I), list("tTfF"))
Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?\d+$"), list("-+0123456789"))
Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?$"), list("-+0123456789.")
)


def validator_of(*args):
    schema = json.loads(command("schema", *args).stdout)
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@pytest.fixture(scope="module")
def validator():
    return validator_of()


@pytest.fixture(scope="module")
def scenario_validator():
    return validator_of("--scenario")


def errors(validator, text):
    found = validator.iter_errors(yaml.load(text, Yaml12Loader))
    return [f"{error.json_path}: {error.message}" for error in found]


def documented(scenarios=False):
    """The configurations, or else the scenarios, of the documentation."""
    for document in DOCUMENTS:
        blocks = re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks, 1):
            parsed = yaml.load(block, Yaml12Loader)
            keys = set() if isinstance(parsed, list) else set(parsed)
            if not FOREIGN & keys and ("steps" in keys) == scenarios:
                yield pytest.param(block, id=f"{document.relative_to(ROOT)} block {number}")


def completed(block):
    """A whole configuration from a block: a list of faults becomes a rule for each, and what is missing is added."""
    parsed = yaml.load(block, Yaml12Loader)
    if isinstance(parsed, list):
        # Half of the requests each, since a rule that ends every request leaves nothing for the next.
        half = {"when": {"percentage": 50}}
        parsed = {"rules": [{"name": f"fault {number}", **half, "faults": [fault]} for number, fault in enumerate(parsed, 1)]}
    omitted = {key: value for key, value in OMITTED.items() if key not in parsed}
    # As it is written, if it is whole: what YAML means to another reader is not what is tested here.
    return yaml.safe_dump({**parsed, **omitted}, sort_keys=False, allow_unicode=True) if omitted else block


def put_files(folder, text):
    """The files that a configuration names."""
    for name in re.findall(r"[\w-]+\.(?:pem|key|csv)", text):
        kind = name.rpartition(".")[2]
        source = ROOT / "config" / "examples" / f"localhost.{kind}"
        (folder / name).write_text("80\n120\n950\n" if kind == "csv" else source.read_text())


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_good_files(validator, path):
    assert errors(validator, path.read_text()) == []
    result = command("check", path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("block", list(documented()))
def test_documentation(validator, tmp_path, monkeypatch, block):
    monkeypatch.setenv("SQUALL_TOKEN", "secret")
    text = completed(block)
    assert errors(validator, text) == []
    put_files(tmp_path, text)
    file = tmp_path / "squall.yaml"
    file.write_text(text)
    result = command("check", file)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name)
def test_good_scenarios(scenario_validator, path):
    assert errors(scenario_validator, path.read_text()) == []
    result = command("scenario", "check", path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("block", list(documented(scenarios=True)))
def test_documented_scenarios(scenario_validator, tmp_path, block):
    assert errors(scenario_validator, block) == []
    (tmp_path / "scenario.yaml").write_text(block)
    result = command("scenario", "check", tmp_path / "scenario.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_there_are_examples_and_documents():
    assert len(GOOD) >= 10
    folders = {str(path.parent.relative_to(ROOT)) for path in DOCUMENTS}
    assert folders == {".", "config", "deploy", "src", "tests"}


def test_check_takes_many_files():
    result = command("check", *GOOD)
    assert result.returncode == 0, result.stdout + result.stderr


BASE = """
seed: 1
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
"""


def one_rule(text):
    return BASE + "rules:\n  - name: one\n    " + text.replace("\n", "\n    ")


# Mistakes that a schema can see: each with what `squall check` must name.
BAD = {
    "unknown top-level key": (BASE + "rulez: []", "rulez"),
    "unknown listener key": (BASE.replace("upstream: echo}", "upstream: echo, adress: x}"), "adress"),
    "unknown upstream key": (BASE.replace("fake: echo", "fake: echo, urll: x"), "urll"),
    "unknown rule key": (one_rule("fautls: [{abort: 503}]"), "fautls"),
    "unknown match key": (one_rule("match: {paht: /x}\nfaults: [{abort: 503}]"), "paht"),
    "unknown when key": (one_rule("when: {percent: 5}\nfaults: [{abort: 503}]"), "percent"),
    "unknown fault": (one_rule("faults: [{dealy: 5ms}]"), "dealy"),
    "unknown abort key": (one_rule("faults: [{abort: {status: 503, boddy: x}}]"), "boddy"),
    "rule without a name": (BASE + "rules:\n  - faults: [{abort: 503}]", "name"),
    "rules as a mapping": (BASE + "rules: {one: {}}", "rules"),
    "faults as a mapping": (one_rule("faults: {abort: 503}"), "faults"),
    "percentage above 100": (one_rule("when: {percentage: 100.5}\nfaults: [{abort: 503}]"), "100.5"),
    "negative percentage": (one_rule("when: {percentage: -1}\nfaults: [{abort: 503}]"), "-1"),
    "delay without a unit": (one_rule("faults: [{delay: 200}]"), "200"),
    "delay with an unknown unit": (one_rule("faults: [{delay: 200 parsecs}]"), "parsecs"),
    "status out of range": (one_rule("faults: [{abort: 99}]"), "99"),
    "status as a word": (one_rule("faults: [{abort: unavailable}]"), "unavailable"),
    "attempts as a word": (one_rule("when: {attempts: two}\nfaults: [{abort: 503}]"), "two"),
    "enabled as a number": (one_rule("enabled: 7\nfaults: [{abort: 503}]"), "7"),
    "limits with an unknown key": (one_rule("when: {limits: {actve: 5}}\nfaults: [{abort: 503}]"), "actve"),
    "weight below zero": (one_rule("choose: [{weight: -5, faults: [{abort: 500}]}]"), "-5"),
    "seed as a word": (BASE.replace("seed: 1", "seed: lucky"), "lucky"),
}

# Mistakes that only squall can see: the schema may pass them, the check must not.
BAD_IN_MEANING = {
    "duplicate rule": (one_rule("faults: [{abort: 503}]") + "\n  - {name: one, faults: [{abort: 500}]}", "one"),
    "unknown upstream": (BASE.replace("upstream: echo", "upstream: ecko"), "ecko"),
    "unknown listener of a rule": (one_rule("listener: wib\nfaults: [{abort: 503}]"), "wib"),
    "broken regex": (one_rule("match: {path: {regex: '('}}\nfaults: [{abort: 503}]"), "("),
    "missing certificate": (BASE.replace("upstream: echo", "upstream: echo, tls: {certificate: no.pem, key: no.key}"), "no.pem"),
    "unclosed": (BASE + "rules: [", "YAML"),
    "tcp listener": (BASE.replace("upstream: echo", "upstream: echo, protocol: tcp"), "tcp"),
}


def check_refused(tmp_path, text, named):
    """Refused with exit code 64, and with file, line, column and the offending text."""
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    result = command("check", file)
    report = result.stdout + result.stderr
    assert result.returncode == 64, report
    assert re.search(r"bad\.yaml:\d+:\d+", report), report
    assert named in report
    return report


@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD)
def test_both_refuse(validator, tmp_path, text, named):
    assert errors(validator, text) != []
    check_refused(tmp_path, text, named)


@pytest.mark.parametrize(("text", "named"), BAD_IN_MEANING.values(), ids=BAD_IN_MEANING)
def test_check_refuses(tmp_path, text, named):
    check_refused(tmp_path, text, named)


def test_all_errors_at_once_with_suggestions(tmp_path):
    text = one_rule("fautls: [{abort: 503}]\nwhen: {percentage: 101}") + "\nrulez: []\n"
    report = check_refused(tmp_path, text, "fautls")
    assert "101" in report
    assert "rulez" in report
    assert "faults" in report


def test_run_opens_no_port_on_a_bad_file(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD["unknown fault"][0])
    result = command("run", "-c", file)
    assert result.returncode == 64
    assert "listening" not in result.stderr


def test_a_good_base_is_good(validator, tmp_path):
    """What the bad ones are made of has no fault of its own."""
    file = tmp_path / "good.yaml"
    file.write_text(one_rule("faults: [{abort: 503}]"))
    assert errors(validator, file.read_text()) == []
    assert command("check", file).returncode == 0
