"""Data sets of labelled images: the digits, IDX files, folders, NumPy arrays, and a toy."""

from minicfg.datasets.load import load_data, load_held_out

__all__ = ["load_data", "load_held_out"]
