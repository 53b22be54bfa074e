"""What all files of ours have in common: strict, frozen, every key known."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A record on disk that we own: unknown keys are errors, values do not change."""

    # A validator is built when it is first needed: a paper check needs those of a run nowhere.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Quantity(StrictModel):
    """A number that a rule depends on, with its unit and where it comes from."""

    value: float
    unit: str
    source: str
