"""The generated parts of tests/README.md: whatever stands between two markers."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "tests" / "README.md"


def part(begin, end):
    """What the README has between the markers."""
    return README.read_text().partition(begin)[2].partition(end)[0].strip()


def replace(begin, end, text):
    """Puts new text between the markers."""
    before, found_begin, rest = README.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        sys.exit(f"{README} has no {begin} … {end}")
    README.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
