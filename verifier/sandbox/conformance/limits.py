"""Limits on memory, processes, disk and output: each is passed on purpose."""

from pathlib import Path
from uuid import uuid4

from verifier.sandbox.conformance.inside.planted import NotApplicable
from verifier.sandbox.conformance.stage import STAGE_LIMITS, Played, Stage

MIB = 2**20
LIMIT_MIB = STAGE_LIMITS.memory_bytes // MIB
HOLD = "import time; print('held', flush=True); time.sleep(60)"
LONG_ENOUGH_SECONDS = 3


def memory_limit_ends_the_run(stage: Stage) -> str | None:
    """A command that holds more memory than its limit is killed."""
    return stage.play(f"held = b'x' * {2 * LIMIT_MIB * MIB}", HOLD, wall_seconds=3).unless(
        "memory_limit"
    )


def memory_never_passes_the_limit(stage: Stage) -> str | None:
    """Not for a moment does a command hold more memory than its limit."""
    played = stage.play(f"held = b'x' * {2 * LIMIT_MIB * MIB}; del held", "print('held')")
    peak_bytes = played.result.peak_memory_bytes
    if b"held" in played.lines or peak_bytes > STAGE_LIMITS.memory_bytes:
        return f"twice the limit was held for a while ({peak_bytes:,} bytes seen)"
    return None


def memory_of_all_processes_counts(stage: Stage) -> str | None:
    """Many processes that each hold little count together."""
    played = stage.play(
        "import os, time",
        "for _ in range(8):",
        f"    if os.fork() == 0: held = b'x' * {LIMIT_MIB // 4 * MIB}; time.sleep(60)",
        "time.sleep(60)",
        wall_seconds=LONG_ENOUGH_SECONDS,
    )
    return played.unless("memory_limit")


def shared_memory_counts(stage: Stage) -> str | None:
    """Anonymous memory shared between processes counts."""
    code = (
        "import mmap",
        f"held = mmap.mmap(-1, {2 * LIMIT_MIB * MIB})",
        "for i in range(0, len(held), 4096): held[i] = 1",
        HOLD,
    )
    return _holds_too_much(stage.play(*code, wall_seconds=LONG_ENOUGH_SECONDS))


def memory_files_count(stage: Stage) -> str | None:
    """Memory behind a descriptor (memfd), which no process maps, counts."""
    code = (
        "import os",
        "file = os.memfd_create('hoard')",
        f"for _ in range({2 * LIMIT_MIB}): os.write(file, bytes({MIB}))",
        HOLD,
    )
    return _holds_too_much(stage.play(*code, wall_seconds=1, scratch_bytes=2**30))


def files_in_shared_memory_count(stage: Stage) -> str | None:
    """Files in /dev/shm count."""
    path = Path(f"/dev/shm/pgolf-hoard-{uuid4().hex}")
    code = (
        f"file = open({str(path)!r}, 'wb')",
        f"for _ in range({2 * LIMIT_MIB}): file.write(bytes({MIB}))",
        HOLD,
    )
    try:
        return _holds_too_much(stage.play(*code, wall_seconds=1, scratch_bytes=2**30))
    finally:
        path.unlink(missing_ok=True)


def process_limit_ends_the_run(stage: Stage) -> str | None:
    """A command that forks beyond its limit is killed."""
    played = stage.play(
        "import os, time",
        "try:",
        "    for _ in range(60):",
        "        if os.fork() == 0: time.sleep(60)",
        "except OSError: pass",
        "time.sleep(60)",
        wall_seconds=LONG_ENOUGH_SECONDS,
    )
    return played.unless("process_limit")


def threads_are_limited(stage: Stage) -> str | None:
    """Threads count as processes do."""
    played = stage.play(
        "import threading, time",
        "for _ in range(60): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "print('held', flush=True)",
        wall_seconds=LONG_ENOUGH_SECONDS,
    )
    return "60 threads were started" if b"held" in played.lines else None


def disk_limit_ends_the_run(stage: Stage) -> str | None:
    """A command that fills its folder is killed."""
    return _fills(stage, "open(str(i), 'wb').write(bytes([1]) * 2**20)")


def disk_limit_is_seen_at_the_end(stage: Stage) -> str | None:
    """Filling the folder and leaving at once is seen too."""
    return stage.play("for i in range(20): open(str(i), 'wb').write(bytes([1]) * 2**20)").unless(
        "scratch_limit"
    )


def many_small_files_end_the_run(stage: Stage) -> str | None:
    """Empty files without number are killed off as large ones are."""
    return _fills(stage, "open(str(i), 'w').close()")


def one_file_is_bounded(stage: Stage) -> str | None:
    """No single file outgrows the limit, between two looks either."""
    played = stage.play(
        "import os",
        "os.posix_fallocate(os.open('f', os.O_RDWR | os.O_CREAT), 0, 1 << 30)",
        "print('grown')",
    )
    return "a file of 1 GiB was made" if b"grown" in played.lines else None


def holes_cost_nothing(stage: Stage) -> str | None:
    """A file that is mostly hole weighs what it holds."""
    num_bytes = STAGE_LIMITS.scratch_bytes // 2
    return stage.play(f"for i in range(4): open(str(i), 'wb').truncate({num_bytes})").unless(
        "exited"
    )


def temporary_files_are_limited(stage: Stage) -> str | None:
    """The temporary folder is no way around the disk's limit."""
    played = stage.play(
        "import tempfile",
        "files = [tempfile.NamedTemporaryFile() for _ in range(4)]",
        "for file in files: file.write(bytes([1]) * 2**22); file.flush()",
        "import time; time.sleep(1.5)",
        "print('kept')",
    )
    return "twice the limit was kept" if b"kept" in played.lines else None


def nothing_is_left_for_the_next_run(stage: Stage) -> str | None:
    """What one run leaves outside its folder, the next does not find."""
    name = f"pgolf-{uuid4().hex}"
    places = "[tempfile.gettempdir(), '/tmp', '/var/tmp', '/dev/shm', os.path.expanduser('~')]"
    head = ("import os, tempfile", f"paths = [os.path.join(p, {name!r}) for p in {places}]")
    stage.play(
        *head,
        "for path in paths:",
        "    try: open(path, 'w').close()",
        "    except OSError: pass",
        "import ctypes; ctypes.CDLL(None).shmget(0x70676f6c, 4096, 0o1666)",
    )
    found = stage.play(
        *head,
        "print(*[p for p in paths if os.path.exists(p)])",
        "import ctypes; segment = ctypes.CDLL(None).shmget(0x70676f6c, 4096, 0)",
        "if segment >= 0: print('a segment'); ctypes.CDLL(None).shmctl(segment, 0, None)",
    )
    for place in ("/tmp", "/var/tmp", "/dev/shm", str(Path.home())):
        Path(place, name).unlink(missing_ok=True)
    return None if found.lines == [b""] else f"found again: {found.said()}"


def output_limit_ends_the_run(stage: Stage) -> str | None:
    """A command that prints without end is killed, and no more is kept than was allowed."""
    played = stage.play("while True: print('x' * 1000)")
    kept = sum(map(len, played.lines))
    too_much = f"{kept:,} bytes were kept" if kept > STAGE_LIMITS.output_bytes + 2**17 else None
    return played.unless("output_limit") or too_much


def output_without_lines_is_limited(stage: Stage) -> str | None:
    """The same without a single newline."""
    return stage.play("import os", "while True: os.write(1, bytes(65536))").unless("output_limit")


def peak_memory_is_measured(stage: Stage) -> str | None:
    """The most memory that a command held is known afterwards."""
    peak = stage.play("import time; held = b'x' * 2**25; time.sleep(0.3)").result.peak_memory_bytes
    if peak == 0:
        raise NotApplicable("the kernel keeps no peak")
    return None if 2**25 <= peak <= 2**26 else f"{peak:,} bytes were measured of 33,554,432"


def _holds_too_much(played: Played) -> str | None:
    return "twice the limit was held" if b"held" in played.lines else None


def _fills(stage: Stage, statement: str) -> str | None:
    code = ("i = 0", f"while True: i += 1; {statement}")
    return stage.play(*code, wall_seconds=6).unless("scratch_limit")
