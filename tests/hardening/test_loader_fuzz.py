"""The loader never crashes: whatever a file holds, an error of one line or what was saved.

`python -m tests.hardening.fuzz_loader --n 1000000` tries a hundred times as much.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hardening.fuzz_loader import WAYS, Good, fuzz, good, in_memory, truncated_everywhere


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> Iterator[Good]:
    with in_memory() as folder:
        yield good(folder, request.param)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("whole", "n"), [("model", 8000), ("state", 2000)], indirect=["whole"], ids=["model", "state"]
)
def test_damage_is_refused_or_harmless(whole: Good, n: int) -> None:
    """10,000 files, seed 0; `outcome` asserts. Harmless are a cut of nothing, and white space."""
    counts = fuzz(whole, n, seed=0)
    assert counts.total() == n
    for way in WAYS:
        # A sixth of all copies is damaged this way, 0.167. For n = 2000 this bound lies 6 standard
        # errors below, and leaves room for the harmless ones.
        assert counts[way.__name__, "refused"] > 0.11 * n
    # Every value that was changed was found.
    assert counts["numbers_changed", "true"] == 0


@pytest.mark.parametrize("whole", ["model"], indirect=True)
def test_a_file_cut_anywhere_is_refused(whole: Good) -> None:
    """At each byte of the header; in the numbers, where only the length can tell, at every 64th."""
    assert truncated_everywhere(whole, every=64) > len(whole.header) + len(whole.data) // 64
