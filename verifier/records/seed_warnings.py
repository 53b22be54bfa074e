"""What looks wrong with the scores of a few seeds, before any test of them means something."""

import math
from collections.abc import Sequence
from statistics import median, pstdev, variance

from verifier.records.comparison_settings import ComparisonSettings, SeedNoise

OUTLIER_STDS = 5.0
"""A seed this far from its median is another mode: the largest honest distance is 3 (#1204)."""


def seed_warnings(
    challenger: Sequence[float], prior: Sequence[float], settings: ComparisonSettings
) -> tuple[str, ...]:
    """All that is suspicious, a sentence each; it informs and never decides."""
    found = [claimed_population_std(challenger, settings.claimed_std_bpb)]
    for name, values in (("challenger", challenger), ("prior", prior)):
        found += [_repeated_values(name, values), _far_seeds(name, values, settings.noise)]
    return tuple(warning for warning in found if warning)


def claimed_population_std(values: Sequence[float], claimed: float | None) -> str | None:
    """A warning when a stated deviation is a population's (ddof 0) of the values it is stated for.

    That slip is behind three published p-values (#2146): it makes a t-test's p too small.
    """
    if claimed is None or len(values) < 2 or not all_finite(values):
        return None
    population, sample = pstdev(values), math.sqrt(variance(values))
    rounding = 5e-6  # deviations are stated with five decimals or more
    if abs(claimed - population) > rounding or abs(claimed - sample) <= rounding:
        return None
    return (
        f"the challenger states the deviation {claimed:.5f}, which is the population's (ddof 0);"
        f" its sample deviation is {sample:.5f}, and tests need that one"
    )


def _repeated_values(name: str, values: Sequence[float]) -> str | None:
    if len(set(values)) == len(values):
        return None
    return f"seeds of the {name} share a score to the last digit: they may not be separate runs"


def _far_seeds(name: str, values: Sequence[float], noise: SeedNoise | None) -> str | None:
    """Bimodal or collapsed seeds, seen against the outside spread; three say little by themselves.

    Public configurations fall into another mode by seed alone (1.069 or 1.121, #1886).
    """
    if noise is None or len(values) < 2 or not all_finite(values):
        return None
    limit = OUTLIER_STDS * noise.std_bpb
    far = [value for value in sorted(values) if abs(value - median(values)) > limit]
    if not far:
        return None
    listed = ", ".join(f"{value:.5f}" for value in far)
    return (
        f"of the {name}'s seeds {listed} lie over {limit:.4f} BPB from the median: two modes or a"
        " collapse, which means and deviations do not describe"
    )


def all_finite(values: Sequence[float]) -> bool:
    """Whether every score is a number."""
    return all(math.isfinite(value) for value in values)
