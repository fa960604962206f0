"""What a release is made of: archives that are found where they are looked for, whose binary runs, and which can be made again."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import DEPLOY, ROOT

TARGET = "x86_64-unknown-linux-gnu"
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
TARGETS = [each["target"] for each in WORKFLOW["jobs"]["binary"]["strategy"]["matrix"]["include"]]


def binary():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return Path(os.environ.get("SQUALL_BIN", target / "debug" / "squall"))


def package(folder):
    """Packs a copy without its symbols, which would take most of the time."""
    small = folder / "squall"
    shutil.copy(binary(), small)
    subprocess.run(["strip", small], check=True)
    made = subprocess.run([DEPLOY / "release" / "package", small, TARGET, folder], capture_output=True, text=True, check=True)
    return Path(made.stdout.strip())


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return package(tmp_path_factory.mktemp("release"))


def filled(template):
    """A template of cargo binstall, for the target."""
    values = {"version": CARGO["version"], "target": TARGET, "bin": "squall", "binary-ext": "", "repo": ""}
    return re.sub(r"\{ ([\w-]+) \}", lambda name: values[name[1]], template)


def test_the_archive_is_where_binstall_looks_for_it(archive):
    settings = CARGO["metadata"]["binstall"]
    assert filled(settings["pkg-url"]) == f"/releases/download/v{CARGO['version']}/{archive.name}"
    assert filled(settings["bin-dir"]) in tarfile.open(archive).getnames()


def test_the_binary_in_it_runs(archive, tmp_path):
    tarfile.open(archive).extractall(tmp_path, filter="data")
    [folder] = tmp_path.iterdir()
    assert {"squall", "LICENSE", "README.md", "REFERENCE.md", "squall.1", "completions"} == {each.name for each in folder.iterdir()}
    shown = subprocess.run([folder / "squall", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"squall {CARGO['version']}\n"
    for kind in ("bash", "fish", "zsh"):
        assert "squall" in (folder / "completions" / f"squall.{kind}").read_text()


def test_its_checksum_is_right_and_it_can_be_made_again(archive, tmp_path):
    checksum, name = archive.with_name(archive.name + ".sha256").read_text().split()
    assert (checksum, name) == (hashlib.sha256(archive.read_bytes()).hexdigest(), archive.name)
    assert package(tmp_path).read_bytes() == archive.read_bytes()


def test_the_readme_names_each_archive():
    text = (ROOT / "README.md").read_text()
    assert len(TARGETS) == 6
    for target in TARGETS:
        assert f"`{target}`" in text, target
