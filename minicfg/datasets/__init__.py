"""Data sets of labelled images: the digits, IDX files, folders, NumPy arrays, and a toy."""

from minicfg.datasets.load import data_folder, describe, load_data, load_held_out

__all__ = ["data_folder", "describe", "load_data", "load_held_out"]
