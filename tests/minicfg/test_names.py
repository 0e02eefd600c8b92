"""Import names: light to import, public names all there, and no confusion over `kernels`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minicfg

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there() -> None:
    for name in minicfg.__all__:
        assert getattr(minicfg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'scale'"):
        minicfg.scale  # noqa: B018  # pyright: ignore


def test_dir_lists_the_public_names_before_they_are_loaded() -> None:
    program = "import sys, minicfg; print(dir(minicfg), 'torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    public = (
        "Checkpoint Dataset Schedule TrainConfig UNet __version__ distill distill_steps evaluate "
        "guide load load_data sample sample_steps save solvers train train_steps"
    )
    assert ran.stdout.strip() == f"{public.split()} False", ran.stderr
    assert set(minicfg.__all__) == set(public.split()) - {"__version__"}


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert minicfg.__version__ == project["version"]


def test_import_takes_nothing_heavy_with_it() -> None:
    program = "import sys, minicfg; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout.strip() == "[]", ran.stderr


SENTENCE = (
    "{user} imports {package}, which is not installed: in the checkout, run make, or "
    "pip install -c constraints.txt -e '.[torch]'"
)


NEEDS_TORCH = [name for name in minicfg.__all__ if name != "TrainConfig"]


@pytest.mark.parametrize("name", NEEDS_TORCH)
def test_without_torch_the_first_use_of_a_name_says_what_to_install(name: str) -> None:
    program = f"import sys; sys.modules['torch'] = None; import minicfg; minicfg.{name}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    said = ran.stderr.splitlines()[-1]
    expected = SENTENCE.format(user=f"minicfg.{name}", package="torch")
    assert said == f"ModuleNotFoundError: {expected}"


def test_without_torch_a_configuration_is_made_and_checked() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; import minicfg; minicfg.TrainConfig(steps=-1)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert "UsageError: steps = -1" in ran.stderr


def test_without_the_extra_the_command_says_what_to_install_in_one_line() -> None:
    program = (
        "import sys; sys.modules['tyro'] = None; from minicfg.__main__ import main; "
        "sys.argv = ['minicfg', 'demo']; main()"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 4
    expected = SENTENCE.format(user="the command line", package="tyro")
    assert ran.stderr == f"minicfg: {expected}\n"


def test_somebody_elses_kernels_is_named_and_not_used(tmp_path: Path) -> None:
    """A package of that name that comes first on the path, as an installed one may."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("")
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import minicfg"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 1
    assert f"finds {tmp_path / 'kernels' / '__init__.py'}" in ran.stderr
    assert "run 'make'" in ran.stderr


def test_a_wheel_is_refused_with_a_sentence() -> None:
    pytest.importorskip("setuptools", reason="without setuptools nothing here could build a wheel")
    from setuptools import Distribution

    from minicfg.editable_only import RefuseWheel

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["cmdclass"] == {"bdist_wheel": "minicfg.editable_only.RefuseWheel"}
    with pytest.raises(SystemExit, match=r"editable: run 'make'.*'kernels' and 'tutorial'"):
        RefuseWheel(Distribution()).run()
