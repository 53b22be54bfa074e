"""Kill runs at random points, many times, and count what was lost: nothing may be.

    python benchmarks/random_kills.py --kills 200

The short version of it is tests/verifier/test_resume.py. Exit code 1 where anything went wrong.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "verifier"))
from kill_trial import Tally, kill_at_random, make_workplace  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the kill points")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pgolf-kills-") as folder:
        workplace = make_workplace(Path(folder))
        tally = kill_at_random(workplace, arguments.kills, random.Random(arguments.seed))
    print(table(tally))
    print(
        f"{time.monotonic() - began:.0f} s, {tally.runs_completed} runs completed, "
        f"{tally.calm_seconds:.1f} s a run without a kill"
    )
    for wrong in tally.wrongs:
        print(f"WRONG: {wrong}")
    return 1 if tally.wrongs else 0


def table(tally: Tally) -> str:
    rows = [("killed", "kills")]
    rows += [(victim, str(count)) for victim, count in sorted(tally.by_victim.items())]
    rows += [(f"with {n} seeds finished", str(c)) for n, c in sorted(tally.by_finished.items())]
    rows += [("orphans at once, before the next start", str(tally.most_orphans))]
    rows += [("finished seeds lost, changed or half-written", str(len(tally.wrongs)))]
    return "\n".join(f"| {name} | {count} |" for name, count in rows)


if __name__ == "__main__":
    sys.exit(main())
