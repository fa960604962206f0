"""A real browser, driven through node-client/dashboard.mjs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from squall import ROOT

SCRIPT = Path(__file__).parent / "node-client" / "dashboard.mjs"
MODULES = Path(os.environ.get("SQUALL_NODE_MODULES", ROOT / "tests" / ".venv" / "node-client"))
BROWSER = "chromium-headless-shell"


class BrowserError(Exception):
    """What the browser could not do, in its own words."""


class Browser:
    """A browser with one window. Elements are named by role and name, or by `selector`."""

    def __init__(self, log, *arguments):
        program = shutil.which(BROWSER)
        has_modules = (MODULES / "node_modules" / "playwright-core").is_dir()
        if program is None or shutil.which("node") is None or not has_modules:
            lacking = f"{BROWSER}, node or playwright-core is not installed: run tests/setup"
            if os.environ.get("CI") == "true":
                pytest.fail(lacking)
            pytest.skip(lacking)
        command = ["node", str(SCRIPT), str(MODULES), program, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def __getattr__(self, command):
        return lambda **what: self._do(command, what)

    def _do(self, command, what):
        self.process.stdin.write(json.dumps({"command": command, **what}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise BrowserError(f"the browser has ended with {self.process.wait(10)}")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(f"{command} {what}: {answer['error']}")
        return answer["value"]

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
