"""Nobody waits for the command line: what is imported, and the processor time that it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Processor time of a process from its start, which a busy machine does not stretch as it does the
# clock; the least of five, because whatever else happens only adds to it.
PROGRAM = """
import sys, time
began = time.process_time()
{}
spent = time.process_time() - began
print('TOOK', spent, 'torch' in sys.modules)
"""
HELP = """
sys.argv = ['minicfg', '--help']
from minicfg.cli.main import main
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "seconds"), [("import minicfg", 0.2), (HELP, 0.5)], ids=["import", "help"]
)
def test_by_stopwatch_the_package_and_its_help_are_there_at_once(
    program: str, seconds: float
) -> None:
    """Stopwatch. Measured: 0.006 s and 0.27 s of processor time."""
    spent = []
    for _ in range(5):
        command = [sys.executable, "-c", PROGRAM.format(program)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        said, _, torch = ran.stdout.rpartition("TOOK ")[2].partition(" ")
        spent.append(float(said))
        assert torch.strip() == "False"
    assert min(spent) < seconds
