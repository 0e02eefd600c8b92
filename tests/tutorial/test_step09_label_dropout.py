"""Step 9, part 2: given coins, all coins, counted means, a general minimiser, and binomial laws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binom, chisquare

from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step07_oracle import oracle_eps
from tutorial.step09_label_dropout import (
    drop_labels,
    dropped_var,
    joint_fit,
    joint_loss,
    one_copy_each,
)

SCHEDULE = Schedule.linear(20)
K = 3
N = 100_000
ALGEBRA = 1e-12  # float64, sums of some dozen terms of order one
# Full covariances, unequal shares: no symmetry that could hide a swap.
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
SHARES = [1e-3, 0.1, 0.5, 0.9, 1 - 1e-3]  # of labels dropped


class Given(np.random.Generator):
    """Coins that are given."""

    def __init__(self, coins: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self.coins = np.array(coins)

    def random(self, size: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert size == len(self.coins)
        return self.coins


@pytest.fixture(scope="module")
def chains() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Label, `x_8` and its noise of 100,000 chains (seed 10); the oracle with and without label."""
    rng = np.random.default_rng(10)
    y = rng.choice(K, size=N, p=MIXTURE.weights)
    roots = np.linalg.cholesky(MIXTURE.covs)
    x0 = MIXTURE.means[y] + np.einsum("nij,nj->ni", roots[y], rng.standard_normal((N, 2)))
    x = x0
    abar = np.prod(1 - SCHEDULE.beta[1:9])
    for s in range(1, 9):
        x = np.sqrt(SCHEDULE.alpha[s]) * x + np.sqrt(SCHEDULE.beta[s]) * rng.standard_normal((N, 2))
    eps = (x - np.sqrt(abar) * x0) / np.sqrt(1 - abar)
    model = oracle_eps(MIXTURE, SCHEDULE)
    return y, x, eps, model(x, 8, y), model(x, 8, np.full(N, K))


def assert_mean_is_zero(values: np.ndarray) -> None:
    """Within 5 standard errors: a false alarm in 1 of 1.7 million, each."""
    error = values.std(0) / np.sqrt(len(values))
    assert (np.abs(values.mean(0)) < 5 * error).all(), values.mean(0) / error


def test_9_5_by_given_coins() -> None:
    """A label goes where its coin, in [0, 1), is below p: never at p = 0, always at p = 1."""
    y = np.array([2, 0, 1, 1, 0])
    last = 1 - 2**-53
    coins = [0.0, 0.3, 0.29, last, 0.31]
    for p, expected in ((0.3, [7, 0, 7, 1, 0]), (0.0, [2, 0, 1, 1, 0]), (1.0, [7] * 5)):
        np.testing.assert_array_equal(drop_labels(y, p, 7, Given(coins)), expected)


def test_9_5_by_what_is_kept() -> None:
    """A label either stays or becomes the null label; the labels given stay what they were."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    before = y.copy()
    seen = drop_labels(y, 0.5, 3, rng)
    assert set(seen) == {0, 1, 2, 3} and seen.dtype == y.dtype
    np.testing.assert_array_equal(seen[seen != 3], y[seen != 3])
    np.testing.assert_array_equal(y, before)
    assert drop_labels(y[:0], 0.5, 3, rng).shape == (0,)


def test_9_5_by_independence_of_everything(chains: tuple[np.ndarray, ...]) -> None:
    """The share dropped is p whatever the class, the noise, the place, or the neighbour's coin."""
    y, x, eps = chains[:3]
    gone = (drop_labels(y, 0.2, K, np.random.default_rng(1)) == K) - 0.2
    assert abs(gone.mean()) < 5 * np.sqrt(0.2 * 0.8 / N)
    for g in (y == 0, y == 2, np.arange(N) > N / 2, x[:, 0], eps[:, 1], np.sign(eps[:, 0])):
        assert_mean_is_zero(gone * g)
    for apart in (1, 2, 7):
        assert_mean_is_zero(gone[apart:] * gone[:-apart])


def test_9_6_by_all_coins() -> None:
    """Six samples, all 64 ways their coins can fall, each at its probability: no simulation."""
    rng = np.random.default_rng(2)
    n = 6
    p = 0.3
    eps, f_y, f_null = rng.standard_normal((3, n, 2))
    found = joint_loss(eps, f_y, f_null, p)
    total = np.zeros(n)
    for coins in product((False, True), repeat=n):
        gone = np.array(coins)
        shown = np.where(gone[:, None], f_null, f_y)
        total += p ** gone.sum() * (1 - p) ** (n - gone.sum()) * ((eps - shown) ** 2).sum(1)
    np.testing.assert_allclose(found, total, atol=ALGEBRA)
    assert found.std() > 0.1


@pytest.mark.parametrize("p", [0.05, 0.3, 0.8])
def test_9_6_by_drawn_labels(p: float, chains: tuple[np.ndarray, ...]) -> None:
    """The loss of the labels that training shows, with coins tossed, for any f: here not f*."""
    y, x, eps = chains[:3]
    embedding = np.array([[0.5, 0.0], [-0.5, 0.2], [0.1, 0.7], [-0.3, -0.4]])
    shown = drop_labels(y, p, K, np.random.default_rng(3))
    drawn = ((eps - 0.4 * x - embedding[shown]) ** 2).sum(1)
    both = joint_loss(eps, 0.4 * x + embedding[y], 0.4 * x + embedding[K], p)
    assert_mean_is_zero(drawn - both)
    swapped = joint_loss(eps, 0.4 * x + embedding[K], 0.4 * x + embedding[y], p)
    error = (drawn - swapped).std() / np.sqrt(N)
    assert abs((drawn - swapped).mean()) > 8 * error  # it could have failed


def test_9_6_by_ends() -> None:
    """At p = 0 the loss knows nothing of the null output, at p = 1 nothing of the other."""
    eps, f, g, other = np.random.default_rng(4).standard_normal((4, 9, 2))
    for p, pairs in ((0.0, ((f, g), (f, other))), (1.0, ((g, f), (other, f)))):
        for f_y, f_null in pairs:
            expected = ((eps - f) ** 2).sum(1)
            np.testing.assert_allclose(joint_loss(eps, f_y, f_null, p), expected, atol=ALGEBRA)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_9_7_by_perturbation(p: float, chains: tuple[np.ndarray, ...]) -> None:
    """Every change of the pair costs its mean square in its own label's weight; both signs do."""
    _, x, eps, best_y, best_null = chains
    least = joint_loss(eps, best_y, best_null, p)
    zero = np.zeros_like(x)
    bend = 0.1 * np.sin(3 * x)
    shift = np.full_like(x, 0.1)
    for in_y, in_null in ((bend, zero), (zero, bend), (bend, shift), (0.1 * x[:, ::-1], -shift)):
        for sign in (1, -1):
            more = joint_loss(eps, best_y + sign * in_y, best_null + sign * in_null, p) - least
            cost = (1 - p) * (in_y**2).sum(1) + p * (in_null**2).sum(1)
            assert_mean_is_zero(more - cost)


def population() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cell of four, a class of three and a noise for each of about a hundred samples."""
    rng = np.random.default_rng(5)
    counts = rng.integers(3, 15, (4, K))
    cell, y = np.indices((4, K)).reshape(2, -1).repeat(counts.ravel(), axis=1)
    return cell, y, rng.standard_normal((len(y), 2)) + cell[:, None] * y[:, None]


def counted(cell: np.ndarray, y: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """The mean noise of each (label, cell), and below them that of each cell: (K + 1, 4, 2)."""
    rows = [[eps[(cell == c) & (y == k)].mean(0) for c in range(4)] for k in range(K)]
    return np.array([*rows, [eps[cell == c].mean(0) for c in range(4)]])


def fit_of_cells(
    cell: np.ndarray, y: np.ndarray, eps: np.ndarray, p: float, null: int = K
) -> np.ndarray:
    """A number for each (label, cell), fitted: what a network of boundless freedom could learn."""
    pair = (one_copy_each(np.eye(4)[cell], label, max(K, null)) for label in (y, 0 * y + null))
    return joint_fit(*pair, eps, p).reshape(-1, 4, 2)


@pytest.mark.parametrize("p", SHARES)
def test_9_7_by_counted_means(p: float) -> None:
    """Where `x_t` has four values the conditional means are counted: the fit is they, any p."""
    cell, y, eps = population()
    found = fit_of_cells(cell, y, eps, p)
    np.testing.assert_allclose(found, counted(cell, y, eps), atol=ALGEBRA)


@pytest.mark.parametrize("p", SHARES[1:4])
def test_9_7_by_tossed_coins(p: float) -> None:
    """Training's own way: drop labels of endless data, then the mean noise at each label shown.

    That is the least loss of a table. 60,000 draws (seed 6), within 5 standard errors.
    """
    cell, y, eps = population()
    rng = np.random.default_rng(6)
    pick = rng.integers(len(y), size=60_000)
    shown = drop_labels(y[pick], p, K, rng)
    table = fit_of_cells(cell, y, eps, p)
    for k, c in product(range(K + 1), range(4)):
        assert_mean_is_zero(eps[pick][(shown == k) & (cell[pick] == c)] - table[k, c])


@pytest.mark.parametrize("p", SHARES[1:4])
def test_9_7_by_a_general_minimiser(p: float) -> None:
    """SciPy walks down the mean of `joint_loss`, of a network that cannot be right at both labels.

    There, and only there, the share matters: the pair of weights at p is not that at p / 2.
    """
    rng = np.random.default_rng(7)
    with_y = rng.random((40, 4))
    without = rng.random((40, 4))
    eps = rng.random((40, 1))

    def loss(W: np.ndarray) -> float:
        return float(joint_loss(eps, with_y @ W[:, None], without @ W[:, None], p).mean())

    found = joint_fit(with_y, without, eps, p)[:, 0]
    walked = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7})
    # The walk's gradient is a difference of losses, good to 1e-8, over curvatures of .05 and more.
    np.testing.assert_allclose(found, walked.x, atol=2e-6)
    for _ in range(20):
        assert loss(found + 0.1 * rng.standard_normal(4)) > loss(found)
    assert np.abs(joint_fit(with_y, without, eps, p / 2)[:, 0] - found).max() > 1e-3


@pytest.mark.parametrize("p", SHARES[1:4])
def test_9_7_by_oracle_among_features(p: float, chains: tuple[np.ndarray, ...]) -> None:
    """Offered x_t, a bend and the null answer, each label finds its own conditional mean.

    F numbers for each of 2 outputs cost 2 F times a variance, of at most 1, over the samples seen.
    Of that mean the bound is four times. (In a class the oracle is affine in x_t.)
    """
    y, x, eps, _, best_null = (a[:20_000] for a in chains)
    features = np.hstack([best_null, np.ones_like(x[:, :1]), x, np.sin(2 * x)])
    pair = [one_copy_each(features, label, K) for label in (y, 0 * y + K)]
    W = joint_fit(*pair, eps, p)
    model = oracle_eps(MIXTURE, SCHEDULE)
    for k in range(K + 1):
        seen = y == k if k < K else y < K
        off = one_copy_each(features, 0 * y + k, K) @ W - model(x, 8, 0 * y + k)
        assert (off[seen] ** 2).sum(1).mean() < 4 * 2 * features.shape[1] / seen.sum()
    apart = one_copy_each(features, 0 * y, K) @ W - best_null
    assert (apart**2).sum(1).mean() > 0.1  # the bounds above are below 0.02


@pytest.mark.parametrize(("p", "silent"), [(0.0, [K]), (1.0, [0, 1, 2])])
def test_9_7_by_labels_that_nothing_is_said_of(p: float, silent: list[int]) -> None:
    """At p = 0 the null label's numbers are left at 0, at p = 1 all others; the rest is right."""
    cell, y, eps = population()
    table = fit_of_cells(cell, y, eps, p)
    means = counted(cell, y, eps)
    for k in range(K + 1):
        expected = 0 * means[k] if k in silent else means[k]
        np.testing.assert_allclose(table[k], expected, atol=ALGEBRA)


@pytest.mark.parametrize("p", SHARES)
def test_9_7_by_a_single_class(p: float) -> None:
    """Then both labels stand for the same images."""
    cell, y, eps = population()
    table = fit_of_cells(cell, 0 * y, eps, p, null=1)
    np.testing.assert_allclose(table[0], table[1], atol=ALGEBRA)
    np.testing.assert_allclose(table[0], counted(cell, y, eps)[K], atol=ALGEBRA)


def test_9_7_by_a_number_shared_with_a_class() -> None:
    """If the null label is class 0's number one output serves two means: p decides whose.

    A cell's number is the mean of both, weighed by how many samples ask for each. The more of
    them are asked without label, the nearer to all images and the farther from the class.
    """
    cell, y, eps = population()
    means = counted(cell, y, eps)
    counts = np.array([(cell == c).sum() for c in range(4)])
    of_class = np.array([((cell == c) & (y == 0)).sum() for c in range(4)])
    paths = []
    for p in SHARES:
        shared = fit_of_cells(cell, y, eps, p, null=0)
        a = ((1 - p) * of_class)[:, None]
        b = (p * counts)[:, None]
        np.testing.assert_allclose(shared[0], (a * means[0] + b * means[K]) / (a + b), atol=ALGEBRA)
        np.testing.assert_allclose(shared[1], means[1], atol=ALGEBRA)
        paths.append([((shared[0] - means[k]) ** 2).sum() for k in (0, K)])
    from_class, from_null = np.array(paths).T
    assert (np.diff(from_class) > 0).all() and (np.diff(from_null) < 0).all()
    assert max(from_class[0], from_null[-1]) < 0.01 < 0.5 < min(from_class[-1], from_null[0])


def test_9_7_by_columns_of_a_label() -> None:
    """Features stand where the label says, and nowhere else."""
    found = one_copy_each(np.array([[5.0, 6.0], [7.0, 8.0]]), np.array([2, 0]), 2)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 5, 6], [7, 8, 0, 0, 0, 0]])
    assert one_copy_each(np.zeros((0, 2)), np.zeros(0, dtype=int), 2).shape == (0, 6)


def count(p: float, n: int, batches: int, seed: int) -> np.ndarray:
    """How many labels each of many batches loses."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    return np.array([(drop_labels(y, p, K, rng) == K).sum() for _ in range(batches)])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_9_8_by_variance_of_batches(p: float) -> None:
    """4000 batches of 100 (seed 11): 5 standard errors of a variance, nearly Gaussian."""
    expected = 100 * p * (1 - p)
    assert abs(count(p, 100, 4000, 11).var() - expected) < 5 * expected * np.sqrt(2 / 4000)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_9_8_by_binomial_law(p: float) -> None:
    """The whole law: chi square on 5000 batches of 12 (seed 12), tails pooled, alarm at 1e-6."""
    assert dropped_var(12, p) == pytest.approx(binom.var(12, p), rel=1e-12)
    found = np.bincount(count(p, 12, 5000, 12), minlength=13)
    expected = 5000 * binom.pmf(np.arange(13), 12, p)
    many = expected > 20
    pooled = [np.append(a[many], a[~many].sum()) for a in (found, expected)]
    assert chisquare(*pooled).pvalue > 1e-6


def test_9_8_by_pairs_of_places() -> None:
    """A variance of a sum is that of each term, and twice what each pair shares: nothing."""
    rng = np.random.default_rng(13)
    p = 0.3
    y = np.zeros(10, int)
    gone = np.array([drop_labels(y, p, 1, rng) for _ in range(20_000)]) - p
    shared = (gone[:, :, None] * gone[:, None]).mean(0)
    # The square of one coin deviates by |1 - 2 p| of the coin's own deviation.
    one = np.eye(10) * (1 - 2 * p) * np.sqrt(p * (1 - p)) + (1 - np.eye(10)) * p * (1 - p)
    error = one / np.sqrt(20_000)
    assert (np.abs(shared - p * (1 - p) * np.eye(10)) < 5 * error).all()


def test_9_8_by_one_coin_for_the_batch() -> None:
    """The text's other coin: as many labels dropped on average, and n times the variance."""
    whole = 100 * (drop_labels(np.zeros(4000, int), 0.2, K, np.random.default_rng(14)) == K)
    assert abs(whole.mean() - 20) < 5 * 40 / np.sqrt(4000)
    # A two-point law's fourth moment: p (1 - p) (1 - 3 p (1 - p)) n^4.
    error = 100**2 * np.sqrt(0.16 * (1 - 3 * 0.16) - 0.16**2) / np.sqrt(4000)
    assert abs(whole.var() - 100**2 * 0.16) < 5 * error
    assert set(whole) == {0, 100}
    each = count(0.2, 100, 1000, 15)
    assert each.min() > 0 and each.max() < 100


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_9_5_by_refusal_of_p(p: float) -> None:
    one = np.ones((1, 1))
    y = np.zeros(1, dtype=int)
    for call in (
        lambda: drop_labels(y, p, 3, np.random.default_rng(0)),
        lambda: joint_loss(one, one, one, p),
        lambda: joint_fit(one, one, one, p),
    ):
        with pytest.raises(ValueError, match=rf"p_uncond = {p} is outside 0\.\.1"):
            call()


@pytest.mark.parametrize("label", [[-1, 1], [1, 4]])
def test_9_7_by_refusal_of_a_label(label: list[int]) -> None:
    """It would have no columns, and its output would be 0 without a word."""
    message = rf"label in {label[0]}\.\.{label[1]} is outside 0\.\.3"
    with pytest.raises(ValueError, match=message):
        one_copy_each(np.ones((2, 1)), np.array(label), 3)
