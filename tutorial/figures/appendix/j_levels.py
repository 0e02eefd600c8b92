"""The term that has to be added to the density, over height and over the noise level."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.j_levels import added, langevin, log_level, of_gaussians, of_mixture
from tutorial.figures.program import BLUE, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian


def checks() -> list[Check]:
    """How the tilt of a level changes, by finite differences; what a short wait does to samples."""
    three = three_gaussians()
    w = 3.0
    tau = 0.7
    h = 1e-3
    point = np.array([[0.3, -0.2]])

    def q(tau: float, right: float, up: float) -> float:
        """The density of the level at the point, moved to the right and up."""
        x = point + np.array([[right, up]])
        return float(np.exp(log_level(x, tau, 0, w, three))[0])

    changes = (q(tau + h, 0, 0) - q(tau - h, 0, 0)) / (2 * h)
    around = q(tau, h, 0) + q(tau, -h, 0) + q(tau, 0, h) + q(tau, 0, -h) - 4 * q(tau, 0, 0)
    spread = around / (2 * h**2)
    rate = float(added(of_mixture(three, 0)(point, tau), w)[0])
    lost = rate * q(tau, 0, 0)
    law = Gaussian(np.array([0.6, -0.4]), 0.8)
    n = 100_000
    # With w = 0 the tilt is the class. 10 steps of 0.02 widen it by 0.3%.
    x = law.mean + law.var**0.5 * np.random.default_rng(0).standard_normal((n, 2))
    rng = np.random.default_rng(1)
    for _ in range(10):
        x = langevin(x, 0.0, 0.0, 0.02, of_gaussians(law, 1.0), rng)
    return [
        # The differences are off by h^2 times derivatives of the order of q.
        Check("(J.2) change with tau", changes, spread - lost, 1e-5),
        Check("(J.1) variance after a wait", x.var(0).mean(), law.var, 0.003 + 5 * 0.8 / n**0.5),
    ]


def figure() -> Figure:
    """What is added along the axis of the top class, at four levels; over levels, at its mean."""
    fig = Figure(figsize=(9, 3.4), layout="constrained")
    along, over = fig.subplots(1, 2)
    height = np.linspace(-1.5, 3.5, 300)
    scores = of_mixture(three_gaussians(), 0)
    x = np.stack([0 * height, height], 1)
    for tau, color in ((0.1, "0.7"), (0.3, "0.5"), (1.0, "0.3"), (3.0, "0")):
        along.plot(height, added(scores(x, tau), 3.0), color=color, label=rf"$\tau$ = {tau:g}")
    along.set(yscale="log", ylim=(1e-3, 200), xlabel="height (the class is at 1.5)")
    along.set_title(r"Added at each point, per unit of $-\tau$, w = 3")
    taus = np.geomspace(1e-2, 1e3, 200)
    for at, color in ((1.5, BLUE), (0.5, ORANGE)):
        rate = [tau * added(scores(np.array([[0, at]]), float(tau)), 3.0)[0] for tau in taus]
        over.semilogx(taus, rate, color=color, label=f"at height {at:g}")
    over.set(xlabel=r"$\tau$", title=r"Added per unit of $-\log \tau$")
    for ax in (along, over):
        ax.legend(fontsize=8)
    return fig
