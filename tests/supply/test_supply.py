"""What is installed is pinned, hashed and listed; what runs in CI is named by its hash."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Name and version of every line; a local build's label, `+cpu`, is no part of the version."""
    found = re.findall(r"^([\w.-]+)==([^\s;+]+)", path.read_text(encoding="utf-8"), re.M)
    return {canonical(name): version for name, version in found}


def test_every_pin_has_a_hash_and_every_hash_a_pin():
    assert pins(ROOT / "constraints.txt") == pins(HERE / "hashes.txt")
    lines = (HERE / "hashes.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# Linux x86_64, Python 3.11")
    for line in lines[1:]:
        assert re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line), line


def test_the_list_of_parts_names_them_all():
    parts = json.loads((HERE / "parts.cdx.json").read_text(encoding="utf-8"))
    assert parts["bomFormat"] == "CycloneDX"
    listed = {
        canonical(part["name"]): part["version"].split("+")[0] for part in parts["components"]
    }
    assert listed == pins(ROOT / "constraints.txt")


def test_ci_runs_what_is_named_by_hash_and_may_only_read():
    """The one job that may write is the book's: it publishes pages, and runs no code of ours."""
    writing = []
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"uses: (\S+)", text)
        assert used
        for action in used:
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
        assert re.findall(r"^permissions:\n((?:  .+\n)+)", text, re.M) == ["  contents: read\n"]
        assert "secrets" not in text
        for job in re.split(r"^  (?=\w+:$)", text.partition("\njobs:\n")[2], flags=re.M):
            if "permissions:" in job:
                writing.append(path.name)
                assert re.findall(r"(\S+): write", job) == ["pages", "id-token"]
                assert re.findall(r"uses: ([\w/-]+)", job) == ["actions/deploy-pages"]
                assert "run:" not in job
    assert writing == ["book.yml"]


# What a key looks like: an own prefix and many characters, or a block that says so.
SECRET = re.compile(
    r"(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{36}|hf_\w{30}|sk-[\w-]{32}|xox[bp]-[\w-]{20}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY)"
)


def test_no_secret_is_in_the_tree():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of files to look through")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and path.name != "test_supply.py":
            assert not SECRET.search(path.read_text(encoding="utf-8", errors="replace")), name


def test_a_secret_would_be_seen():
    assert SECRET.search("token = 'ghp_" + 36 * "a" + "'")
    assert SECRET.search("-----BEGIN RSA " + "PRIVATE KEY-----")
