"""What a comparison of seeds is held to: margin, level, and a spread known from outside."""

from dataclasses import dataclass

from verifier.units import bits_per_byte


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedNoise:
    """The spread between seeds, known from many records."""

    std_bpb: float
    degrees_of_freedom: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What a comparison is held to.

    The margin is per token, and a token is a different amount of text for each tokenizer: it is
    converted with the challenger's own tokens and bytes, as submissions do (a challenger states its
    gain in its own nats). 0.005 nats a token are 0.0030 BPB for sp1024 and 0.0019 for sp8192.
    """

    margin_nats_per_token: float
    num_tokens: float
    """Tokens that the challenger's evaluation scores."""
    num_bytes: float
    """Bytes of text that those tokens stand for."""
    alpha: float
    noise: SeedNoise | None = None
    claimed_std_bpb: float | None = None
    """The deviation stated for these very challenger values, to catch a population's (ddof 0)."""

    @property
    def margin_bpb(self) -> float:
        """The margin in BPB of the challenger's tokenizer."""
        return bits_per_byte(self.margin_nats_per_token, self.num_tokens, self.num_bytes)
