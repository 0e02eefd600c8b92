"""Data sets of labelled images: the digits, IDX files, folders, NumPy arrays, and a toy."""

from minicfg.datasets.load import load_data

__all__ = ["load_data"]
