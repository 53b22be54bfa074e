"""compare: is one sample of scores better than another?"""

import json
from dataclasses import asdict
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
from verifier.schemas.ledger_yaml import Ledger, TokenizerFamily
from verifier.schemas.significance_json import Significance


def compare(challenger: str | None, prior: str | None, options: Options) -> int:
    """Test one sample against another; 0 significant, 1 not, 3 not computable."""
    rulebook, ledger = load_with_ledger(options)
    names = [name for name in (challenger, prior) if name is not None]
    samples = [("values", _values(text)) for text in options["values"]]
    samples += [_sample(name, ledger) for name in names]
    if len(samples) != 2:
        raise UsageError("compare takes two samples: names, or --values 1.061,1.062 for either")
    profile = rulebook.profile(options["profile"])
    family = _family(names[:1], ledger)
    settings = comparison_settings(profile, family, seed_noise(rulebook))
    test = compare_samples(samples[0][1], samples[1][1], settings)
    external = external_variance_test(samples[0][1], samples[1][1], settings)
    if options["format_"] == "json":
        print(json.dumps(_comparison_object(test, external)))
    else:
        _print_comparison(samples, test, external, result_console(options))
    return 3 if test.passed is None else 0 if test.passed else 1


def _sample(name: str, ledger: Ledger) -> tuple[str, tuple[float, ...]]:
    """A run directory's measurements, a folder's logs, or a record's seeds."""
    path = Path(name)
    if (path / "evidence.json").is_file():
        seeds = Journal(path).evidence().measurements
        return f"{name} (measured)", tuple(m.val_bpb for m in seeds if m.val_bpb is not None)
    if path.exists():
        logs = collect_claims(load_submission(path)).logs
        return f"{name} (claimed)", tuple(log.val_bpb for log in logs if log.val_bpb is not None)
    record = find_record(ledger, name)
    return record.name, record.seed_bpbs


def _values(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--values {text}: give numbers, such as 1.061,1.062,1.060") from None


def _family(names: list[str], ledger: Ledger) -> TokenizerFamily:
    """The tokenizer family of the first name if it is a record, else the newest record's."""
    known = [r for r in ledger.records if names and names[0].lstrip("pr#") in (str(r.pr), r.folder)]
    return ledger.families[(known or ledger.records[-1:])[0].family]


def _print_comparison(
    samples: list[tuple[str, tuple[float, ...]]],
    test: Significance,
    external: ExternalVarianceTest | None,
    console: Console,
) -> None:
    for role, (name, values) in zip(("challenger", "prior"), samples, strict=True):
        console.print(
            visible(f"{role} {name}: {', '.join(figures.bpb(v) for v in values)}"), markup=False
        )
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
