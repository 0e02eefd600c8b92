"""The loader never crashes: whatever a file holds, an error of one line or what was saved.

`python -m tests.hardening.fuzz_loader --n 1000000` tries a hundred times as much.
"""

from __future__ import annotations

import math
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
    ("whole", "n"),
    [
        ("model", 600),
        ("state", 400),
        pytest.param("model", 8000, marks=pytest.mark.exhaustive),
        pytest.param("state", 2000, marks=pytest.mark.exhaustive),
    ],
    indirect=["whole"],
)
def test_damage_is_refused_or_harmless(whole: Good, n: int) -> None:
    """10,000 files, seed 0; `outcome` asserts. Harmless are a cut of nothing, and white space."""
    counts = fuzz(whole, n, seed=0)
    assert counts.total() == n
    # A sixth of all is damaged each way, and few of those are harmless. 6 standard errors below a
    # sixth is 0.11 at n = 2000.
    least = min(0.11, 1 / 6 - 6 * math.sqrt(1 / 6 * 5 / 6 / n))
    for way in WAYS:
        assert counts[way.__name__, "refused"] > least * n
    # Every value that was changed was found.
    assert counts["numbers_changed", "true"] == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("whole", ["model"], indirect=True)
def test_a_file_cut_anywhere_is_refused(whole: Good) -> None:
    """At each byte of the header; in the numbers, where only the length can tell, at every 64th."""
    assert truncated_everywhere(whole, every=64) > len(whole.header) + len(whole.data) // 64
