"""Write `hashes.txt`: every pin of constraints.txt with the SHA-256 of the file that it installs.

    .venv/bin/python -m tests.supply.hashes

`make locked` installs from it. `parts.cdx.json` is the same list in CycloneDX's format. A hash
belongs to one file, so the list is valid for one platform: the one that this program was run on,
which the first line names. The hash of torch is that of its build without CUDA.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
HASHES = Path(__file__).parent / "hashes.txt"
PARTS = Path(__file__).parent / "parts.cdx.json"


def pinned_files() -> list[tuple[str, str, str]]:
    """Name, version and SHA-256 of each file that pip would install, sorted by name."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    command += ["--no-deps", "--quiet", "--report", "-"]
    command += ["--requirement", str(ROOT / "constraints.txt")]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    files = [
        (
            part["metadata"]["name"],
            part["metadata"]["version"],
            part["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for part in json.loads(report)["install"]
    ]
    return sorted(files, key=lambda part: part[0].lower())


def main() -> None:
    """Write both lists."""
    parts = pinned_files()
    lines = [f"# {platform.system()} {platform.machine()}, Python {sys.version.split()[0]}"]
    lines += [f"{name}=={version} --hash=sha256:{sha256}" for name, version, sha256 in parts]
    HASHES.write_text("\n".join(lines) + "\n")
    components = [
        {
            "type": "library",
            "name": name,
            "version": version,
            # A build of its own, such as 2.13.0+cpu, is another file than the plain version.
            "purl": f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{quote(version)}",
            "hashes": [{"alg": "SHA-256", "content": sha256}],
        }
        for name, version, sha256 in parts
    ]
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    PARTS.write_text(json.dumps(bom, indent=1) + "\n")
    print(f"{len(parts)} parts: {HASHES.name}, {PARTS.name}")


if __name__ == "__main__":
    main()
