r"""Step 17. Solvers: every step of a sampler is a row of numbers

**The question.** The loop of step 7 visits all $T$ times. With $T = 1000$ a guided sample takes
2000 evaluations of the network. Can the same trained network be used with 20 steps? The loop also
draws new noise in every step. Is this noise necessary? Both questions lead to other numbers in the
same formula. So we first write the step of a sampler in a form that leaves these numbers open. A
method that chooses them is called a solver.

**The form.** A step moves from $x_t$ to $x_s$, where the time $s$ is earlier than $t$. Let $g_y$ be
the output of the network for the label, and $g_\phi$ its output for the null label. The step has
three parts. It guides, it turns the output into a guess of the data, and it moves:

$$ g = g_y + m w (g_y - g_\phi) $$ (17.1)
$$ \hat x_0 = clip(p x_t + q g) $$ (17.2)
$$ x_s = a \hat x_0 + b x_t + d g_\phi + e \hat x_0' + c z $$ (17.3)

Here $z \sim N(0, I)$ is new noise, and $\hat x_0'$ is the guess of the step before. The eight
letters p, q, a, b, c, d, e and m are numbers. They do not depend on the data or on $x_t$, so they
can be computed before the loop starts. (Some of the letters had other meanings before: in step 16,
a was the factor of the data. In step 9, d was the difference of two predictions. In step 10, m was
the mean of all data. With arguments, as in $q(x_s | x_t, x_0)$, q is still a density.)

| number | what it multiplies | what it is for |
|---|---|---|
| p, q | the state and the output, in the guess | turning eps, x0 or v into a guess (step 5) |
| a | the guess of the data | the way towards the guess |
| b | the state | what remains of the state |
| c | new noise | 0 for a step without noise |
| d | the output for the null label | CFG++ (step 20), otherwise 0 |
| e | the previous guess | solvers that use two guesses (step 18), otherwise 0 |
| m | the guidance weight | 1, or a weight that changes with t (step 20) |

The eight numbers of a step are a row, and the rows of all steps are a table. One loop, `run_steps`
below, runs any table. For example, the loop of step 7 has the rows $a = c_0$, $b = c_t$,
$c = \sqrt{\tilde\beta_t}$, $d = e = 0$ and $m = 1$.

Not every sampler has this form. A step of Heun's method evaluates the network at two places.
Appendices I to M describe samplers that correct a state or weigh samples. They need loops of their
own.

**Fewer steps.** In step 4 we computed the posterior $q(x_{t-1} | x_t, x_0)$. Nothing in the
derivation requires that the two times are neighbours. Step 3 showed that the noise between any two
times is a single Gaussian step, with the factor

$$ \alpha_{t|s} = \bar\alpha_t / \bar\alpha_s $$ (17.4)

in the place of $\alpha_t$. So replace $\alpha_t$ by $\alpha_{t|s}$, $\beta_t$ by $1 - \alpha_{t|s}$
and $t - 1$ by $s$ in all formulas of step 4. The result is the posterior $q(x_s | x_t, x_0)$. Its
table is called `ddpm` below. The network needs no new training, because its loss contains single
times only. It has been trained at the times that we keep.

Which times do we keep? For $n$ steps we take them uniformly from $T$ to 0, rounded to whole
numbers:

$$ t_i = \lfloor T i / n + 1 / 2 \rfloor, \quad i = n, \dots, 1, 0 $$ (17.5)

For $T = 10$ and $n = 4$ they are 10, 8, 5, 3, 0. No time is repeated, because $T / n \ge 1$, and
numbers that differ by at least 1 remain different when they are rounded.

**Less noise.** The derivation of the loss in step 8 uses a forward process. But each term of the
loss (8.5) contains a single time, and the noised data enter it only through $q(x_t | x_0)$. So the
same network is the best one for every process in which each single time has this distribution. How
two times depend on each other is left open. Song, Meng and Ermon found a family of such processes.
Their samplers are called DDIM.

To describe a member of the family, we state how to go from $x_t$ to $x_s$ when $x_0$ is known. From
$x_t$ and $x_0$ we can compute the noise in $x_t$:

$$ \epsilon = (x_t - \sqrt{\bar\alpha_t} x_0) / \sqrt{1 - \bar\alpha_t} $$ (17.6)

At time $s$ the noise must have the variance $1 - \bar\alpha_s$. Let a part $c^2$ of this variance
come from new noise, and the rest from the old noise $\epsilon$:

$$ q(x_s|x_t,x_0) = N(\sqrt{\bar\alpha_s} x_0 + \sqrt{1-\bar\alpha_s-c^2} \epsilon, c^2 I) $$ (17.7)

Here $c$ may be any number with $0 \le c^2 \le 1 - \bar\alpha_s$. Different steps may have different
$c$. Why does every choice keep the distribution of $x_s$ given $x_0$? We go from $T$ downwards.
Suppose that $x_t$ given $x_0$ has the distribution of step 3. Then $\epsilon$ in (17.6) is a
standard normal variable. The new noise $z$ is one too, and independent of it. By (17.7),

$$ x_s = \sqrt{\bar\alpha_s} x_0 + \sqrt{1 - \bar\alpha_s - c^2} \epsilon + c z $$

Variances of independent variables add, and $(1 - \bar\alpha_s - c^2) + c^2 = 1 - \bar\alpha_s$. So
$c$ cancels:

$$ q(x_s | x_0) = N(\sqrt{\bar\alpha_s} x_0, (1 - \bar\alpha_s) I) $$ (17.8)

This is the distribution of step 3 at time $s$. The argument can be repeated from $s$ to the next
time, and so on down to 0.

What does depend on $c$ is the joint distribution of two times. Given $x_0$, both $x_t$ and $x_s$
contain the same $\epsilon$, with the factors $\sqrt{1 - \bar\alpha_t}$ and
$\sqrt{1 - \bar\alpha_s - c^2}$. Their covariance is the product of the two factors. In the forward
process, $x_t$ is $\sqrt{\alpha_{t|s}} x_s$ plus independent noise. So there the covariance is
$\sqrt{\alpha_{t|s}}$ times the variance of $x_s$. For which $c$ are the two covariances equal?

$$ \sqrt{1 - \bar\alpha_t} \sqrt{1 - \bar\alpha_s - c^2} = \sqrt{\alpha_{t|s}} (1 - \bar\alpha_s) $$

Square both sides, divide by $1 - \bar\alpha_t$, and write $\rho$ for the ratio of the two noise
variances. The result can be solved for the square of $c$:

$$ \rho = (1 - \bar\alpha_s) / (1 - \bar\alpha_t) $$
$$ 1 - \bar\alpha_s - c^2 = \alpha_{t|s} \rho (1 - \bar\alpha_s) $$
$$ c^2 = (1 - \alpha_{t|s} \rho) (1 - \bar\alpha_s) $$

So exactly one value of $c$ is possible, apart from its sign. The first bracket has another form,
because $\alpha_{t|s} \bar\alpha_s = \bar\alpha_t$:

$$ \alpha_{t|s} \rho = (\alpha_{t|s} - \bar\alpha_t) / (1 - \bar\alpha_t) $$
$$ 1 - \alpha_{t|s} \rho = (1 - \alpha_{t|s}) / (1 - \bar\alpha_t) $$

Inserting it gives the posterior variance of step 4 for these two times:

$$ c^2 = (1 - \alpha_{t|s}) \rho $$

We use the root of this number as the unit, and write every other $c$ as a multiple of it:

$$ c = \eta \sqrt{(1 - \alpha_{t|s}) \rho} $$ (17.9)

This course uses $\eta$ from 0 to 1. At $\eta = 1$ the mean of (17.7) is that of the posterior too,
as (17.12) below shows. So each step is the posterior step of the forward process. Given $x_0$, both
processes are Markov chains from $T$ down to 0, because a step uses only $x_t$ and $x_0$. (In the
forward process the noise after $t$ is independent of the earlier states, so the later states
contain no further information about $x_s$.) Two such chains with the same start and the same steps
have the same distribution, so at $\eta = 1$ the process is the forward process, seen at the times
that we keep. Every other value gives another process with the same distribution at each time.

**The row of DDIM.** A sampler does not know $x_0$. As in step 6, it puts the guess $\hat x_0$ in
its place, in (17.7) and also in (17.6):

$$ x_s = \sqrt{\bar\alpha_s} \hat x_0 + b (x_t - \sqrt{\bar\alpha_t} \hat x_0) + c z $$

(Step 6 justified this for small steps with new noise. The section "Without noise" below gives the
reason for steps without it.) In this line $b$ is the root in (17.7) divided by the root in (17.6).
This is the factor of $x_t$, so it is the number $b$ of the row. The factor of $\hat x_0$ is $a$:

$$ b^2 = (1 - \bar\alpha_s - c^2) / (1 - \bar\alpha_t) $$ (17.10)
$$ a = \sqrt{\bar\alpha_s} - b \sqrt{\bar\alpha_t} $$ (17.11)

In floating point (17.10) can be inaccurate. If $\eta = 1$ and $s$ is close to 0, nearly all of
$1 - \bar\alpha_s$ is $c^2$, and the small difference of the two has few correct digits. A form
without a difference is better. Insert (17.9). Then replace
$(1 - \alpha_{t|s}) / (1 - \bar\alpha_t)$ by $1 - \alpha_{t|s} \rho$, which was found before (17.9):

$$ b^2 = \rho - \eta^2 \rho (1 - \alpha_{t|s}) / (1 - \bar\alpha_t) $$
$$ b^2 = \rho - \eta^2 \rho (1 - \alpha_{t|s} \rho) $$

Collecting the terms without and with $\alpha_{t|s}$ gives a weighted mean of two numbers:

$$ b^2 = (1 - \eta^2) \rho + \eta^2 \alpha_{t|s} \rho^2 $$ (17.12)

At $\eta = 1$ only the second remains, so $b = \sqrt{\alpha_{t|s}} \rho$. This is $c_t$ of step 4,
and $a$ is $c_0$, so the table is that of `ddpm`. At $\eta = 0$ no noise is added after the start. A
sample is then a function of its first $x_T$, and the same $x_T$ always gives the same sample. The
lower left panel of the figure shows a chain with $\eta = 1$ and one with $\eta = 0$ from the same
start.

**An example.** We continue with the two images 1 and -1 of steps 9 and 11. At $\bar\alpha_t = 0.5$
we see $x_t = 0.4$. With label 0 the prediction is $\epsilon = -0.434$ and the guess is 1. We go in
one step to a time with $\bar\alpha_s = 0.8$, so $\alpha_{t|s} = 0.625$ and $\rho = 0.4$:

| $\eta$ | a | b | c | next state |
|---|---|---|---|---|
| 0 | 0.447 | 0.632 | 0 | $0.447 \cdot 1 + 0.632 \cdot 0.4 = 0.700$ |
| 1 | 0.671 | 0.316 | 0.387 | $0.671 \cdot 1 + 0.316 \cdot 0.4 + 0.387 z = 0.797 + 0.387 z$ |

Without noise, the new state contains the old noise: $(0.700 - 0.894) / 0.447 = -0.434$. With
$\eta = 1$ the new noise makes up $0.387^2 = 0.15$ of the noise variance 0.2, so only a quarter is
old noise.

**What few steps cost.** Step 7 found that the samples of a finite loop have too little variance. We
now compute the same for any table. For Gaussian data $N(\mu, S)$ in one dimension the variance of
the noised data is $C_t = \bar\alpha_t S + 1 - \bar\alpha_t$, and the exact guess is linear in
$x_t$. Its slope is

$$ J_t = \sqrt{\bar\alpha_t} S / C_t $$

For a row with $d = e = 0$, insert $\hat x_0 = J_t x_t$ plus a constant into (17.3). The state is
multiplied by $a J_t + b$, and new noise is added. So its variance changes from $V_t$ to

$$ V_s = (a J_t + b)^2 V_t + c^2 $$

The true variances obey another equation. Let the row be one of DDIM, so that (17.8) holds. Write
$x_0$ as its guess plus an error, and insert it into the row in the place of the guess:

$$ x_s = (a \hat x_0 + b x_t + c z) + a (x_0 - \hat x_0) $$

Now the data point itself stands in the row, so $x_s$ has the variance $C_s$ by (17.8). The error
has the mean 0 at every $x_t$, so it is uncorrelated with every function of $x_t$, and with $z$. Its
variance is the mean of $Var(x_0 | x_t)$, which for Gaussian data is the same number at every $x_t$.
This variance, multiplied by $a^2$, is added to that of the bracket:

$$ C_s = (a J_t + b)^2 C_t + c^2 + a^2 Var(x_0 | x_t) $$

Subtract the equation for $V_s$. The lost variance of a chain is then

$$ C_s - V_s = (a J_t + b)^2 (C_t - V_t) + a^2 Var(x_0 | x_t) $$

So each row of DDIM adds $a^2 Var(x_0 | x_t)$, as in step 7, and it multiplies the loss of the
earlier rows. With a smaller $\eta$, (17.12) gives a larger $b$ and (17.11) a smaller $a$, so a row
adds less. But it also retains more of the earlier loss. By (17.11) the factor is

$$ a J_t + b = \sqrt{\bar\alpha_s} J_t + b (1 - \sqrt{\bar\alpha_t} J_t) $$

The last bracket is $(1 - \bar\alpha_t) / C_t$, which is positive, so the factor grows with $b$.
Only a computation shows which of the two effects is larger.

A row with $e \ne 0$ also uses the previous guess. It then takes a pair of numbers,
$(x_t, \hat x_0')$, to the next pair, $(x_s, \hat x_0)$. Let $P_t$ be the covariance matrix of the
pair. A linear map $M$ changes a covariance matrix to $M P_t M^T$:

$$ P_s = M P_t M^T + diag(c^2, 0), \quad M = ((a J_t + b, e), (J_t, 0)) $$ (17.13)

The loop starts with $P_T = diag(1, 0)$, because $x_T$ has variance 1 and there is no previous
guess. The upper left element of $P_0$ is the variance of the samples. For $S = 1/4$ and the cosine
schedule with $T = 1000$ it is:

| steps | 2 | 5 | 10 | 20 | 50 | 100 | 1000 |
|---|---|---|---|---|---|---|---|
| $\eta = 1$ | 0.039 | 0.108 | 0.151 | 0.187 | 0.219 | 0.233 | 0.248 |
| $\eta = 0.5$ | 0.039 | 0.127 | 0.176 | 0.208 | 0.231 | 0.240 | 0.249 |
| $\eta = 0$ | 0.039 | 0.131 | 0.182 | 0.214 | 0.235 | 0.242 | 0.249 |

From 5 steps on, a smaller $\eta$ loses less: the rows add less, and this outweighs that they retain
more. With 20 steps $\eta = 0$ loses 15 % of the variance and $\eta = 1$ loses 25 %. This is not so
for all data. For $S = 25$ and 5 steps, $\eta = 0$ loses 75 % and $\eta = 1$ only 73 %. With 20
steps it is 27 % and 28 %. With two steps all rows of the table agree. At $T$ the guess hardly
depends on the state, so $J_T$ is nearly 0, and the first row leads to the variance $b^2 + c^2$.
Because $1 - \bar\alpha_T$ is nearly 1, (17.10) gives $b^2 + c^2 = 1 - \bar\alpha_s$ up to a very
small error. This is the noise variance at the next time, which is 0.506 at $s = 500$. The last row
returns its guess, whose slope at this time is 0.279. So the variance ends at
$0.279^2 \cdot 0.506 = 0.039$.

The upper panels of the figure show the loss for three guided classes at $\eta = 1$: with 5 steps
their samples lie much closer together than with 1000. All these numbers hold for the exact guess of
Gaussian data. For trained networks Song et al. measured the quality of images by the FID of step
15, where lower is better. Of the values 0, 0.2, 0.5 and 1 of $\eta$, the value 0 was best on both
of their data sets, with 10, 20, 50, 100 and 1000 steps. For example, with 50 steps on CIFAR10 the
FID was 4.67 for $\eta = 0$ and 8.01 for $\eta = 1$. (Noise can help a trained network, however.
They also ran an ancestral chain with new noise of the larger variance $1 - \alpha_{t|s}$. With 1000
steps its FID on CIFAR10 was 3.17, better than 4.04 for $\eta = 0$. With 100 steps it was 9.99,
worse than 4.16 for $\eta = 0$, and with fewer steps the difference was larger.)

**Clip, then compute the noise again.** If the guess is clipped, which $\epsilon$ belongs in (17.7)?
The row uses (17.6) with the clipped guess. Then guess and noise together still give $x_t$. A common
mistake is to clip the guess but to continue with the prediction of the network, which belongs to
the guess before clipping. The difference is

$$ x_s^{wrong} - x_s = b \sqrt{\bar\alpha_t} (clip(\hat x_0) - \hat x_0) $$ (17.14)

In the example with $w = 1$, the mixture is -0.922 and the guess is 1.488 (step 11). Clipped to
$[-1, 1]$ it is 1, and the right row with $\eta = 0$ leads to 0.700 as before. The wrong program
computes $0.894 \cdot 1 + 0.447 \cdot (-0.922) = 0.482$. The difference is
$0.632 \cdot 0.707 \cdot (1 - 1.488) = -0.218$.

More steps do not make the mistake smaller. As $s$ comes closer to $t$, $b$ goes to 1. The right
step goes to no step at all, but the difference does not go to 0. So every step adds such a
difference, and with more steps there are more of them. The table shows the mean height of the class
of step 1 whose mean has height 1.5, for the cosine schedule with $T = 1000$, $\eta = 0$, $w = 1$
and the interval $[-2, 2]$:

| steps | 10 | 50 | 250 |
|---|---|---|---|
| right | 1.68 | 1.67 | 1.67 |
| wrong | 1.35 | -0.22 | -2.00 |

With 250 steps all wrong samples lie at the height -2, on the border of the interval that is far
from the class. Why is this so? At the noise end the guess before clipping is close to 3 for every
sample (the mean 1.5 of the class, and once more its distance 1.5 from the mean of all data). So by
(17.14) every row adds a jump downwards, until the guess is inside the interval. This happens at
about $t = 700$. The state divided by $\sqrt{\bar\alpha_t}$ is then -25, far below all data. The
remaining rows lead it back towards the class, but not far enough: the last guesses are below -2,
and they are clipped to -2.

**Without noise.** For Gaussian data the table above shows that the noise of the loop is not
necessary. What about other data? Step 6 gave two reasons for the guess in the place of $x_0$. The
mean of the step is exact, and a small step with new noise is nearly Gaussian. At $\eta = 0$ the
second reason is missing, because a row leads to a single point. We now show that the states have
the right density nevertheless. The data may have any distribution, the guess is exact, and the
steps are small.

Divide the state by the factor of the data. By (3.2) the result is the data plus noise of the
variance $\tau_t$:

$$ \bar x_t = x_t / \sqrt{\bar\alpha_t} = x_0 + \sqrt{\tau_t} \epsilon $$
$$ \tau_t = (1 - \bar\alpha_t) / \bar\alpha_t $$

Let $\hat\epsilon$ be the noise (17.6) that belongs to the guess. At $\eta = 0$ a row keeps it and
changes its factor:

$$ \bar x_t = \hat x_0 + \sqrt{\tau_t} \hat\epsilon $$
$$ \bar x_s = \hat x_0 + \sqrt{\tau_s} \hat\epsilon $$
$$ \bar x_s = \bar x_t + (\sqrt{\tau_s} - \sqrt{\tau_t}) \hat\epsilon $$ (17.15)

Now let the steps become short. The bracket becomes the small change of a root. So the state moves
with a velocity with respect to $\tau$, for which we write $\dot x$:

$$ d\sqrt\tau = d\tau / (2 \sqrt\tau) $$
$$ \dot x = d\bar x / d\tau = \hat\epsilon / (2 \sqrt\tau) $$

Let $p$ be the density of the noisy data at the variance $\tau$. (In the row, p is a number.)
Formula (5.9) gives the exact prediction of the noise as a gradient with respect to $x_t$. The
densities of $x_t$ and $\bar x_t$ differ by a constant factor, which does not change the gradient of
the logarithm. But a gradient with respect to $\bar x$ is $\sqrt{\bar\alpha_t}$ times as large as
one with respect to $x_t$, because $x_t = \sqrt{\bar\alpha_t} \bar x$. So the prediction is

$$ \hat\epsilon = -\sqrt\tau \nabla \log p(\bar x) $$
$$ \dot x = -\tfrac{1}{2} \nabla \log p(\bar x) $$ (17.16)

What does a velocity do to a density? Consider many points in one dimension with the density $p$,
and the interval from $l$ to $r$. Points enter it at the left end and leave it at the right end, and
$p \dot x$ is the probability that passes a place per unit of $\tau$. So the probability of the
interval changes by

$$ (p \dot x)(l) - (p \dot x)(r) = -\int_l^r (\partial (p \dot x) / \partial \bar x) d\bar x $$

This change is also the integral of $\partial p / \partial \tau$. The interval is arbitrary, so the
two integrands are equal. In several dimensions each coordinate contributes such a term. Their sum
$\nabla \cdot (p \dot x)$ is called the divergence, and the result is the continuity equation:

$$ \partial p / \partial \tau = -\nabla \cdot (p \dot x) $$

How does the density of the noisy data really change with $\tau$? Given $x_0$, the noisy data
$\bar x$ have a Gaussian density $k$ with mean $x_0$ and variance $\tau$ in each of $D$ coordinates.
The next lines are this density, its derivative with respect to $\tau$, and the sum $\nabla^2 k$ of
its second derivatives with respect to the coordinates:

$$ k = (2 \pi \tau)^{-D / 2} e^{-|\bar x - x_0|^2 / (2 \tau)} $$
$$ \partial k / \partial \tau = (|\bar x - x_0|^2 / (2 \tau^2) - D / (2 \tau)) k $$
$$ \nabla^2 k = (|\bar x - x_0|^2 / \tau^2 - D / \tau) k $$

The derivative is half of the sum. The density $p$ is the mean of $k$ over the data, so it has the
same property. This is the heat equation:

$$ \partial p / \partial \tau = \nabla^2 p / 2 $$

The sum $\nabla^2 p$ is the divergence of the gradient of $p$. By the derivative of a logarithm and
(17.16), this gradient is

$$ \nabla p = p \nabla \log p = -2 p \dot x $$

So the heat equation is the continuity equation of our velocity:

$$ \partial p / \partial \tau = \nabla^2 p / 2 = -\nabla \cdot (p \dot x) $$ (17.17)

Suppose that points have the density of the noisy data at one noise level, and that they move with
the velocity (17.16). Then they have this density at every level. (The velocity is smooth as long as
there is noise, and the equation then determines the density from its start. A sampler starts from
$N(0, I)$ in the place of the density of $x_T$. By step 3 the two differ little.) With a label the
same holds for the density of the class.

So in the limit of small steps the noise is not necessary. The error of finite steps remains. In one
dimension it can be measured for each start, because points that follow the velocity never change
their order. A start that is larger than one tenth of all starts must end at a place that is larger
than one tenth of the data. We take the same schedule, two Gaussian classes with means 1 and -1 and
variance 1/4, no label, and 400 starts. They are the quantiles of the normal distribution at
$(i + 1/2) / 400$, $i = 0, 1, \dots, 399$. The table gives the mean distance of the samples from the
places where they should end:

| steps, $\eta = 0$ | 10 | 20 | 50 | 100 | 1000 |
|---|---|---|---|---|---|
| mean distance | 0.085 | 0.043 | 0.018 | 0.0088 | 0.0009 |

Twice the steps halve the error. This agrees with the loss of variance above. The variance that a
row lacks has the factor $a^2$, and at $\eta = 0$ the number $a$ is proportional to the length of a
short step. So the loss of one row is of second order, and that of all rows together of first order.
(The last rows are an exception, as in step 7: near the data even a short step changes the remaining
noise by a large factor. By (17.13) the lost variance times the number of steps is 0.68 with 10
steps, 0.78 with 100 and 0.81 with 1000.)

With guidance the argument fails. A guided guess is in general not the exact guess of any data (step
11). The row (17.15) is the same with the guided prediction, but (17.16) does not hold, and the
argument does not give the density of the samples.

**At the boundary.** In the last row $s = 0$ and $\bar\alpha_s = 1$. Then $\rho = 0$, so $b = c = 0$
and $a = 1$ for every $\eta$: the last row returns its guess. A table with a single row returns the
guess at $x_T$. For $w = 0$ this is nearly the mean of the class, or of all data for the null label.
The loop draws noise in every row, even if $c = 0$. So two solvers with the same number of rows
receive the same noise.

**What goes wrong.** The first time of the table is below $T$, but the loop still starts from pure
noise, which has the distribution of $x_T$ only. The rows of fewer steps contain $\alpha_t$ of a
single step and not $\alpha_{t|s}$. The new noise is added, but the old noise is not reduced: $b$ of
$\eta = 0$ is combined with $c$ of $\eta = 1$. The factor $\eta$ multiplies the variance and not the
standard deviation. The first row uses a previous guess that does not exist.

**Where it goes on.** At $\eta = 0$ the samples converge with an error proportional to the length of
the steps. Can a solver come closer with the same number of evaluations? This is step 18.

**Source.** Song, Meng and Ermon 2021, arXiv:2010.02502, eqs. 7, 12 and 16, lemma 1 and table 1;
Song et al. 2021b, arXiv:2011.13456, sec. 4.3 (the equation without noise); Ho et al. 2020,
arXiv:2006.11239, eqs. 6 and 7; Nichol and Dhariwal 2021, arXiv:2102.09672, sec. 4 (fewer steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import (  # pyright: ignore[reportMissingTypeStubs]  # SciPy has none
    ndtr,
    ndtri,
)

from tutorial.contract import Denoiser, Normals, last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import oracle_eps, x0_coefficients
from tutorial.step11_guidance import guide

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a solver: row k moves from time `t[k]` to the earlier time `s[k]`.

    The columns of `rows` are p, q, a, b, c, d, e and m. The last `s` is 0.
    """

    t: Int[np.ndarray, " n"]
    s: Int[np.ndarray, " n"]
    rows: Float[np.ndarray, "n 8"]


def times(
    schedule: Schedule, steps: int | Sequence[int] | None = None
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The time at which each row starts, and the time at which it ends.

    A row ends where the next one starts, and the last row ends at 0. `steps` is the number of rows,
    1..T, or the sequence of their starts, decreasing in 1..T. Without it, all T times are taken.

    >>> times(Schedule.linear(10), 4)
    (array([10,  8,  5,  3]), array([8, 5, 3, 0]))
    """
    T = schedule.T
    if steps is None:
        steps = T
    if isinstance(steps, int):
        n = steps
        if not 1 <= n <= T:
            raise ValueError(f"steps = {n} is outside 1..{T}")
        t = [(T * i + n // 2) // n for i in range(n, 0, -1)]  # (17.5)
    else:
        t = [*steps]
    if not t or any(s >= u for u, s in pairwise([T + 1, *t, 0])):
        raise ValueError(f"steps = {t}: pass decreasing times in 1..{T}")
    s = np.array([*t[1:], 0])
    return np.array(t), s


def table_of(
    schedule: Schedule,
    t: Int[np.ndarray, " n"],
    s: Int[np.ndarray, " n"],
    prediction: str,
    *columns: Float[np.ndarray, " n"] | float,
) -> Table:
    """The table with the given columns a, b, c, d, e, m, and with the p and q of `prediction`.

    A column is an array with one number per row, or one number for all rows. `prediction` is the
    output of the network: "eps", "x0" or "v".
    """
    p, q = np.array([x0_coefficients(int(u), schedule, prediction) for u in t]).T
    rows = np.stack(np.broadcast_arrays(p, q, *columns), 1)
    return Table(t, s, rows)


def ddpm(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: str = "eps"
) -> Table:
    """The table of ancestral sampling: the posterior of step 4, from each t to an earlier s."""
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    alpha = abar_t / abar_s  # (17.4)
    rho = (1 - abar_s) / (1 - abar_t)
    a = np.sqrt(abar_s) * (1 - alpha) / (1 - abar_t)
    b = np.sqrt(alpha) * rho
    c = np.sqrt((1 - alpha) * rho)
    return table_of(schedule, t, s, prediction, a, b, c, 0.0, 0.0, 1.0)


def run_steps(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    clip: float = np.inf,
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Run a table and yield `(t, x_t)`, from noise at `table.t[0]` to the sample at 0.

    There is one chain for each label of `y`, in 0..K, where K is the null label. Guesses are
    clipped to `[-clip, clip]`; `clip` is positive, and inf clips nothing. `rng` draws once at the
    start and once in each row, also if c = 0. The output for the null label is computed only in
    rows that use it.
    """
    if not clip > 0:
        raise ValueError(f"clip = {clip} is not above 0 (inf: no clipping)")
    xt = rng.standard_normal((len(y), 2))
    null = np.full_like(y, model.num_classes)
    x0prev = 0.0
    yield int(table.t[0]), xt
    for t, s, (p, q, a, b, c, d, e, m) in zip(table.t, table.s, table.rows, strict=True):
        g_y = model(xt, int(t), y)
        null_is_used = m * w != 0 or d != 0
        g_null = model(xt, int(t), null) if null_is_used else g_y
        g = guide(g_y, g_null, m * w)  # (17.1)
        x0hat = np.clip(p * xt + q * g, -clip, clip)  # (17.2)
        z = rng.standard_normal(xt.shape)
        xt = a * x0hat + b * xt + d * g_null + e * x0prev + c * z  # (17.3)
        x0prev = x0hat
        yield int(s), xt


def run(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    clip: float = np.inf,
) -> Float[np.ndarray, "n 2"]:
    """One sample for each label in `y`: the last state of `run_steps`."""
    _, x = last(run_steps(model, y, table, w, rng, clip))
    return x


def q_xs_given_xt_x0(
    xt: Float[np.ndarray, "*n D"],
    x0: Float[np.ndarray, "*n D"],
    t: int,
    s: int,
    c: float,
    schedule: Schedule,
) -> Gaussian:
    """The step from `x_t` to `x_s` if the data point is known.

    `t` is in 1..T and `s` in 0..t - 1. The standard deviation of the new noise is `c`. Its square
    is at most the variance of the noise at s.
    """
    schedule.check_t(t)
    if not 0 <= s < t:
        raise ValueError(f"s = {s} is outside 0..{t - 1}: a step leads from t to an earlier time")
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    if not 0 <= c**2 <= 1 - abar_s:
        raise ValueError(f"c = {c}: its square is above the noise variance at s, {1 - abar_s:.6g}")
    eps = (xt - np.sqrt(abar_t) * x0) / np.sqrt(1 - abar_t)  # (17.6)
    old = 1 - abar_s - c**2
    mean = np.sqrt(abar_s) * x0 + np.sqrt(old) * eps
    return Gaussian(mean, float(c**2))  # (17.7)


def q_xs_given_x0(
    x0: Float[np.ndarray, "*n D"], t: int, s: int, c: float, schedule: Schedule
) -> Gaussian:
    """The distribution of `x_s` after this step, if `x_t` has the distribution of step 3.

    The step is linear in `x_t`, so the mean of `x_t` goes to the mean of `x_s`.
    """
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    step = q_xs_given_xt_x0(np.sqrt(abar_t) * x0, x0, t, s, c, schedule)
    slope = np.sqrt((1 - abar_s - c**2) / (1 - abar_t))
    var = slope**2 * (1 - abar_t) + step.var  # (17.8)
    return Gaussian(step.mean, float(var))


def ddim(
    schedule: Schedule,
    steps: int | Sequence[int] | None = None,
    eta: float = 0.0,
    prediction: str = "eps",
) -> Table:
    """The table of DDIM for `eta` in 0..1: 0 adds no noise, and 1 is ancestral sampling."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta = {eta} is outside 0..1")
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    alpha = abar_t / abar_s
    rho = (1 - abar_s) / (1 - abar_t)
    c = eta * np.sqrt((1 - alpha) * rho)  # (17.9)
    b_squared = (1 - eta**2) * rho + eta**2 * alpha * rho**2  # (17.12)
    b = np.sqrt(b_squared)  # (17.10), in a form without cancellation
    a = np.sqrt(abar_s) - b * np.sqrt(abar_t)  # (17.11)
    return table_of(schedule, t, s, prediction, a, b, c, 0.0, 0.0, 1.0)


def chain_var(table: Table, schedule: Schedule, var: float) -> float:
    """The variance of the samples, if the data are Gaussian with variance `var` in one dimension.

    The guess is exact and not clipped. The table may look back (e), but d must be 0.
    """
    cov = np.diag([1.0, 0.0])  # P, of the state and the previous guess
    for t, (_, _, a, b, c, _, e, _) in zip(table.t, table.rows, strict=True):
        abar = schedule.alpha_bar[t]
        C = abar * var + 1 - abar
        J = np.sqrt(abar) * var / C
        M = np.array([[a * J + b, e], [J, 0]])
        cov = M @ cov @ M.T + np.diag([c**2, 0])  # (17.13)
    return float(cov[0, 0])


def run_with_stale_eps(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    schedule: Schedule,
    w: float,
    rng: Normals,
    clip: float,
) -> Float[np.ndarray, "n 2"]:
    """The mistake: `run` for a table of `ddim`, with the eps of the guess before clipping."""
    xt = rng.standard_normal((len(y), 2))
    null = np.full_like(y, model.num_classes)
    for t, (p, q, a, b, c, _, _, _) in zip(table.t, table.rows, strict=True):
        g = guide(model(xt, int(t), y), model(xt, int(t), null), w)
        x0hat = p * xt + q * g
        clipped = np.clip(x0hat, -clip, clip)
        z = rng.standard_normal(xt.shape)
        jump = b * np.sqrt(schedule.alpha_bar[t]) * (clipped - x0hat)  # (17.14)
        xt = a * clipped + b * xt + c * z + jump
    return xt


def noise_variances(schedule: Schedule) -> Float[np.ndarray, " n"]:
    """tau for t = 0..T: the variance of the noise in states divided by the factor of the data."""
    return (1 - schedule.alpha_bar) / schedule.alpha_bar


def ddim_without_noise(
    bar_x: Float[np.ndarray, "n 2"],
    eps: Float[np.ndarray, "n 2"],
    t: int,
    s: int,
    schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:
    """The row of DDIM at eta = 0 for states that are divided by the factor of the data."""
    tau = noise_variances(schedule)
    return bar_x + (np.sqrt(tau[s]) - np.sqrt(tau[t])) * eps  # (17.15)


def flow_velocity(eps: Float[np.ndarray, "n D"], tau: float) -> Float[np.ndarray, "n D"]:
    """The velocity of these states with respect to tau, for the prediction `eps` of the noise."""
    return eps / (2 * np.sqrt(tau))  # (17.16)


def change_of_density(
    density: Callable[[Float[np.ndarray, "n D"]], Float[np.ndarray, " n"]],
    velocity: Callable[[Float[np.ndarray, "n D"]], Float[np.ndarray, "n D"]],
    x: Float[np.ndarray, "n D"],
    h: float = 1e-3,
) -> Float[np.ndarray, " n"]:
    """The change at `x` of the density of moving points, by differences over a distance `h`."""
    change = np.zeros(len(x))
    for k in range(x.shape[1]):
        move = np.zeros(x.shape[1])
        move[k] = h
        ahead = density(x + move) * velocity(x + move)[:, k]
        behind = density(x - move) * velocity(x - move)[:, k]
        change -= (ahead - behind) / (2 * h)  # (17.17)
    return change


def quantiles_of_two_classes(
    fraction: Float[np.ndarray, " n"], var: float
) -> Float[np.ndarray, " n"]:
    """The quantiles of an equal mixture of N(1, var) and N(-1, var), by bisection."""
    high = np.full_like(fraction, 1 + 9 * np.sqrt(var))
    low = -high
    for _ in range(60):
        middle = (low + high) / 2
        below = (ndtr((middle - 1) / np.sqrt(var)) + ndtr((middle + 1) / np.sqrt(var))) / 2
        low = np.where(below < fraction, middle, low)
        high = np.where(below < fraction, high, middle)
    return (low + high) / 2


def distance_without_noise(steps: int) -> float:
    """The mean distance of 400 samples of two classes, at eta = 0, from where they should end.

    The means are 1 and -1 on the first axis, the variance is 1/4, and no label is given. A start
    at a quantile of the normal distribution should end at the same quantile of the data.
    """
    schedule = Schedule.cosine(1000)
    means = np.array([[1.0, 0.0], [-1.0, 0.0]])
    covs = np.stack([np.eye(2) / 4] * 2)
    data = GaussianMixture(means, covs, np.array([0.5, 0.5]))
    model = oracle_eps(data, schedule)
    null = np.full(400, data.num_classes)
    fraction = (np.arange(400) + 0.5) / 400
    signal = np.sqrt(schedule.alpha_bar)
    start = np.stack([ndtri(fraction), np.zeros(400)], axis=1)
    bar_x = start / signal[schedule.T]
    for t, s in zip(*times(schedule, steps), strict=True):
        eps = model(signal[t] * bar_x, int(t), null)
        bar_x = ddim_without_noise(bar_x, eps, int(t), int(s), schedule)
    ends = quantiles_of_two_classes(fraction, 0.25)
    return float(np.abs(bar_x[:, 0] - ends).mean())


def heights(table: Table, schedule: Schedule) -> tuple[float, float]:
    """The mean height of 1000 samples of class 0 of step 1, by `run` and with the mistake.

    The weight is w = 1, and guesses are clipped to [-2, 2]. The mean of the class has height 1.5.
    """
    model = oracle_eps(three_gaussians(), schedule)
    y = np.zeros(1000, int)
    right = run(model, y, table, 1.0, np.random.default_rng(0), 2.0)
    wrong = run_with_stale_eps(model, y, table, schedule, 1.0, np.random.default_rng(0), 2.0)
    return float(right[:, 1].mean()), float(wrong[:, 1].mean())


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step17_solvers")
