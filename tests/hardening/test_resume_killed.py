"""A run that is killed outright and goes on is the run that never stopped, bit for bit.

`python -m tests.hardening.kill_resume --n 50` tries more of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hardening.kill_resume import CONFIG, IMAGES, SAVING

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a run is killed by forking it first")
def test_12_runs_that_were_killed_end_as_the_one_that_was_not() -> None:
    """The script asserts that weights, average, moments, scaler, loss and log are the same bytes.

    Half of them in float32, half in float16 with a scaler; all with dropout.
    """
    command = [sys.executable, "-m", "tests.hardening.kill_resume", "--n", "12"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    killed = json.loads(done.stdout)["killed"]
    assert len(killed) == 12
    # Not all at one place, and some in the middle of an epoch and between two saved states.
    after = {step for steps in killed for step in steps}
    assert len(after) > 3
    epoch = IMAGES // CONFIG.batch
    assert any(step % epoch and step % SAVING.save_every for step in after)
