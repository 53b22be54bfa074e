"""Is one sample of seeds better than another? Plain floats in, one frozen answer out.

Scores are bits per byte (BPB), lower is better, one value a seed. The primary test is Welch's, one
sided, with a margin, on the raw values and with sample variances (ddof 1). Everything beside it
informs and never decides.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from verifier.errors import UsageError
from verifier.records.comparison_settings import ComparisonSettings, SeedNoise
from verifier.records.seed_warnings import all_finite, seed_warnings
from verifier.schemas.significance_json import Significance

WELCH = "one-sided Welch t-test"
CONFIDENCE = 0.95
"""Level of the interval of the gain, two sided whatever the test's alpha."""
POWER = 0.8
"""The usual planning target: four clear gains in five are found."""
MAX_SEEDS = 100
"""Seeds beyond which a plan is called unreachable; no public record ran more than seven."""
SPREAD_ALPHA = 0.01
"""Level below which a sample's own spread contradicts the spread given from outside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalVarianceTest:
    """The t-test that takes the spread between seeds from outside, beside the primary test."""

    std_bpb: float
    degrees_of_freedom: float
    p_value: float | None
    """None when refused."""
    refused: str | None
    """Why the outside spread does not fit these samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WelchError:
    """The uncertainty of a difference of two means."""

    standard_error: float
    degrees_of_freedom: float
    """Welch and Satterthwaite's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Welch:
    """A difference of two means with its uncertainty."""

    gain: float
    error: WelchError


def compare_samples(
    challenger: Sequence[float], prior: Sequence[float], settings: ComparisonSettings
) -> Significance:
    """Whether the challenger's seeds beat the prior's by more than the margin.

    Args:
        challenger: BPB of each seed, every seed that was run.
        prior: BPB of each seed of the record to beat.
        settings: margin, level and what is known from outside.

    Raises:
        UsageError: the settings make no sense (alpha outside (0, 1), no tokens or bytes, …).
    """
    _require_sensible(settings)
    margin_bpb = settings.margin_bpb
    obstacle = _obstacle("challenger", challenger) or _obstacle("prior", prior)
    welch = None if obstacle else _welch(challenger, prior)
    p_value = _p_value(welch, margin_bpb) if welch else None
    ci_low, ci_high = _interval(welch) if welch else (None, None)
    needed = _seeds_needed(challenger, prior, margin_bpb, settings.alpha) if welch else None
    external = external_variance_test(challenger, prior, settings)
    return Significance(
        gain_bpb=_gain(challenger, prior),
        margin_bpb=margin_bpb,
        margin_nats_per_token=settings.margin_nats_per_token,
        p_value=p_value,
        degrees_of_freedom=welch.error.degrees_of_freedom if welch else None,
        ci_low=ci_low,
        ci_high=ci_high,
        alpha=settings.alpha,
        passed=None if p_value is None else p_value < settings.alpha,
        smallest_p=1 / math.comb(len(challenger) + len(prior), len(prior)),
        seeds_for_80_power=needed,
        external_p_value=external.p_value if external else None,
        warnings=(
            *((f"not computable: {obstacle}",) if obstacle else ()),
            *seed_warnings(challenger, prior, settings),
        ),
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's interval of the mean at CONFIDENCE; None where there is no finite spread."""
    if len(values) < 2 or not all_finite(values):
        return None
    from scipy import special

    error = stdev(values) / math.sqrt(len(values))
    half = error * float(special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    mean = fmean(values)
    return mean - half, mean + half


def _require_sensible(settings: ComparisonSettings) -> None:
    if not 0 < settings.alpha < 1:
        raise UsageError(f"alpha is {settings.alpha}; it must lie between 0 and 1")
    if not (settings.num_tokens > 0 and settings.num_bytes > 0):
        raise UsageError("the margin needs the challenger's scored tokens and bytes, both above 0")
    if not 0 <= settings.margin_nats_per_token < math.inf:
        raise UsageError(f"the margin is {settings.margin_nats_per_token} nats; it must be >= 0")
    if settings.noise and min(settings.noise.std_bpb, settings.noise.degrees_of_freedom) <= 0:
        raise UsageError("the outside spread and its degrees of freedom must be above 0")


def _obstacle(name: str, values: Sequence[float]) -> str | None:
    """Why no variance can be had from these seeds; None when one can."""
    if not all_finite(values):
        return f"a seed of the {name} has no finite score"
    if len(values) < 2:
        return f"the {name} has {len(values)} seed(s); a spread needs at least 2"
    if min(values) == max(values):
        return f"the {name}'s {len(values)} seeds score identically, so they show no spread"
    return None


def _gain(challenger: Sequence[float], prior: Sequence[float]) -> float | None:
    if not challenger or not prior or not all_finite([*challenger, *prior]):
        return None
    return fmean(prior) - fmean(challenger)


def _welch(challenger: Sequence[float], prior: Sequence[float]) -> _Welch:
    error = welch_error((variance(challenger), variance(prior)), (len(challenger), len(prior)))
    return _Welch(gain=fmean(prior) - fmean(challenger), error=error)


def welch_error(variances: tuple[float, float], sizes: tuple[int, int]) -> WelchError:
    """How uncertain the difference of two samples' means is, without assuming equal spreads."""
    a, b = variances[0] / sizes[0], variances[1] / sizes[1]
    degrees = (a + b) ** 2 / (a**2 / (sizes[0] - 1) + b**2 / (sizes[1] - 1))
    return WelchError(standard_error=math.sqrt(a + b), degrees_of_freedom=degrees)


def _p_value(welch: _Welch, margin_bpb: float) -> float:
    """Probability of so large a gain if the true gain were the margin."""
    from scipy import special

    t = (welch.gain - margin_bpb) / welch.error.standard_error
    return float(special.stdtr(welch.error.degrees_of_freedom, -t))


def _interval(welch: _Welch) -> tuple[float, float]:
    from scipy import special

    quantile = float(special.stdtrit(welch.error.degrees_of_freedom, (1 + CONFIDENCE) / 2))
    reach = quantile * welch.error.standard_error
    return welch.gain - reach, welch.gain + reach


def _seeds_needed(
    challenger: Sequence[float], prior: Sequence[float], margin_bpb: float, alpha: float
) -> int | None:
    """Challenger seeds for 80 % power if gain and spreads are what they seem.

    Power is that of Welch's test by the noncentral t distribution. The prior's seeds stay as they
    are, so its own uncertainty may put the target out of reach.
    """
    from scipy import special

    excess = fmean(prior) - fmean(challenger) - margin_bpb
    variances = variance(challenger), variance(prior)
    for num_seeds in range(2, MAX_SEEDS + 1):
        error = welch_error(variances, (num_seeds, len(prior)))
        critical = float(special.stdtrit(error.degrees_of_freedom, 1 - alpha))
        shift = excess / error.standard_error
        missed = float(special.nctdtr(error.degrees_of_freedom, shift, critical))
        if 1 - missed >= POWER:
            return num_seeds
    return None


def external_variance_test(
    challenger: Sequence[float], prior: Sequence[float], settings: ComparisonSettings
) -> ExternalVarianceTest | None:
    """The t-test with the spread of `settings.noise`: with it one seed a side suffices."""
    gain, noise = _gain(challenger, prior), settings.noise
    if noise is None or gain is None:
        return None
    from scipy import special

    refused = _contradiction("challenger", challenger, noise) or _contradiction(
        "prior", prior, noise
    )
    error = noise.std_bpb * math.sqrt(1 / len(challenger) + 1 / len(prior))
    p_value = float(special.stdtr(noise.degrees_of_freedom, -(gain - settings.margin_bpb) / error))
    return ExternalVarianceTest(
        std_bpb=noise.std_bpb,
        degrees_of_freedom=noise.degrees_of_freedom,
        p_value=None if refused else p_value,
        refused=refused,
    )


def _contradiction(name: str, values: Sequence[float], noise: SeedNoise) -> str | None:
    """Why a sample is too wide for the outside spread: the upper tail of chi-square."""
    if len(values) < 2:
        return None
    from scipy import special

    degrees = len(values) - 1
    tail = float(special.chdtrc(degrees, degrees * variance(values) / noise.std_bpb**2))
    if tail >= SPREAD_ALPHA:
        return None
    return (
        f"the {name}'s own deviation {math.sqrt(variance(values)):.5f} contradicts the outside"
        f" {noise.std_bpb:.5f} BPB (chi-square p = {tail:.2g})"
    )
