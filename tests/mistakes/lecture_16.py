"""Mistakes in lesson 16."""

from __future__ import annotations

from tests.mistakes.mistake import PUBLIC, STUDENTS, Mistake

LECTURE_16 = [
    Mistake("step16_levels", "noise of variance step^2", STUDENTS,
            "+ step**0.5 * z", "+ step * z"),
    Mistake("step16_levels", "Langevin's drift without its half", PUBLIC,
            "x + step / 2 * s_w", "x + step * s_w"),
    Mistake("step16_levels", "w for w (1 + w)", STUDENTS,
            "w * (1 + w) / 2 * square", "w / 2 * square"),
    Mistake("step16_levels", "gamma (gamma - 1) with w put in for gamma", STUDENTS,
            "w * (1 + w) / 2 * square", "w * (w - 1) / 2 * square"),
    Mistake("step16_correctors", "a step that does not shrink with the level", PUBLIC,
            "rho * (var + tau) / (1 + w)  # (16.6)", "rho * var / (1 + w)  # (16.6)"),
    Mistake("step16_correctors", "correctors at the level before", STUDENTS,
            "delta = corrector_step(later, w, var, rho)\n        for _ in range(n):\n"
            "            x = langevin(x, later,",
            "delta = corrector_step(tau, w, var, rho)\n        for _ in range(n):\n"
            "            x = langevin(x, tau,"),
    Mistake("step16_correctors", "variances forget as slowly as means", STUDENTS,
            "end.var + left**2 *", "end.var + left *"),
    Mistake("step16_feynman_kac", "weights of the wrong sign", STUDENTS,
            "log_weights + step * added", "log_weights - step * added"),
    Mistake("step16_feynman_kac", "resampled, and the weights kept", STUDENTS,
            "np.full(len(x), mean)", "log_weights"),
    Mistake("step16_feynman_kac", "resampled, and the mean weight forgotten", PUBLIC,
            "np.full(len(x), mean)", "np.zeros(len(x))"),
    Mistake("step16_feynman_kac", "a mean of squares without its root's square", STUDENTS,
            "weights.mean() ** 2 / (weights**2)", "weights.mean() / (weights**2)"),
    Mistake("step16_feynman_kac", "the same u for all copies, not spread", STUDENTS,
            "(np.arange(n) + u) / n", "np.full(n, u)"),
    Mistake("step16_gibbs", "noise of deviation tau", STUDENTS,
            "x + tau**0.5 * z", "x + tau * z",
            by="test_16_13"),
    Mistake("step16_gibbs", "Renyi's order with its two laws swapped", STUDENTS,
            "(1 + w) * log_P - w * log_Q", "(1 + w) * log_Q - w * log_P"),
    Mistake("step16_table", "samples paired as they come, not sorted", STUDENTS,
            "F_inverse = np.quantile(x @ u, r, axis=0)\n"
            "    G_inverse = np.quantile(other @ u, r, axis=0)",
            "F_inverse = (x @ u)[(r * len(x)).astype(int)]\n"
            "    G_inverse = (other @ u)[(r * len(other)).astype(int)]"),
]  # fmt: skip
