"""The checks of features and of other arrays that the metrics share."""

from __future__ import annotations

import numpy as np

from minicfg.errors import UsageError, check_type


def check_array(name: str, array: object) -> None:
    """Refuse what is not a NumPy array of real numbers."""
    check_type(name, array, np.ndarray, "pass a NumPy array; of a tensor, x.cpu().numpy()")
    assert isinstance(array, np.ndarray)
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} has dtype {array.dtype}: pass an array of numbers")


def check_two_samples(**features: object) -> None:
    """Refuse two samples of features that cannot be compared.

    Args:
        features: the two samples by the names of their arguments, each of shape (n, d).

    Raises:
        UsageError: if one is not an array of finite real numbers, or their d differ or are 0.
    """
    for name, sample in features.items():
        check_array(name, sample)
    (a_name, a), (b_name, b) = features.items()
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or a.shape[1] == 0:
        raise UsageError(
            f"{a_name} has shape {a.shape} and {b_name} {b.shape}: pass (n, d) and (m, d), with "
            "one row per image and the same d of 1 or more"
        )
    for name, sample in ((a_name, a), (b_name, b)):
        if not np.isfinite(sample).all():
            raise UsageError(
                f"{name} has {len(sample)} rows, not all finite: "
                "remove the rows with NaN or infinity"
            )
