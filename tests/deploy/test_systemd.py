"""The systemd unit: understood as a whole, and hardened."""

import re

import pytest
from conftest import DEPLOY, run

# Of 10; what is left is what a proxy is for: sockets, and the machine's network.
EXPOSURE_MAX = 1.5


@pytest.fixture
def unit(tmp_path):
    """The unit with a command that exists here: systemd looks for it."""
    text = (DEPLOY / "systemd/squall.service").read_text()
    copy = tmp_path / "squall.service"
    copy.write_text(text.replace("/usr/local/bin/squall ", "/bin/true "))
    return copy


def test_it_is_understood(tool, unit):
    # Unknown keys give a warning and exit code 0, so nothing may be said at all.
    result = run(tool("systemd-analyze"), "verify", unit)
    assert (result.returncode, result.stdout) == (0, "")


def test_a_typing_error_would_be_seen(tool, unit):
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHoem="))
    assert "ProtectHoem" in run(tool("systemd-analyze"), "verify", unit).stdout


def test_it_is_hardened(tool, unit):
    result = run(tool("systemd-analyze"), "security", "--offline=yes", "--no-pager", unit)
    exposure = re.search(r"Overall exposure level for squall.service: ([\d.]+)", result.stdout)
    assert float(exposure[1]) <= EXPOSURE_MAX
