"""What evaluation scored must be had token by token too, within the noise of the arithmetic."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.stream_record_json import NO_STREAM, StreamRecord


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Lower losses than ours break it, one by one or on average; higher ones are the author's."""
    streams = case.evidence.streams if case.evidence else ()
    if not streams:
        return not_offered("nothing was scored token by token; --rung stream does it")
    if streams[0].not_evaluated == NO_STREAM:
        return not_offered(f"{NO_STREAM}; docs/stream.md shows one")
    if not case.hides_validation:
        return cannot_tell("the sandbox does not hide the validation data from whoever predicts it")
    answers = [_answer(stream, rule.parameters) for stream in streams]
    open_answers = [answer for answer in answers if isinstance(answer, str)]
    return CheckResult(
        findings=tuple(answer for answer in answers if isinstance(answer, Finding)),
        not_evaluated=open_answers[0] if open_answers else None,
    )


def _answer(stream: StreamRecord, numbers: dict[str, float]) -> Finding | str | None:
    """One seed: a finding, why it cannot be told, or None for nothing wrong."""
    if stream.not_evaluated or stream.broken:
        return f"seed {stream.seed}: {stream.not_evaluated or stream.broken}"
    mean, error = stream.gain_nats, stream.gain_error_nats
    largest, median = stream.largest_gain_nats, stream.median_difference_nats
    if mean is None or error is None or largest is None or median is None:
        return f"seed {stream.seed}: its evaluation wrote no losses that ours could be set beside"
    noise_nats = max(numbers["tolerance_nats"], numbers["noise_factor"] * median)
    limit_nats = numbers["tolerance_nats"] + numbers["standard_errors"] * error
    if largest <= noise_nats and mean <= limit_nats:
        is_cut = stream.num_targets < stream.num_drawn
        are_few = stream.num_documents < numbers["min_documents"]
        if is_cut and (are_few or stream.num_targets < numbers["min_share"] * stream.num_drawn):
            return (
                f"seed {stream.seed}: time ran out after {stream.num_documents} documents, "
                f"{stream.num_targets:,} tokens of {stream.num_drawn:,}; offer more lanes in "
                "pgolf.yaml, or a faster stream"
            )
        return None
    told = f"on average {mean:.3g}, at most {largest:.3g} nats lower than ours"
    return Finding(
        message=f"seed {stream.seed}: its losses of {stream.num_compared:,} tokens are {told}",
        file=f"stream_{stream.seed}/stream.json",
        evidence=f"streamed {stream.loss_nats:.6f}, evaluated {stream.evaluated_nats:.6f} nats a "
        f"token; the noise allows {noise_nats:.2g} for one and {limit_nats:.2g} on average",
    )
