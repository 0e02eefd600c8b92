"""Data sets of labelled images: digits, glyphs, IDX files, folders, arrays, torch data, a toy.

`glyphs` are letters whose every factor is known (`minicfg.datasets.glyphs`).
"""

from minicfg.datasets.load import data_folder, describe, load_data, load_held_out
from minicfg.datasets.torch_data import from_torch

__all__ = ["data_folder", "describe", "from_torch", "load_data", "load_held_out"]
