"""The fake SonarQube, as its clients see it: python-sonarqube-api unchanged, and what it refuses, to the letter."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from sonarqube import SonarQubeClient
from sonarqube.utils.exceptions import AuthError, NotFoundError, ValidationError

SEVERITIES = ["INFO", "MINOR", "MAJOR", "CRITICAL", "BLOCKER"]

CONFIG = """
listeners:
  web: {address: 127.0.0.1:0, upstream: sonarqube}
upstreams:
  sonarqube: {fake: {name: sonarqube, %s}}
rules:
%s
"""


@pytest.fixture
def sonarqube(squall):
    """A function that starts a fake with these settings behind squall, and gives its address."""

    def start(settings="projects: 4, issues: 5000", rules="  []"):
        return squall(CONFIG % (settings, rules)).url("")

    return start


def errors(response):
    assert response.headers["content-type"] == "application/json"
    return [error["msg"] for error in response.json()["errors"]]


def test_the_client_of_pypi_reads_issues_page_by_page(sonarqube):
    client = SonarQubeClient(sonarqube_url=sonarqube())
    assert client.server.get_server_version().startswith("7.")
    assert client.auth.check_credentials() == {"valid": True}
    keys, page, total = set(), 1, None
    while total is None or len(keys) < total:
        answer = client.issues.search_issues(p=page, ps=500, severities="MAJOR,CRITICAL", additionalFields="_all")
        assert answer["paging"] == {"pageIndex": page, "pageSize": 500, "total": 2000}
        assert {issue["severity"] for issue in answer["issues"]} <= {"MAJOR", "CRITICAL"}
        total = answer["paging"]["total"]
        keys |= {issue["key"] for issue in answer["issues"]}
        page += 1
    assert (page, len(keys)) == (5, 2000)
    key = sorted(keys)[0]
    issue = client.issues.get_issue(key)
    assert issue["key"] == key
    project = client.projects.get_project(issue["project"])
    assert project["key"] == issue["project"]
    in_project = client.issues.search_issues(componentKeys=issue["project"], resolved="false", ps=1, facets="severities,types")
    facets = {facet["property"]: facet["values"] for facet in in_project["facets"]}
    assert sum(value["count"] for value in facets["types"]) == in_project["total"] > 0


def test_the_client_of_pypi_raises_its_own_errors(sonarqube):
    url = sonarqube("issues: 100, token: s3cret")
    client = SonarQubeClient(sonarqube_url=url, token="s3cret")
    assert client.issues.search_issues()["total"] == 100
    with pytest.raises(ValidationError, match=r"Can return only the first 10000 results\. 10500th result asked\."):
        client.issues.search_issues(p=21, ps=500)
    with pytest.raises(NotFoundError, match="Unknown url : /api/duplications/show"):
        client.duplications.get_duplications(key="x")
    for token in ("wrong", None):
        with pytest.raises(AuthError):
            SonarQubeClient(sonarqube_url=url, token=token).issues.search_issues()


@pytest.mark.parametrize(
    "query, message",
    [
        ("p=21&ps=500", "Can return only the first 10000 results. 10500th result asked."),
        ("p=10001&ps=1", "Can return only the first 10000 results. 10001th result asked."),
        ("ps=501", "'ps' value (501) must be less than 500"),
        ("p=0", "Page must be greater or equal to 1 (got 0)"),
        ("p=abc", "The 'p' parameter cannot be parsed as an integer value: abc"),
        ("severities=major", "Value of parameter 'severities' (major) must be one of: [INFO, MINOR, MAJOR, CRITICAL, BLOCKER]"),
        ("statuses=X", "Value of parameter 'statuses' (X) must be one of: [OPEN, CONFIRMED, REOPENED, RESOLVED, CLOSED]"),
        ("types=X", "Value of parameter 'types' (X) must be one of: [CODE_SMELL, BUG, VULNERABILITY, SECURITY_HOTSPOT]"),
        ("resolved=1", "Value of parameter 'resolved' (1) must be one of: [true, false, yes, no]"),
        ("createdBefore=x", "Date 'x' cannot be parsed as either a date or date+time"),
    ],
)
def test_refusals_have_the_exact_message(fake, query, message):
    response = requests.get(f"{fake}/api/issues/search?{query}", timeout=10)
    assert response.status_code == 400
    assert response.content.decode() == '{"errors":[{"msg":"%s"}]}' % message
    assert errors(response) == [message]


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """One fake for the tests that change nothing, which is all that can be done to it."""
    from squall import Squall

    one = Squall(CONFIG % ("projects: 4, issues: 20000", "  []"), tmp_path_factory.mktemp("sonarqube"))
    yield one.url("")
    one.kill()


def test_the_last_page_that_may_be_asked_for_and_one_past_the_end(fake):
    last = requests.get(f"{fake}/api/issues/search?p=20&ps=500", timeout=10).json()
    assert (len(last["issues"]), last["total"]) == (500, 20000)
    beyond = requests.get(f"{fake}/api/issues/search?p=20&ps=500&severities=INFO&statuses=CLOSED", timeout=10)
    assert (beyond.status_code, beyond.json()["issues"]) == (200, [])


def test_authentication_is_required(sonarqube):
    url = sonarqube("issues: 10, token: s3cret") + "/api/issues/search"
    assert requests.get(url, auth=("s3cret", ""), timeout=10).status_code == 200
    assert requests.get(url, headers={"authorization": "Bearer s3cret"}, timeout=10).status_code == 200
    for headers in ({"authorization": "Bearer nope"}, {"authorization": "Basic bm9wZTo="}):
        refused = requests.get(url, headers=headers, timeout=10)
        assert (refused.status_code, refused.content) == (401, b"")
    unknown = requests.get(url, timeout=10)
    assert (unknown.status_code, errors(unknown)) == (401, ["Authentication is required"])


def test_other_paths_are_unknown(fake):
    response = requests.get(f"{fake}/api/nothing/component?component=x", timeout=10)
    assert (response.status_code, errors(response)) == (404, ["Unknown url : /api/nothing/component"])


def test_slices_add_up_in_every_way(fake):
    """Whatever issues are sliced by, the slices are all of them, and facets say how large each is."""
    slices = {"severities": SEVERITIES, "resolved": ["true", "false"], "assigned": ["yes", "no"], "languages": ["java", "js", "py"]}
    for name, values in slices.items():
        totals = [requests.get(f"{fake}/api/issues/search?ps=1&{name}={value}", timeout=10).json()["total"] for value in values]
        assert sum(totals) == 20000 and all(totals), name
    facets = "severities,statuses,resolutions,types,rules,projects,assignees,authors,languages"
    answer = requests.get(f"{fake}/api/issues/search?ps=1&facets={facets}", timeout=10).json()
    assert [facet["property"] for facet in answer["facets"]] == facets.split(",")
    for facet in answer["facets"]:
        assert sum(value["count"] for value in facet["values"]) == 20000, facet


def test_the_seed_makes_the_issues(squall):
    def first(seed):
        url = squall(f"seed: {seed}\n" + CONFIG % ("issues: 100", "  []")).url("/api/issues/search")
        return requests.get(url, timeout=10).json()

    assert first(1) == first(1) != first(2)


def test_a_slow_sonarqube_is_slow_and_a_broken_one_says_so(sonarqube):
    rules = """
  - {name: slow, match: {query: {p: "2"}}, faults: [delay: 300ms]}
  - {name: broken, match: {query: {p: "3"}}, faults: [{abort: {status: 503, json: {errors: [{msg: later}]}}}]}
"""
    url = sonarqube(rules=rules) + "/api/issues/search"
    began = time.monotonic()
    assert requests.get(url, params={"p": 2}, timeout=10).status_code == 200
    assert time.monotonic() - began >= 0.3
    broken = requests.get(url, params={"p": 3}, timeout=10)
    assert (broken.status_code, errors(broken)) == (503, ["later"])


def test_ten_million_issues_need_no_memory(squall):
    one = squall(CONFIG % ("issues: 10000000, projects: 1000", "  []"))
    # A page of the first issues by key, which looks at those alone; what is asked of all takes longer.
    first = requests.get(one.url("/api/issues/search"), params={"issues": "none"}, timeout=20)
    assert first.json()["total"] == 0
    with open(f"/proc/{one.process.pid}/status") as status:
        kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert kilobytes < 200_000


@pytest.mark.parametrize("version", ["7.7", "2025.4"])
def test_the_client_of_pypi_reads_rules_measures_gates_and_users(sonarqube, version):
    client = SonarQubeClient(sonarqube_url=sonarqube(f"projects: 4, issues: 5000, version: {version}"))
    assert client.server.get_server_version().startswith(f"{version}.")
    project = client.projects.search_projects()["components"][0]["key"]
    rules = client.rules.search_rules(ps=500)["rules"]
    measured = client.measures.get_component_with_specified_measures(component=project, metricKeys="ncloc,bugs,coverage")
    measures = {measure["metric"]: measure["value"] for measure in measured["component"]["measures"]}
    assert int(measures["ncloc"]) > 1000 and 0 < float(measures["coverage"]) < 100
    bugs = client.issues.search_issues(componentKeys=project, types="BUG", resolved="false", ps=1)
    assert int(measures["bugs"]) == bugs["total"]
    assert [gate["name"] for gate in client.qualitygates.get_quality_gates()["qualitygates"]] == ["Sonar way"]
    users = client.users.search_users()["users"]
    assert len(users) == 24 and users[0]["active"]


# Today's sonar-tools, unchanged.


@pytest.fixture
def sonar_tools(sonarqube, tmp_path):
    """A function that runs a command of sonar-tools, and gives what it wrote to its file."""
    url = sonarqube("projects: 3, issues: 3000, version: 2025.4, token: " + "s" * 44)

    def run(name, *args, file):
        program = Path(sys.executable).with_name(name)
        command = [program, "--skipVersionCheck", "-u", url, "-t", "s" * 44, "-f", file, *args]
        # A home of its own: it keeps settings there.
        env = {**os.environ, "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return tmp_path / file

    return run


def test_sonar_tools_export_all_findings(sonar_tools):
    findings = json.loads(sonar_tools("sonar-findings-export", file="found.json").read_text())
    assert len(findings) == 3000 and {"key", "rule", "message", "projectKey"} <= findings[0].keys()


@pytest.mark.parametrize("metrics", ["_main", "_all"])
def test_sonar_tools_export_measures(sonar_tools, metrics):
    with sonar_tools("sonar-measures-export", "-m", metrics, file="measures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and all(float(row["coverage"]) > 0 and int(row["ncloc"]) > 1000 for row in rows)


def test_sonar_tools_audit_and_export_the_configuration(sonar_tools):
    assert "stale" in sonar_tools("sonar-audit", file="audit.csv").read_text()
    config = json.loads(sonar_tools("sonar-config", "-e", file="config.json").read_text())
    assert len(config["projects"]) == 3 and config["platform"]["version"].startswith("2025.4")


def test_sonar_tools_export_lines_of_code_and_rules(sonar_tools):
    with sonar_tools("sonar-loc", file="loc.csv").open() as file:
        assert len(list(csv.reader(file))) >= 3
    rules = sonar_tools("sonar-rules", "-e", file="rules.csv").read_text()
    assert "S1192" in rules
