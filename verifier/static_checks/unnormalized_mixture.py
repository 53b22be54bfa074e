"""The realised token's probability mixed with a count: no distribution over the vocabulary."""

from verifier.data_flow.trace import Oddity
from verifier.data_flow.values import HASHED, MIXTURE, NATIVE, SELF_WEIGHTED, SPREAD, TOKEN_BLIND
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result

MESSAGES = {
    HASHED: "the realised token's probability is mixed with a count found under a hash of context "
    "and token; nothing makes the mixture sum to one over the vocabulary",
    SPREAD: "a token's probability is spread over its bytes and mixed with a model of bytes; "
    "that is no distribution over tokens",
    TOKEN_BLIND: "an entropy stands among the mixed experts' losses: as a loss it gives every "
    "token the same probability, and these do not sum to one",
    SELF_WEIGHTED: "the weights of the mixture depend on the realised token's own loss, so that "
    "what it gives the tokens does not sum to one",
    NATIVE: "native code makes the score from the realised tokens' losses alone; no distribution "
    "over the vocabulary reaches it",
}


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Counts under exact contexts can sum to one: those are left open."""
    mixtures = case.trace.claimed_oddities(MIXTURE)
    findings = [finding for mixture in mixtures if (finding := _finding(mixture))]
    if mixtures and not findings:
        place = mixtures[0].place
        return cannot_tell(
            f"{place.file}:{place.line} mixes the realised token's probability with a count; "
            "whether the whole sums to one cannot be read off the code"
        )
    return flow_result(case.trace, findings)


def _finding(mixture: Oddity) -> Finding | None:
    message = next((text for mark, text in MESSAGES.items() if mark in mixture.marks), None)
    if message is None:
        return None
    place = mixture.place
    return Finding(message=message, file=place.file, line=place.line, evidence=place.code)
