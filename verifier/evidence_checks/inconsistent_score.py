"""A score of our own runs against what it was made from: tokens, bytes and per-token losses."""

from verifier.evidence_checks.base import EvidenceCase, log_file
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SeedMeasurement, TokenLosses

SEQUENCE_STEP = 64
"""Lengths of sequences are multiples of this many tokens, as attention's kernels want them."""


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Losses that are none, or add up to another score, break the rule; odd bytes raise doubt."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    known = {family.scored_tokens: family.scored_bytes for family in case.track.dataset.families}
    findings, doubts = [], []
    for seed in case.completed:
        flaw = _flaw(
            seed.token_losses, set(known), rule.parameters["longest_sequence_tokens"]
        ) or _contradiction(seed, rule.parameters["max_difference_bpb"])
        if flaw:
            findings.append(Finding(message=f"seed {seed.seed}: {flaw}", file=log_file(seed)))
        elif doubt := _doubt(seed, known, rule.parameters["tolerance_relative"]):
            doubts.append(f"seed {seed.seed}: {doubt}")
    return CheckResult(findings=tuple(findings), not_evaluated=doubts[0] if doubts else None)


def _flaw(losses: TokenLosses | None, customary: set[int], longest_sequence: float) -> str | None:
    """Why a file of losses cannot be what a model gave for the validation tokens.

    Args:
        losses: the file; None where there is none.
        customary: counts that the track takes for the whole, with or without a tail.
        longest_sequence: tokens; a rest shorter than a sequence may be left out, and the score is
            then the printed one.
    """
    if losses is None:
        return None
    whole = _in_whole_sequences(losses, int(longest_sequence))
    if not whole and losses.num_losses not in customary | {losses.num_tokens}:
        return f"{losses.num_losses:,} losses were written for {losses.num_tokens:,} tokens"
    if losses.mean_nats is None:
        return "a token's loss is negative, infinite or no number"
    if losses.all_alike:
        return f"all {losses.num_losses:,} tokens have the same loss"
    return None


def _in_whole_sequences(losses: TokenLosses, longest: int) -> bool:
    """Whether what was left out is shorter than some sequence that the rest divides into."""
    left_out = losses.num_tokens - losses.num_losses
    lengths = range(SEQUENCE_STEP, longest + 1, SEQUENCE_STEP)
    return any(0 <= left_out < length and losses.num_losses % length == 0 for length in lengths)


def _contradiction(seed: SeedMeasurement, max_difference_bpb: float) -> str | None:
    """The printed score against the one that we added up."""
    if seed.score_origin != "token_losses" or seed.val_bpb is None or seed.script_val_bpb is None:
        return None
    if abs(seed.val_bpb - seed.script_val_bpb) <= max_difference_bpb:
        return None
    return (
        f"{seed.script_val_bpb:.5f} BPB was printed, the losses of its tokens come to "
        f"{seed.val_bpb:.5f}"
    )


def _doubt(seed: SeedMeasurement, known: dict[int, int | None], tolerance: float) -> str | None:
    """Bytes that loss and BPB imply, where nothing better is known than what was printed."""
    num_bytes = known.get(seed.scored_tokens or 0)
    if seed.score_origin != "printed" or num_bytes is None or seed.implied_bytes is None:
        return None
    if abs(seed.implied_bytes / num_bytes - 1) <= tolerance:
        return None
    return (
        f"its tokens, loss and BPB imply {seed.implied_bytes:,.0f} bytes of text, "
        f"there are {num_bytes:,}"
    )
