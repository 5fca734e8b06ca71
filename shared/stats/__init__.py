"""The mathematics: pure functions, no I/O, no framework; moments or NumPy arrays in, named tuples out.

What cannot be estimated is `nan` inside a result, and `reason` says why; whoever sends it on turns it into null.

=====================  =============================================================================
module                 what it answers
=====================  =============================================================================
`interval`             `Interval`: estimate, low, high, p, standard error, method, reason
`moments`              `Moments` of one arm; zeros of untouched customers merged; groups pooled
`means`                difference of two arms, plain (Welch) or stratified
`ratio`                relative effect: the ratios that the test of the difference does not reject
`skew_correction`      Hall's transformation, for bounds far out in the tail
`sequential`           confidence sequence in intrinsic time, for open enrolment
`group_sequential`     alpha spending and its bounds when increments are independent
`correlated_looks`     bounds when the looks' correlation is estimated: one blast to a frozen list
`randomisation`        seeded studentised test that replays the draw
`small_sample`         when there is no verdict, and when a warning
`smallest_alpha`       sequential p-values
`designs`              designs, plans, evidence and looks: what `looks` takes and gives (import them from there)
`looks`                the rule that turns looks into a verdict, used by services and simulations alike
`sample_ratio`         do the arms have the sizes they should have
`multiplicity`         Holm, Benjamini-Hochberg
=====================  =============================================================================

Signatures::

    interval.Interval(estimate, low, high, p_value, standard_error, method, reason=None)
    interval.unknown(reason, method="", estimate=nan) -> Interval

    moments.Moments(n, mean, variance, third, responders)       # third: central, mean of (y - mean)**3
    moments.EMPTY
    moments.of_values(values, n=None) -> Moments                # n - len(values) further customers are zeros
    moments.of_successes(n, successes) -> Moments
    moments.with_zeros(n, responders, mean, variance, mean_cube=nan) -> Moments
        # SQL over non-zero customers: count, avg, var_samp, avg(y^3); the other n - responders are zeros
    moments.merged(groups) -> Moments                           # groups of customers pooled into one
    moments.shifted(found, by) -> Moments                       # profit: a known cost for every customer of the arm

    means.Stratum(control, treatment)                           # Moments of both arms
    means.Difference(estimate, standard_error, skewness, degrees, control: Mean, treatment: Mean)
    means.Mean(estimate, standard_error, third=nan)             # third cumulant of the estimate
    means.difference(strata) -> Difference                      # one stratum: Welch's; several: weighted by size
    means.standard_error(variance, control_size, treatment_size) -> float        # planned
    means.fixed(difference, level=, method=) -> Interval        # fixed horizon

    ratio.relative(difference, quantiles) -> Interval           # treatment / control - 1
    ratio.behind(difference, low, high) -> Quantiles            # of an interval; Quantiles: skewness -> (low, high)

    sequential.planned_ratio(alpha) -> float
    sequential.mixture_variance(planned_standard_error, alpha) -> float          # tau squared, frozen at start
    sequential.critical_value(standard_error, tau_squared, alpha) -> float
    sequential.p_value(z, standard_error, tau_squared) -> float
    sequential.around(difference, bound) -> tuple[float, float]                  # skewness taken out

    skew_correction.corrected(statistic, skewness) -> float / uncorrected(value, skewness) -> float
    skew_correction.limits(bound, skewness) -> tuple[float, float]

    group_sequential.Spending: QUADRATIC "quadratic", OBRIEN_FLEMING "obrien_fleming", POCOCK "pocock"
    group_sequential.spent(spending, fraction, alpha) -> float
    group_sequential.bounds(information, increments) -> tuple[float, ...]
    group_sequential.next_bound(information, past_bounds, increment) -> float

    correlated_looks.Products(n, sums, products)                # arrays (k,), (k, k): sum of y_d and of y_d * y_d'
    correlated_looks.correlation(strata: Sequence[tuple[Products, Products]]) -> array (k, k)   # control, treatment
    correlated_looks.bounds(correlation, increments) / next_bound(correlation, past_bounds, increment)

    randomisation.Block(control_size, treatment_size, control, treatment)        # arrays of the non-zero values
    randomisation.together(blocks) -> Block                                      # of a hash split
    randomisation.Draw(blocks, shift=0.0)
    randomisation.compare(draw, seed=, draws=2000, level=0.05, stop_after=None) -> Randomisation

    small_sample.Kind: PROPORTION, COUNT, MONEY (revenue and profit)
    small_sample.too_few(kind, control, treatment) -> str | None       # the reason why there is no verdict
    small_sample.skewness_warning(control, treatment) -> str | None

    looks.Design: ONE_BLAST "one_blast", STAGGERED "staggered", OPEN_ENROLMENT "open_enrolment"
    looks.Plan(design, alpha=0.05, spending=QUADRATIC, planned_standard_error=nan)      # frozen at start
    looks.Evidence(strata, kind, fraction=nan, final=False, correlation=None, draw=None, seed=0)
    looks.PastLook(clock, fraction, bound, statistic, p_value)    # five floats to store (bound may be infinite)
    looks.Look(bound, fraction, spent, clock, statistic, p_value, interval, relative, crossed, decided, final,
               overstated, too_few, warning)   # .as_past() -> PastLook; .interval.reason says why there is no verdict
    looks.decide(plan, past: Sequence[PastLook], evidence, quick=False) -> Look

    sample_ratio.chi_square(observed, weights) -> SampleRatio(p_value, statistic, failed)
    sample_ratio.by_regime(regimes: [(observed, weights)]) -> SampleRatio
    sample_ratio.sequential_p_value(observed, weights, so_far=1.0) -> float
    sample_ratio.exact_counts(observed, expected) -> bool

    multiplicity.holm(p_values) / benjamini_hochberg(p_values) -> list[float]           # adjusted, nan stays nan

How a look is made, by design (`looks.decide` does all of it, the caller brings figures):

- one blast: `strata` of "effect by day d" on everyone, `fraction` = d / window, `correlation` over all past looks and
  this one in order, `final` on the last day; money also brings `draw` and `seed`. The `Products` behind the correlation
  take each look's values as they were known then, or as recounted since if the look waited for the usual arrival lag.
- staggered: `strata` of mature customers; `fraction` = their share of the list; `plan.planned_standard_error` is that
  of the full list; `final` at the end; money also brings `draw` (of the mature customers) and `seed`.
- open enrolment: `strata` of everyone enrolled; `plan.planned_standard_error` is that at the planned size.

Several arms: call `decide` per treatment arm, then Holm over the looks' `p_value` (sequential: they never rise).
"""
