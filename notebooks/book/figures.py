"""The lessons' figures and the kernel's pictures, drawn when their sources have changed."""

from __future__ import annotations

import ast
import hashlib
import importlib
import io
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from minicfg.io.atomic import write_atomic

ROOT = Path(__file__).parents[2]
LAYERS = ("tutorial", "minicfg", "kernels")
KERNEL = "kernels-"  # of the names of pictures that are not a lesson's


def imported(source: str) -> set[str]:
    """The modules of this checkout that a source imports, as `tutorial.step03_marginal`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)):
                names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            case ast.Import():
                names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in LAYERS}


def made_from(module: str) -> set[Path]:
    """The files a module needs, itself included: its imports, and theirs."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        stem = ROOT / waiting.pop().replace(".", "/")
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file() and path not in found:
                found.add(path)
                waiting += imported(path.read_text(encoding="utf-8"))
    return found


def module_of(lesson: str) -> str:
    """The module that draws a lesson, such as `appendix/d_relevance`, or a kernel's picture."""
    if lesson.startswith(KERNEL):
        return "kernels.ladder.pictures"
    return "tutorial.figures." + lesson.replace("/", ".")


def fingerprint(lesson: str) -> str:
    """A name for the figure as it is now: it changes with any file that it is made from."""
    digest = hashlib.sha256()
    for path in sorted(made_from(module_of(lesson))):
        digest.update(path.read_bytes())
    return f"{lesson.rpartition('/')[2]}-{digest.hexdigest()[:16]}.png"


def draw(lesson: str, path: str) -> str:
    """Draw one lesson's figure, or a picture of the kernel's lecture, into `path`."""
    drawn = io.BytesIO()
    module = importlib.import_module(module_of(lesson))
    if lesson.startswith(KERNEL):
        figure = module.PICTURES[lesson.removeprefix(KERNEL)]()
    else:
        figure = module.figure()
    figure.savefig(drawn, dpi=130, format="png")
    write_atomic(path, drawn.getvalue())
    return lesson


def draw_all(lessons: list[str], cache: Path, out: Path) -> None:
    """Bring `out` the figure of each lesson, from `cache` where it is there."""
    cache.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    files = {lesson: cache / fingerprint(lesson) for lesson in lessons}
    missing = {lesson: path for lesson, path in files.items() if not path.exists()}
    if missing:
        print(f"drawing {len(missing)} figures: some minutes; kept in {cache}", flush=True)
    # Step 22 has its kernel interpreted, and the pictures of the kernel compile theirs. Triton
    # decides once per process, so the two kinds are drawn by different processes.
    of_kernel = [lesson for lesson in missing if lesson.startswith(KERNEL)]
    of_lessons = [lesson for lesson in missing if lesson not in of_kernel]
    for names in (of_kernel, of_lessons):
        with ProcessPoolExecutor(max_workers=2) as pool:
            for _ in pool.map(draw, names, [str(missing[name]) for name in names]):
                pass
    for lesson, path in files.items():
        shutil.copyfile(path, out / f"{lesson.rpartition('/')[2]}.png")
