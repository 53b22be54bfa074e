"""compare: is one sample of scores better than another?"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from verifier.claims.seed_by_seed import collect_claims
from verifier.commands.options import Options, result_console
from verifier.commands.records import load_with_ledger, seed_noise
from verifier.errors import UsageError
from verifier.intake.submission import load_submission
from verifier.records.ledger import comparison_settings, find_record
from verifier.records.significance import (
    WELCH,
    ExternalVarianceTest,
    compare_samples,
    external_variance_test,
)
from verifier.reports import figures
from verifier.reports.foreign_text import visible
from verifier.runs.journal import Journal
from verifier.schemas.ledger_yaml import Ledger, Record, TokenizerFamily
from verifier.schemas.significance_json import Significance


def compare(challenger: str | None, prior: str | None, options: Options) -> int:
    """Test one sample against another; 0 significant, 1 not, 3 not computable."""
    rulebook, ledger = load_with_ledger(options)
    named = [_sample(name, ledger) for name in (challenger, prior) if name is not None]
    samples = [_Sample(name="values", scores=_values(text)) for text in options["values"]] + named
    if len(samples) != 2:
        raise UsageError("compare takes two samples: names, or --values 1.061,1.062 for either")
    profile = rulebook.profile(options["profile"])
    family = _family(named[0].record if named else None, ledger)
    settings = comparison_settings(profile, family, seed_noise(rulebook))
    new, old = (sample.scores for sample in samples)
    test = compare_samples(new, old, settings)
    external = external_variance_test(new, old, settings)
    if options["format_"] == "json":
        print(json.dumps(_comparison_object(test, external)))
    else:
        _print_comparison(samples, test, external, result_console(options))
    return 3 if test.passed is None else 0 if test.passed else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """One side of the comparison."""

    name: str
    scores: tuple[float, ...]  # BPB, one a seed
    record: Record | None = None


def _sample(name: str, ledger: Ledger) -> _Sample:
    """A run directory's measurements, a folder's logs, or a record's seeds."""
    path = Path(name)
    if (path / "evidence.json").is_file():
        seeds = Journal(path).evidence().measurements
        scores = tuple(m.val_bpb for m in seeds if m.val_bpb is not None)
        return _Sample(name=f"{name} (measured)", scores=scores)
    if path.exists():
        logs = collect_claims(load_submission(path)).logs
        scores = tuple(log.val_bpb for log in logs if log.val_bpb is not None)
        return _Sample(name=f"{name} (claimed)", scores=scores)
    record = find_record(ledger, name)
    return _Sample(name=record.name, scores=record.seed_bpbs, record=record)


def _values(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--values {text}: give numbers, such as 1.061,1.062,1.060") from None


def _family(record: Record | None, ledger: Ledger) -> TokenizerFamily:
    """A record's tokenizer family; without a record, the newest one's."""
    return ledger.families[(record or ledger.records[-1]).family]


def _print_comparison(
    samples: list[_Sample],
    test: Significance,
    external: ExternalVarianceTest | None,
    console: Console,
) -> None:
    for role, sample in zip(("challenger", "prior"), samples, strict=True):
        scores = ", ".join(map(figures.bpb, sample.scores))
        console.print(visible(f"{role} {sample.name}: {scores}"), markup=False)
    lines = [
        f"gain {figures.bpb(test.gain_bpb)} BPB, 95 % interval {figures.bpb(test.ci_low)} to "
        f"{figures.bpb(test.ci_high)}",
        f"margin {test.margin_bpb:.5f} BPB = {test.margin_nats_per_token:g} nats a token",
        f"{WELCH}: p = {figures.p_value(test.p_value)} "
        f"({test.degrees_of_freedom or 0:.1f} df), level {test.alpha:g}",
        f"smallest p of a permutation test with so many seeds: {figures.p_value(test.smallest_p)}",
    ]
    if external:
        word = external.refused or f"p = {figures.p_value(external.p_value)}"
        lines.append(f"with the ledger's deviation {external.std_bpb:.5f}: {word}")
    if test.gain_bpb is not None:
        within = test.gain_bpb <= test.margin_bpb
        enough = "no number, as the gain is within the margin" if within else "over 100"
        needed = test.seeds_for_80_power or enough
        lines.append(f"seeds for 80 % power at this gain and spread: {needed}")
    answer = {True: "SIGNIFICANT", False: "NOT SIGNIFICANT", None: "NOT COMPUTABLE"}[test.passed]
    for line in (*lines, *test.warnings, answer):
        console.print(line, markup=False)


def _comparison_object(
    test: Significance, external: ExternalVarianceTest | None
) -> dict[str, object]:
    told = test.model_dump(exclude={"external_p_value"})
    return {
        "schema_version": 1,
        "test": WELCH,
        **told,
        "external": asdict(external) if external else None,
    }
