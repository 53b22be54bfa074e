"""The paper audit against submissions whose faults are known.

    python benchmarks/audit_known.py --repository PATH_TO_GIT_MIRROR --out audit.json

The mirror is a clone of openai/parameter-golf with its pull-request heads fetched (`git clone
--mirror`). Each row of the labels is taken out of it into a temporary folder and checked on paper;
nothing is run. A class counts as flagged where a rule of severity reject or warn
that bears it is broken; a valid row is dirty where a rule of severity reject is.

With `--records COMMIT` the bytes that the logs imply are printed as well, one line a seed, for
every folder of the 10-minute track at that commit.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from verifier.claims.seed_by_seed import collect_claims  # noqa: E402
from verifier.intake.submission import load_submission  # noqa: E402
from verifier.pipeline import check  # noqa: E402
from verifier.rulebook import load_rulebook  # noqa: E402

LABELS = Path(__file__).with_name("known_submissions.csv")
RECORD_TRACK, OTHER_TRACK = "10min_16mb", "non_record_16mb"
RECORD_FOLDERS = "records/track_10min_16mb"
COUNTED = ("reject", "warn")


def git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """One question to the mirror."""
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True)


def extract(repository: Path, commit: str, path: str, into: Path) -> Path:
    """One folder of one commit, as it was handed in.

    File by file, because `git archive` gives nothing where a partial clone lacks one large weight
    file, which the audit does not read anyway.
    """
    listing = git(repository, "ls-tree", "-r", "-z", commit, "--", path).stdout.decode()
    for entry in filter(None, listing.split("\0")):
        kind_and_id, name = entry.split("\t")
        blob = git(repository, "cat-file", "blob", kind_and_id.split()[2])
        if blob.returncode == 0:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(blob.stdout)
    return into / path


def expected_classes(row: dict[str, str]) -> set[str]:
    """The classes that a label names, the primary one and the others."""
    return {row["violation_class"], *row["secondary_classes"].split(";")} - {""}


def audit(row: dict[str, str], folder: Path, profile: str) -> dict[str, Any]:
    """What the audit says of one labelled row."""
    is_record = "non_record" not in row["path"] and "non-record" not in row["path"]
    rulebook = load_rulebook(RECORD_TRACK if is_record else OTHER_TRACK)
    started = time.perf_counter()
    verdict = check(folder, rulebook, profile, row["commit"])
    broken = [r for r in verdict.rules if r.outcome == "broken" and r.severity in COUNTED]
    return {
        "pr": row["pr"],
        "path": row["path"],
        "label": row["label"],
        "primary": row["violation_class"],
        "expected": sorted(expected_classes(row)),
        "flagged": sorted({rule.violation_class for rule in broken}),
        "rules": {rule.rule: str(rule.severity) for rule in broken},
        "verdict": verdict.verdict,
        "seconds": round(time.perf_counter() - started, 3),
    }


def audit_all(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every row, one after the other."""
    with arguments.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        with tempfile.TemporaryDirectory(prefix="audit_") as into:
            folder = extract(arguments.repository, row["commit"], row["path"], Path(into))
            yield audit(row, folder, arguments.profile)


def is_hit(result: dict[str, Any]) -> bool:
    """An invalid row whose primary class is flagged, or a valid one that no rule rejects."""
    if result["label"] == "invalid":
        return bool(result["primary"] in result["flagged"])
    return "reject" not in result["rules"].values()


def confusion(results: list[dict[str, Any]]) -> list[tuple[str, int, int, int, int]]:
    """Class, rows that have it, of these flagged, flagged elsewhere: invalid rows, valid rows."""
    table: dict[str, Counter[str]] = {}
    for result in results:
        for name in {*result["expected"], *result["flagged"]}:
            counts = table.setdefault(name, Counter())
            counts["has"] += name in result["expected"]
            counts["flagged"] += name in result["expected"] and name in result["flagged"]
            counts[f"beside {result['label']}"] += name not in result["expected"]
    return [
        (name, c["has"], c["flagged"], c["beside invalid"], c["beside valid"])
        for name, c in sorted(table.items())
    ]


def print_audit(results: list[dict[str, Any]]) -> None:
    """The confusion table in Markdown, then the rows that were missed."""
    print("| class | rows | flagged | beside it, invalid rows | beside it, valid rows |")
    print("| --- | --- | --- | --- | --- |")
    for row in confusion(results):
        print(f"| {' | '.join(map(str, row))} |")
    for label, what in (("invalid", "primary class flagged"), ("valid", "not rejected")):
        chosen = [result for result in results if result["label"] == label]
        print(f"\n{label}: {sum(map(is_hit, chosen))} of {len(chosen)} {what}")
    for result in results:
        if not is_hit(result):
            print(f"missed: {result['label']} #{result['pr']} {result['path']} {result['rules']}")


def print_implied_bytes(repository: Path, commit: str) -> None:
    """Tokens, loss, BPB and the bytes that they imply, one line for each log behind a claim."""
    print("\n| record | seed | tokens | loss, nats | BPB | implied bytes |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="records_") as into:
        for folder in sorted(extract(repository, commit, RECORD_FOLDERS, Path(into)).iterdir()):
            for claim in collect_claims(load_submission(folder)).claiming_logs:
                final, implied = claim.log.headline, claim.implied_validation_bytes
                if final is not None and implied is not None:
                    figures = f"{claim.log.val_tokens:,} | {final.val_loss} | {final.val_bpb}"
                    print(f"| {folder.name} | {claim.seed} | {figures} | {implied.value:,.0f} |")


def main() -> None:
    """Audit the labelled rows, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repository", type=Path, required=True, help="a git mirror")
    parser.add_argument("--labels", type=Path, default=LABELS, help="the labelled rows")
    parser.add_argument("--profile", default="leaderboard-apr29")
    parser.add_argument("--records", metavar="COMMIT", help="print the records' implied bytes too")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    results = list(audit_all(arguments))
    print_audit(results)
    if arguments.records:
        print_implied_bytes(arguments.repository, arguments.records)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
