"""A test of one sample of seeds against another: what it says, and in a verdict also of whom."""

from typing import Literal

from verifier.schemas.base import StrictModel


class ComparedSamples(StrictModel):
    """Whose seeds a test compares, and which test it is."""

    prior: str
    computed_from: Literal["claims", "measurements"]
    test: str
    challenger_bpb: tuple[float, ...]
    prior_bpb: tuple[float, ...]


class Significance(StrictModel):
    """How sure it is that the challenger beats the prior by more than the margin.

    Attributes:
        gain_bpb: prior mean less challenger mean; None when a score is missing.
        margin_bpb: the margin in BPB of the challenger's tokenizer.
        margin_nats_per_token: the same margin as the rule states it.
        p_value: of the primary test; None when it is not computable, and a warning says why.
        alpha: the level that p_value is held against.
        passed: p_value < alpha; None when not computable, which is never a pass.
        ci_low: lower end of the two-sided 95 % interval of the gain (margin not subtracted), BPB.
        ci_high: its upper end.
        degrees_of_freedom: Welch and Satterthwaite's.
        smallest_p: the smallest p that a permutation test reaches with so many seeds, one over the
            number of ways to split them. Welch's p has no such floor: below smallest_p it rests on
            the normal distribution of seeds, not on the data's ranks alone.
        seeds_for_80_power: challenger seeds with which this gain and these spreads would pass four
            times in five, the prior's seeds as they are; None when 100 do not suffice.
        external_p_value: of the test with a spread given from outside; None when none was given,
            or when it does not fit these samples.
        warnings: what a reader must know before trusting the above, one sentence each.
    """

    gain_bpb: float | None
    margin_bpb: float
    margin_nats_per_token: float
    p_value: float | None
    alpha: float
    passed: bool | None
    ci_low: float | None
    ci_high: float | None
    degrees_of_freedom: float | None
    smallest_p: float | None
    seeds_for_80_power: int | None
    external_p_value: float | None
    warnings: tuple[str, ...] = ()


class SignificanceRecord(Significance, ComparedSamples):
    """The test against the prior record; `computed_from` says whether on claims or runs."""
