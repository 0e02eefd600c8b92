"""Write `hashes.txt`: every pin of constraints.txt with the SHA-256 of the file that it installs.

    .venv/bin/python -m tests.supply.hashes

`make locked` installs from it. `parts.cdx.json` says the same as a CycloneDX list of parts. A hash
is of one file, so the list is of one platform: the one that this was run on, which its first line
names. torch's is that of the build without CUDA.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HASHES = Path(__file__).parent / "hashes.txt"
PARTS = Path(__file__).parent / "parts.cdx.json"


def installed() -> list[tuple[str, str, str]]:
    """Ask pip what it would install: name, version and SHA-256 of each, by name."""
    ask = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    ask += ["--quiet", "--report", "-", "--requirement", str(ROOT / "constraints.txt")]
    told = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    found = [
        (
            part["metadata"]["name"],
            part["metadata"]["version"],
            part["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for part in json.loads(told)["install"]
    ]
    return sorted(found, key=lambda part: part[0].lower())


def main() -> None:
    """Write both lists."""
    parts = installed()
    lines = [f"# {platform.system()} {platform.machine()}, Python {sys.version.split()[0]}"]
    lines += [f"{name}=={version} --hash=sha256:{sha256}" for name, version, sha256 in parts]
    HASHES.write_text("\n".join(lines) + "\n")
    components = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{version.split('+')[0]}",
            "hashes": [{"alg": "SHA-256", "content": sha256}],
        }
        for name, version, sha256 in parts
    ]
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    PARTS.write_text(json.dumps(bom, indent=1) + "\n")
    print(f"{len(parts)} parts: {HASHES.name}, {PARTS.name}")


if __name__ == "__main__":
    main()
