"""Find the coefficients of `kernels/triton_normals.py` again.

Run `python -m kernels.ladder.coefficients`, which takes a few seconds.

A function T is to be replaced by a sum of powers, c_1 x^k_1 + c_2 x^k_2 + ..., on an interval. The
best coefficients are those whose largest weighted error is the smallest (the minimax polynomial):

    minimise e    subject to    -e <= weight(x) (c_1 x^k_1 + ... - T(x)) <= e    for all x

On a grid of points this is a linear program in c and e. The three functions are

    cos(pi/2 x) - 1           powers 2, 4, 6         |x| <= 1/2
    sin(pi/2 x)               powers 1, 3, 5, 7      |x| <= 1/2
    log(1 + f) - f            powers 2 to 8          |f| <= 1/3

The constant 1 of the cosine and the f of the logarithm are exact, so they are not fitted. The
first coefficient of the sine is pi/2, rounded to float32, and the others are fitted after it. The
errors of the first two count as they are. The logarithm is a part of r = sqrt(-2 log u) with u =
2^E (1 + f), and dr = -d(log u) / r, so its error is divided by r: with the smallest r that occurs
for this f.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]
POINTS = 2001
# The solver accepts violations of 1e-7, so errors near 1e-8 are multiplied by this number.
SCALE = 1e7


@dataclass(frozen=True)
class Fit:
    """A function, the powers that replace it, and the weight of an error, on a grid of points."""

    name: str
    x: Array
    target: Array
    powers: tuple[int, ...]
    weight: Array
    first: float | None = None  # the first coefficient, where it is not fitted

    def error(self, coefficients: Array) -> float:
        """The largest weighted error of these coefficients."""
        return float(np.abs(self.weight * (self.basis() @ coefficients - self.target)).max())

    def basis(self) -> Array:
        """(points, powers): x to each power."""
        return np.stack([self.x**power for power in self.powers], axis=1)


def minimax(fit: Fit) -> Array:
    """The coefficients with the smallest largest error, in float64."""
    basis = fit.basis()
    target = fit.target
    given = np.empty(0) if fit.first is None else np.array([fit.first])
    target = target - basis[:, : len(given)] @ given
    weighted = SCALE * fit.weight[:, None] * basis[:, len(given) :]
    size = np.abs(weighted).max(axis=0)  # columns of one size, for the solver
    weighted = weighted / size
    bound = SCALE * fit.weight * target
    minus_e = -np.ones((len(target), 1))
    found = linprog(
        np.append(np.zeros(weighted.shape[1]), 1.0),
        A_ub=np.block([[weighted, minus_e], [-weighted, minus_e]]),
        b_ub=np.concatenate([bound, -bound]),
        bounds=[(None, None)] * weighted.shape[1] + [(0, None)],
    )
    return np.append(given, found.x[:-1] / size)


def fits() -> tuple[Fit, Fit, Fit]:
    """The cosine, the sine and the logarithm."""
    x = np.linspace(0, 1 / 2, POINTS)  # the other half follows by symmetry
    one = np.ones(POINTS)
    f = np.linspace(-1 / 3, 1 / 3, POINTS + 1)  # an even number of points: f = 0 is not among them
    # u <= 1, so that E <= 0 if f < 0, and E <= -1 if f > 0.
    minus_log = np.where(f < 0, 0, np.log(2)) - np.log1p(f)
    r = np.sqrt(2 * minus_log)
    quarter = float(np.float32(np.pi / 2))
    return (
        Fit("cosine", x, np.cos(np.pi / 2 * x) - 1, (2, 4, 6), one),
        Fit("sine", x, np.sin(np.pi / 2 * x), (1, 3, 5, 7), one, first=quarter),
        Fit("logarithm", f, np.log1p(f) - f, (2, 3, 4, 5, 6, 7, 8), 1 / r),
    )


def main() -> None:
    """Print the coefficients, and the largest error before and after rounding them to float32."""
    for fit in fits():
        coefficients = minimax(fit)
        rounded = coefficients.astype(np.float32).astype(np.float64)
        print(
            f"{fit.name}: error {fit.error(coefficients):.2g}, in float32 {fit.error(rounded):.2g}"
        )
        for power, coefficient in zip(fit.powers, rounded, strict=True):
            print(f"    x^{power}  {coefficient:.9g}")


if __name__ == "__main__":
    main()
