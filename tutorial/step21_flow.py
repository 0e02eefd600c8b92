r"""Step 21. Flow matching: the same chain on another clock

**The question.** Many recent models are trained by flow matching. Their papers contain no betas and
no chain. They draw a straight line from a data point to a sample of noise, train a network on the
velocity along this line, and solve a differential equation. Is this a different process from that
of steps 2 to 20? And does guidance act differently there?

**The straight path.** Let $u$ be the time of the flow, from 0 at the data to 1 at the noise. The
papers call it $t$. (The letter $u$ had other meanings in steps 5, 16, 18 and 19. In (16.6) it was
also a time from data to noise, but on another clock.) The state of the flow is written $X_u$. It
lies on the line from $x_0$ to $\epsilon \sim N(0, I)$:

$$ X_u = (1 - u) x_0 + u \epsilon $$ (21.1)

The squares of the two factors do not add up to 1, so this is not yet a state of step 3. Let
$R_u = \sqrt{(1 - u)^2 + u^2}$ and divide (21.1) by it. Now the squares add up to 1. So $X_u / R_u$
has the distribution of $x_t$ given $x_0$, if the factor of the data is $\sqrt{\bar\alpha}$ with

$$ \bar\alpha = (1 - u)^2 / ((1 - u)^2 + u^2) $$ (21.2)

The ratio of noise to signal, $\sigma$ of step 20, is not changed by the division. It is
$u / (1 - u)$ in the flow. Solved for $u$, this gives the time of the flow that belongs to a time
$t$ of any schedule:

$$ u_t = \sigma_t / (1 + \sigma_t) ,\ \sigma_t = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t} $$ (21.3)

For example, $\bar\alpha_t = 0.5$ has $\sigma_t = 1$ and $u_t = 0.5$. At $\bar\alpha_s = 0.8$,
$\sigma_s = 0.5$ and $u_s = 1/3$. So every noise level of the chain occurs in the flow, and only the
clock differs.

Except near the data, the clock of the flow is close to that of the cosine schedule. Without its
offset (2.12), this schedule has $\sqrt{\bar\alpha} = \cos(\pi u / 2)$, so its ratio of noise to
signal is $\tan(\pi u / 2)$. The log SNR of the flow is then larger by twice the logarithm of

$$ k(u) = (1 - u) \tan(\pi u / 2) / u $$

Near the data $\tan(\pi u / 2)$ is close to $\pi u / 2$, so $k$ begins at $\pi / 2$. Exchanging $u$
and $1 - u$ turns the tangent into its reciprocal, so $k(1 - u) = 1 / k(u)$. Therefore $k$ is 1 in
the middle and $2 / \pi$ at the noise. In between it falls (left panel of the figure). To see this,
differentiate its logarithm, and write $f$ for the numerator:

$$ d \log k / du = \pi / \sin(\pi u) - 1 / (u (1 - u)) $$
$$ d \log k / du = -f / (u (1 - u) \sin(\pi u)), \quad f = \sin(\pi u) - \pi u (1 - u) $$

So $k$ falls where $f$ is positive. Since $f(1 - u) = f(u)$, the half from 0 to 1/2 is enough. The
first two derivatives of $f$ are

$$ df / du = \pi \cos(\pi u) - \pi (1 - 2 u) $$
$$ d^2 f / du^2 = 2 \pi - \pi^2 \sin(\pi u) $$

At 0, both $f$ and its slope are 0, and at 1/2 the slope is 0 again. The second derivative is first
positive and then negative on this half. So the slope first rises from 0 and then falls back to 0.
It is positive in between, and so is $f$. Therefore the two log SNRs differ by less than
$2 \log(\pi / 2) = 0.90$ everywhere, if there is no offset. With the offset, $1 - \bar\alpha$ of the
cosine schedule begins like a multiple of $u$, and not like $u^2$ as in the flow. So near the data
the difference is larger. With $T = 1000$ it is 3.7 at $t = 1$ and falls below 0.90 at $t = 84$.

**Is it the same process?** At each single time the two states have the same distribution, given
$x_0$. Two times of the flow share one noise $\epsilon$, whereas the forward chain of step 2 adds
new noise in every step. So the flow is not the chain of step 2 but the process (17.7) with $c = 0$.
Step 17 gives the reason why this makes no difference here: the loss and the best guess contain one
time only, and a sampler without noise does not use how two times depend on each other.

**The velocity is one more view of the guess.** For one pair of data and noise, the derivative of
(21.1) in $u$ is the same along the whole line:

$$ dX_u / du = \epsilon - x_0 $$ (21.4)

This is the velocity. (Many papers call it $v$. It is not the $v$ of step 5, whose factors are the
roots of $\bar\alpha$ and $1 - \bar\alpha$.) The network is trained on it with a squared error. Its
output is called $F$. By step 5 the best output is the mean of the velocity given the state. Write
(21.1) with the velocity, and take the mean of both sides given the state:

$$ X_u = x_0 + u (\epsilon - x_0) $$
$$ X_u = E[x_0 | X_u] + u F $$

So the guess of the data is the state minus $u F$. In the unit of the chain, with $X_u = R_u x_t$,

$$ \hat x_0 = p x_t + q F, \quad p = R_u, \quad q = -u $$ (21.5)

These are the numbers $p$ and $q$ of step 5 for a fourth output. Neither depends on the label. An
error of $F$ is multiplied by $-u$ in the guess. So the squared error of $F$ is that of the guess
with the weight $1 / u^2$. For the simple loss of step 8 the weight is
$\bar\alpha / (1 - \bar\alpha) = (1 - u)^2 / u^2$. Flow matching and step 8 therefore differ in this
weight, and in the times at which a model is trained. The best guess at each noise level is the
same.

**Guidance commutes with the conversion.** Let $F_y$ and $F_\phi$ be the outputs with the label and
without. The weights $1 + w$ and $-w$ add up to 1. So the term $p x_t$ remains as it is:

$$ (1 + w) (p x_t + q F_y) - w (p x_t + q F_\phi) = p x_t + q ((1 + w) F_y - w F_\phi) $$

The left side is guidance of the guesses, and the right side is the guess of the guided velocity:

$$ \hat x_0 = p x_t + q (F_y + w (F_y - F_\phi)) $$ (21.6)

Guidance of eps is guidance of the guesses too (11.4). So at each noise level guidance of the
velocity is guidance of eps. What steps 13 and 14 found for chains without fresh noise therefore
holds for flow matching too: the guided samples of the three classes overshoot and become narrow.
Only the errors of finite steps depend on the levels that a sampler visits.

**Euler's step is a row of DDIM.** A sampler does not know the pair of data and noise. It replaces
the velocity of the pair by the output at the present state. So it solves the differential equation
$dX_u / du = F$ from noise to data. Euler's method keeps $F$ constant from $u_t$ to an earlier
$u_s$. Insert $F = (X_{u_t} - \hat x_0) / u_t$, which is (21.5) solved for $F$:

$$ X_{u_s} = X_{u_t} + (u_s - u_t) F $$
$$ X_{u_s} = (u_s / u_t) X_{u_t} + (1 - u_s / u_t) \hat x_0 $$

Divide by $R_{u_s}$ to return to the unit of the chain. The factor of $x_t$ is

$$ b = u_s R_{u_t} / (u_t R_{u_s}) $$ (21.7)

By (21.2), the roots of $\bar\alpha$ and $1 - \bar\alpha$ are $(1 - u) / R_u$ and $u / R_u$. So this
is the quotient of the two noise factors, which is the $b$ of step 17 at $\eta = 0$. There $a$
follows from $b$ by (17.11):

$$ \sqrt{\bar\alpha_s} - b \sqrt{\bar\alpha_t} = ((1 - u_s) - (u_s / u_t) (1 - u_t)) / R_{u_s} $$

The numerator is $1 - u_s / u_t$. So this is also the factor of the guess in Euler's step:

$$ a = (1 - u_s / u_t) / R_{u_s} $$ (21.8)

Euler's method for the flow is therefore exactly DDIM between the same noise levels. Only the choice
of the levels is new: they are uniform in $u$.

We continue with the two images 1 and -1 of step 17. At $\bar\alpha_t = 0.5$ and $x_t = 0.4$ the
state of the flow is $X = 0.4 \cdot 0.707 = 0.283$. The only image with label 0 is 1. So the guess
is 1, the noise is $(0.4 - 0.707) / 0.707 = -0.434$, and $F = -1.434$. The step to $u_s = 1/3$ gives
$0.283 + (1/3 - 1/2) \cdot (-1.434) = 0.522$. Divided by $R_{u_s} = 0.745$ this is 0.700, the number
of step 17.

**CFG-Zero*.** Fan et al. change guidance in two ways. The first is a factor $\nu$ for the velocity
without the label, which they call the optimised scale $s^*$. It minimises $|F_y - \nu F_\phi|^2$,
one sample at a time. The derivative in $\nu$ is $-2 \langle F_y - \nu F_\phi, F_\phi \rangle$, with
the inner product of the two vectors. If $F_\phi \ne 0$, it vanishes at

$$ \nu = \langle F_y, F_\phi \rangle / |F_\phi|^2 $$ (21.9)
$$ F = F_y + w (F_y - \nu F_\phi) $$ (21.10)

So the difference that guidance extrapolates is orthogonal to $F_\phi$. For example, $F_y = (2, 1)$
and $F_\phi = (1, 0)$ give $\nu = 2$. At $w = 1$ the result is (2, 2), and plain guidance gives (3,
2). The weights are now $1 + w$ and $-w \nu$. For $w \ne 0$ they add up to 1 only if $\nu = 1$. So
this rule does not commute with the conversion: in eps or in $x_0$ it is another rule. It also
depends on the origin of the data, like APG in step 19, because a move of the data by a vector
changes $F_y$ and $F_\phi$ themselves.

**Zero-init.** The second change concerns the first steps of the solver. The paper sets the whole
velocity to zero there. (Some descriptions say that the first step is made without guidance. This is
another rule.) The state $X$ remains where it is while the clock goes on. In the unit of the chain
such a row is

$$ x_s = (R_{u_t} / R_{u_s}) x_t $$ (21.11)

When is zero a good velocity? At $u = 1$ the state $X$ is pure noise. It contains no information
about the data, so the best guesses are the mean $\mu_y$ of the class and the mean $m$ of all data.
The exact outputs are $F_y = X - \mu_y$ and $F_\phi = X - m$. The guided velocity is
$F_y + w (m - \mu_y)$, so its squared distance from $F_y$ is $w^2 |\mu_y - m|^2$. The squared
distance of zero from $F_y$ is $|F_y|^2$. With $D$ coordinates its mean is $D + |\mu_y|^2$, because
$X$ is standard normal. So if $\mu_y \ne m$, zero is in the mean square closer than the guided
velocity when $|w|$ is greater than

$$ w_0 = \sqrt{(D + |\mu_y|^2) / |\mu_y - m|^2} $$ (21.12)

For the three Gaussians of step 1 it is $\sqrt{4.25 / 2.25} = 1.37$. This compares velocities of one
step. It does not say that the samples are better.

**Measured.** The table shows the top class of step 1 with exact velocities and 50 Euler steps,
uniform in $u$, for 4000 samples. The standard errors of the heights are below 0.009. The class has
the variance 0.25, of which the finite steps lose a part (step 17). The tilted distribution for
$w = 3$ has the mean height 1.53 and the variances 0.24 and 0.23 (by numerical integration).

| rule | w | mean height | variance across | variance along |
|---|---|---|---|---|
| plain | 0 | 1.50 | 0.240 | 0.234 |
| plain, zero-init | 0 | 1.49 | 0.250 | 0.243 |
| plain | 3 | 2.37 | 0.136 | 0.078 |
| no guidance in the first row | 3 | 2.35 | 0.133 | 0.075 |
| plain, zero-init | 3 | 2.34 | 0.138 | 0.078 |
| factor $\nu$ | 3 | 1.97 | 0.115 | 0.109 |
| factor $\nu$, zero-init | 3 | 1.96 | 0.125 | 0.115 |

The factor removes about half of the overshoot. Both variances remain about half of those of the
tilted distribution. Compared with plain guidance, the variance along the height is larger and the
variance across is smaller. In the plane a projection removes one of two directions, so its effect
on images may be smaller. A single zero row of 50 changes the heights by at most 0.03. It makes some
of the variances larger, because the state retains the variance 1 of the start, while the noised
data have less. If the data are moved by (0, 3) and the samples are moved back, plain guidance gives
the same 2.37, but the rule with $\nu$ gives 1.55 and not 1.97. So its effect depends on where the
origin lies.

**At the boundary.** At $u = 1$, $\bar\alpha = 0$. A prediction of eps determines no guess there,
but (21.5) has $p = 1$ and $q = -1$. The schedule of this lesson stops just before, because its last
beta is 0.999 (step 2). With $T = 1000$, (21.2) gives $10^{-6}$ at $t = 999$, and the last step
multiplies this by 0.001. So the schedule ends at $\bar\alpha_T = 10^{-9}$. At $w = 0$ the factor
$\nu$ has no effect, but zero-init has one: it replaces an exact velocity by zero. Where
$F_\phi = 0$, guidance in (21.10) does not depend on $\nu$. A single Euler step from $u = 1$ without
guidance returns the mean of the class.

**What goes wrong.** The line of (21.1) is straight for one pair of data and noise. The solutions of
the differential equation are not straight, because the mean velocity changes along them. So one
step is not enough. Velocities are converted with the formula of the $v$ of step 5. The sign is
reversed, because some papers let time run from noise to data. In zero-init the guidance is switched
off and not the velocity.

**In torch.** The package trains such models: `Schedule.flow(T)` is (21.2) with $\bar\alpha_T = 0$,
`prediction="velocity"` is (21.5), and `solvers.ddim` on both is Euler's method. The command is
`minicfg train --schedule flow --prediction velocity`.

**Where it goes on.** So far predictions were exact, and programs were written in NumPy. Step 22
replaces the exact predictions by a trained network, NumPy by torch, and the loop by one kernel.

**Source.** Liu et al. 2022, arXiv:2209.03003 (rectified flow). Lipman et al. 2022, arXiv:2210.02747
(flow matching). Fan et al. 2025, arXiv:2503.18886 (CFG-Zero*). (21.12) is derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import mean_x0, oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import Table, times
from tutorial.step19_rules import Rule, dot, plain, run_rule

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def flow_state(
    x0: Float[np.ndarray, "n D"], eps: Float[np.ndarray, "n D"], u: float
) -> Float[np.ndarray, "n D"]:
    """The state of the flow at time `u` in 0..1."""
    return (1 - u) * x0 + u * eps  # (21.1)


def flow_schedule(T: int) -> Schedule:
    """The schedule with the noise levels of the flow at u = t / T; the last beta is 0.999."""
    u = np.arange(T + 1) / T
    alpha_bar = (1 - u) ** 2 / ((1 - u) ** 2 + u**2)  # (21.2)
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    return Schedule(np.concatenate([[0.0], np.minimum(beta, 0.999)]))


def flow_times(schedule: Schedule) -> Float[np.ndarray, " T1"]:
    """The time of the flow with the noise level of t, for t = 0..T."""
    sigma = np.sqrt((1 - schedule.alpha_bar) / schedule.alpha_bar)
    return sigma / (1 + sigma)  # (21.3)


def root(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """R_u, by which a state of the flow is divided."""
    return np.sqrt((1 - u) ** 2 + u**2)


def velocity(
    x0: Float[np.ndarray, "n D"], eps: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, "n D"]:
    """The velocity along the line from `x0` to `eps`."""
    return eps - x0  # (21.4)


def velocity_coefficients(
    t: Int[np.ndarray, " n"], schedule: Schedule
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """p and q of a network that predicts the velocity, for each t in 1..T."""
    u = flow_times(schedule)[t]
    return root(u), -u  # (21.5)


def guess_from_velocity(
    F_y: Float[np.ndarray, "n D"],
    F_null: Float[np.ndarray, "n D"],
    xt: Float[np.ndarray, "n D"],
    t: int,
    w: float,
    schedule: Schedule,
) -> Float[np.ndarray, "n D"]:
    """The guess of the data that belongs to the guided velocity, for t in 1..T."""
    p, q = velocity_coefficients(np.array([schedule.check_t(t)]), schedule)
    return p * xt + q * guide(F_y, F_null, w)  # (21.6)


def euler(schedule: Schedule, steps: int | Sequence[int] | None = None) -> Table:
    """The table of Euler's method for a network that predicts the velocity."""
    t, s = times(schedule, steps)
    u = flow_times(schedule)
    p, q = velocity_coefficients(t, schedule)
    b = u[s] * root(u[t]) / (u[t] * root(u[s]))  # (21.7)
    a = (1 - u[s] / u[t]) / root(u[s])  # (21.8)
    zero = np.zeros(len(t))
    return Table(t, s, np.stack([p, q, a, b, zero, zero, zero, zero + 1], 1))


def zero_star(
    cond: Float[np.ndarray, "n *D"], null: Float[np.ndarray, "n *D"], w: float, *_: object
) -> Float[np.ndarray, "n *D"]:
    """The factor of CFG-Zero* in the form of a rule. Where `null` is 0, it has no effect."""
    square = dot(null, null)
    square = np.where(square > 0, square, 1)
    nu = dot(cond, null) / square  # (21.9)
    return guide(cond, nu * null, w)  # (21.10)


def with_zero_init(table: Table, schedule: Schedule, rows: int = 1) -> Table:
    """The table with a velocity of zero in its first rows."""
    if not 0 <= rows <= len(table.t):
        raise ValueError(f"rows = {rows} is outside 0..{len(table.t)}")
    R = root(flow_times(schedule))
    changed = table.rows.copy()
    changed[:rows, 2:7] = 0
    changed[:rows, 3] = R[table.t[:rows]] / R[table.s[:rows]]  # (21.11)
    return Table(table.t, table.s, changed)


def zero_is_closer_from(mu: Float[np.ndarray, " D"], m: Float[np.ndarray, " D"]) -> float:
    """The weight above which zero is closer to the velocity of a class than the guided one."""
    D = len(mu)
    return float(np.sqrt((D + mu @ mu) / ((mu - m) @ (mu - m))))  # (21.12)


@dataclass(frozen=True, eq=False)
class VelocityOracle:
    """The exact velocity of a mixture, with the interface of a network."""

    mixture: GaussianMixture
    schedule: Schedule
    num_classes: int
    prediction: str = "velocity"

    def __call__(
        self, xt: Float[np.ndarray, "n D"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n D"]:
        """The mean of the velocity in each row of `xt`, for `t` in 1..T and `y` in 0..K."""
        eps = oracle_eps(self.mixture, self.schedule)(xt, t, y)
        x0 = mean_x0(xt, t, y, self.mixture, self.schedule)
        return velocity(x0, eps)


def top_class(
    rule: Rule = plain,
    w: float = 3.0,
    table: Table | None = None,
    n: int = 4000,
    moved: tuple[float, float] = (0.0, 0.0),
) -> Float[np.ndarray, "n 2"]:
    """Samples of the top class of step 1 by exact velocities; 50 Euler steps are the default.

    The data are moved by `moved`, and the samples are moved back.
    """
    schedule = flow_schedule(1000)
    if table is None:
        table = euler(schedule, 50)
    data = three_gaussians()
    mixture = GaussianMixture(data.means + moved, data.covs, data.weights)
    model = VelocityOracle(mixture, schedule, 3)
    y = np.zeros(n, int)
    return run_rule(model, y, table, w, np.random.default_rng(0), rule) - moved


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step21_flow")
