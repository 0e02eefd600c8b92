"""The rules of imports: between layers, and inside `minicfg` from the ground floor to the wings.

Imports inside functions and under `if TYPE_CHECKING` count like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("tutorial", "minicfg", "kernels")
# A module of minicfg imports only what stands before it here, so there are no circles either.
ORDER = (
    *("errors", "threads", "distributed", "editable_only", "config", "conditions"),
    *("schedule", "guidance", "solvers", "sampling", "unet", "data"),
    *("training", "distillation", "editing", "adapters"),
    *("datasets", "metrics", "io", "viz", "bench", "cli"),
)
NEVER_IMPORTED = {"bench", "cli"}
STARTS_THE_BENCH = "minicfg/cli/main.py"  # the command `minicfg bench`


def imported(source: str) -> Iterator[str]:
    """The first two parts of every imported name: `minicfg.io` of `from minicfg.io.atomic`."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            names = [f"{start}.{alias.name}" for alias in node.names]
        yield from (".".join(name.split(".")[:2]) for name in names)


def faults(file: str, source: str) -> list[str]:
    """Imports of the wrong layer, and inside `minicfg` of what stands later or nowhere in ORDER."""
    layer, *inside = file.removesuffix(".py").split("/")
    allowed = {layer, "kernels"} if layer == "minicfg" else {layer}
    if file.startswith("minicfg/bench/"):
        allowed = {"minicfg", "kernels", "tutorial"}  # it times the tutorial's exact denoiser
    if inside[-1].endswith("_swap_in"):
        allowed = set(LAYERS)  # the one lesson in which all three layers meet
    found: list[str] = []
    for name in sorted(set(imported(source))):
        other, _, module = name.partition(".")
        if other == "":
            found.append(f"{file}: a relative import; name the module in full")
        elif other in LAYERS and other not in allowed:
            found.append(f"{file}: {layer} imports {other}")
        elif layer == other == "minicfg" and inside[0] not in ("__init__", "__main__"):
            found += order_faults(file, inside[0], module)
    return found


def order_faults(file: str, importer: str, module: str) -> list[str]:
    """One import inside `minicfg`."""
    if module == importer:
        return []
    if importer not in ORDER or module not in ORDER:
        return [f"{file}: {importer} imports {module or 'minicfg'}: one of them is not in ORDER"]
    if module in NEVER_IMPORTED and file != STARTS_THE_BENCH:
        return [f"{file}: nothing imports {module}"]
    if ORDER.index(module) > ORDER.index(importer):
        return [f"{file}: {importer} imports {module}, which stands after it"]
    return []


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_keep_the_layers(layer: str) -> None:
    files = sorted((ROOT / layer).rglob("*.py"))
    assert len(files) >= 10
    found = [
        fault for path in files for fault in faults(str(path.relative_to(ROOT)), path.read_text())
    ]
    assert not found, "\n" + "\n".join(found)


PLANTED = {
    "the ground floor imports a wing": ("minicfg/unet.py", "from minicfg.io.atomic import x"),
    "a later module": ("minicfg/solvers.py", "from minicfg.sampling import sample"),
    "a later module, from the package": ("minicfg/solvers.py", "from minicfg import sampling"),
    "a later module, by import": ("minicfg/solvers.py", "import minicfg.sampling as s"),
    "a circle": ("minicfg/config.py", "from minicfg.training import TrainState"),
    "errors imports the lecture": ("minicfg/errors.py", "import minicfg.schedule"),
    "a wing imports a later wing": ("minicfg/metrics/frechet.py", "from minicfg.viz import plots"),
    "the commands are imported": ("minicfg/viz/page.py", "from minicfg.cli.train import draw"),
    "the bench is imported": ("minicfg/cli/train.py", "import minicfg.bench.measure"),
    "the package as a whole": ("minicfg/training.py", "import minicfg"),
    "a public name": ("minicfg/training.py", "from minicfg import evaluate"),
    "a module of no place": ("minicfg/other.py", "from minicfg import errors"),
    "in a function": ("minicfg/data.py", "def f():\n    from minicfg.viz import plots"),
    "for types": ("minicfg/data.py", "if TYPE_CHECKING:\n    from minicfg.training import A"),
    "a relative import": ("minicfg/data.py", "from .unet import UNet"),
    "minicfg imports the tutorial": ("minicfg/data.py", "import tutorial.step01_toy_data"),
    "kernels imports minicfg": ("kernels/bench/run.py", "from minicfg.bench import sampler"),
    "kernels imports the tutorial": ("kernels/philox.py", "import tutorial"),
    "the tutorial imports minicfg": ("tutorial/step02_forward.py", "from minicfg import guide"),
    "the tutorial imports kernels": ("tutorial/figures/step02.py", "import kernels.philox"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "source"), PLANTED.values(), ids=PLANTED)
def test_a_planted_import_is_found(file: str, source: str) -> None:
    assert len(faults(file, source)) == 1


def test_what_is_allowed_has_no_faults() -> None:
    for file, source in (
        ("minicfg/__main__.py", "from minicfg.cli.main import main"),
        ("minicfg/cli/main.py", "def f():\n    from minicfg.bench.peers import bench_peers"),
        ("minicfg/cli/train.py", "from minicfg.viz import plots\nfrom minicfg import solvers"),
        ("minicfg/bench/costs.py", "from tutorial import step05_best_guess\nimport numpy, kernels"),
        ("tutorial/step22_swap_in.py", "import minicfg, kernels.philox, torch"),
    ):
        assert faults(file, source) == [], file
