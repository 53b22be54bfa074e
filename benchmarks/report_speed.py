"""How long `pgolf-verify report` takes, what it imports, and how large each form gets.

python benchmarks/report_speed.py RUN_DIR
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUM_RUNS = 5
HEAVY = ("torch", "sentencepiece")
NUM_FINDINGS = (1, 500, 10_000)


def time_report(folder: Path) -> list[float]:
    seconds = []
    for _ in range(NUM_RUNS):
        start = time.perf_counter()
        command = [sys.executable, "-m", "verifier", "report", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return seconds


def imported(folder: Path) -> list[str]:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom verifier.cli import cli\n"
        f"assert CliRunner().invoke(cli, ['report', {str(folder)!r}]).exit_code == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1].replace("'", '"'))


def sizes(folder: Path, num_findings: int) -> dict[str, int]:
    """Bytes of each form when the first rule has so many findings."""
    from verifier.commands.rendering import Told, write_reports
    from verifier.schemas.verdict_json import VerdictFile

    stored = json.loads((folder / "verdict.json").read_text())
    finding = {"message": "a message of ordinary length about one line", "file": "train_gpt.py"}
    finding |= {"line": 7, "evidence": "the line itself, as it stands in the file"}
    broken = {"outcome": "broken", "reason": None, "findings": [finding] * num_findings}
    stored["rules"][0] |= broken
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        write_reports(Told(verdict=VerdictFile.model_validate(stored)), out)
        return {path.name: path.stat().st_size for path in sorted(out.glob("*.*"))}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        shutil.copytree(sys.argv[1], folder)
        seconds = time_report(folder)
        print(f"report: median {statistics.median(seconds):.2f} s, {min(seconds):.2f} at best")
        print(f"heavy modules imported: {imported(folder) or 'none'}")
        for count in NUM_FINDINGS:
            print(f"{count} findings, bytes: {sizes(folder, count)}")


if __name__ == "__main__":
    main()
