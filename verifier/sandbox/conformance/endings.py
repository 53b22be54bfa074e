"""How a run's end, its times and its processes are seen from outside."""

import os
import secrets
import signal
import subprocess
import sys
import time

from verifier.sandbox.conformance.stage import Stage, kill_marked, survivors, with_marker

MARKER_VARIABLE = "PGOLF_MARKER"
SLEEPER = "[sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)', sys.argv[1]]"
HARNESS = f"""
import os, sys
from pathlib import Path
from verifier.sandbox.choice import sandbox_named
from verifier.sandbox.conformance.stage import Stage
Stage(sandbox_named(sys.argv[1]), Path(sys.argv[2])).play(
    "import os, sys, time",
    "if os.fork(): time.sleep(60)",
    "os.setsid()",
    "os.execv(sys.executable, {SLEEPER})",
    marker=os.environ["{MARKER_VARIABLE}"],
    wall_seconds=60,
)
"""
"""A harness of its own, whose command detaches a child."""


def exit_codes_come_through(stage: Stage) -> str | None:
    """The command's exit code is ours to see."""
    for code in (0, 3, 100):
        result = stage.play(f"raise SystemExit({code})").result
        if (result.ending, result.exit_code) != ("exited", code):
            return f"{code} came as {result.detail}"
    return None


def signals_are_named(stage: Stage) -> str | None:
    """A command killed by a signal is not one that left by itself."""
    for number in (signal.SIGSEGV, signal.SIGKILL):
        result = stage.play(f"import os; os.kill(os.getpid(), {int(number)})").result
        if (result.ending, result.signal) != ("signalled", number):
            return f"signal {int(number)} came as {result.detail}"
    return None


def wall_limit_ends_the_run(stage: Stage) -> str | None:
    """A command that hangs, deaf to signals, is killed at its hard limit."""
    played = stage.play(
        "import signal, time",
        "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)",
        "time.sleep(60)",
        wall_seconds=0.3,
    )
    return played.unless("wall_limit") or _within(played.result.wall_seconds, 0.3, 3)


def wall_time_is_ours(stage: Stage) -> str | None:
    """Run time is taken by our clock, whatever the command does and says."""
    played = stage.play("import time; time.sleep(0.1); print('0.001 s')")
    return played.unless("exited") or _within(played.result.wall_seconds, 0.1, 3)


def closed_output_ends_nothing(stage: Stage) -> str | None:
    """A command that closes its output runs on, until it ends or its time is over."""
    silent = "import os, time; os.close(1); os.close(2)"
    left = stage.play(silent, "time.sleep(0.2); os._exit(7)").result
    if left.exit_code != 7:
        return f"it should have left with 7: {left.detail}"
    return stage.play(silent, "time.sleep(60)", wall_seconds=0.4).unless("wall_limit")


def children_die_with_the_run(stage: Stage) -> str | None:
    """A child left behind does not outlive the command."""
    return _outlived(stage, "import subprocess, sys", f"subprocess.Popen({SLEEPER})")


def detached_children_die_with_the_run(stage: Stage) -> str | None:
    """A daemon (two forks, a session and descriptors of its own) does not outlive the command."""
    return _outlived(
        stage,
        "import os, sys",
        "if os.fork(): os.wait(); os._exit(0)",
        "os.setsid()",
        "if os.fork(): os._exit(0)",
        "null = os.open(os.devnull, os.O_RDWR)",
        "for fd in (0, 1, 2): os.dup2(null, fd)",
        f"os.execv(sys.executable, {SLEEPER})",
    )


def whole_tree_dies_at_the_limit(stage: Stage) -> str | None:
    """At the hard limit the children die too, sessions of their own or not."""
    return _outlived(
        stage,
        "import subprocess, sys, time",
        f"for own in (True, False): subprocess.Popen({SLEEPER}, start_new_session=own)",
        "time.sleep(60)",
        wall_seconds=0.5,
    )


def tree_dies_with_the_harness(stage: Stage) -> str | None:
    """Nothing of the command lives on when the harness itself is killed."""
    marker = _new_marker()
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, stage.sandbox.name, str(stage.folder)],
        env=os.environ | {MARKER_VARIABLE: marker},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not _appears(marker):
            return "the command did not start"
        harness.kill()
        harness.wait()
        return survivors(marker)
    finally:
        harness.kill()
        harness.wait()
        kill_marked(marker)


def _new_marker() -> str:
    return f"pgolf-orphan-{secrets.token_hex(8)}"


def _appears(marker: str) -> bool:
    """Wait for the command and its child."""
    deadline = time.monotonic() + 10
    while len(with_marker(marker)) < 2:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _outlived(stage: Stage, *code: str, wall_seconds: float = 10) -> str | None:
    marker = _new_marker()
    try:
        stage.play(*code, marker=marker, wall_seconds=wall_seconds)
        return survivors(marker, seconds=1)
    finally:
        kill_marked(marker)


def _within(seconds: float, least: float, most: float) -> str | None:
    return None if least <= seconds <= most else f"it took {seconds:.2f} s by our clock"
