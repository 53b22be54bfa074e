"""What goes in and comes out: nothing but the environment asked for, and every byte printed."""

import os

from verifier.sandbox.conformance.stage import Stage

WILD = b"a\0b\xff\xfe\r\x1b[31m \xe2\x82\n\nlast"


def output_comes_byte_for_byte(stage: Stage) -> str | None:
    """NULs, escapes, broken UTF-8 and a last line without its end come as they were printed."""
    return _printed(stage, f"import os; os.write(1, {WILD!r})", WILD.split(b"\n"))


def long_lines_come_whole(stage: Stage) -> str | None:
    """A very long line is lost in no part, and held in memory in pieces."""
    lines = stage.play("print('x' * 500_000)").lines
    if b"".join(lines) != b"x" * 500_000:
        return f"{sum(map(len, lines)):,} bytes came of 500,000"
    return None if max(map(len, lines)) <= 2**17 else "it was held in one piece"


def both_outputs_come_in_order(stage: Stage) -> str | None:
    """Standard output and standard error are one stream."""
    code = "import os\nfor fd in (1, 2, 1): os.write(fd, b'%d\\n' % fd)"
    return _printed(stage, code, [b"1", b"2", b"1"])


def last_words_of_the_killed_come(stage: Stage) -> str | None:
    """What was printed before a violent death is not lost."""
    code = "import os; os.write(1, b'last'); os.kill(os.getpid(), 9)"
    return _printed(stage, code, [b"last"])


def standard_input_is_empty(stage: Stage) -> str | None:
    """Nothing can be asked of whoever sits at the harness."""
    return _printed(stage, "import sys; print(repr(sys.stdin.read()))", [b"''"])


def no_descriptor_is_inherited(stage: Stage) -> str | None:
    """No open file of the harness is passed on."""
    return _printed(
        stage, "import os; print(sorted(os.listdir('/proc/self/fd')))", [b"['0', '1', '2', '3']"]
    )


def environment_is_only_what_was_asked(stage: Stage) -> str | None:
    """The command sees its own variables, and none of the harness's."""
    os.environ["PGOLF_PASSED_BY_ACCIDENT"] = "1"
    try:
        code = "import os; print(os.environ['ASKED'], 'PGOLF_PASSED_BY_ACCIDENT' in os.environ)"
        lines = stage.play(code, environment={"ASKED": "yes"}).lines
    finally:
        del os.environ["PGOLF_PASSED_BY_ACCIDENT"]
    return None if lines == [b"yes False"] else f"it saw {lines[-1:]!r}"


def large_environments_arrive_whole(stage: Stage) -> str | None:
    """Many long variables arrive as they were given."""
    given = {f"VARIABLE_{i}": "x" * 10_000 for i in range(50)}
    code = "import os; print(sum(len(v) for k, v in os.environ.items() if 'VARIABLE_' in k))"
    lines = stage.play(code, environment=given).lines
    return None if lines == [b"500000"] else f"{lines[-1:]!r} characters came of 500000"


def _printed(stage: Stage, code: str, wanted: list[bytes]) -> str | None:
    lines = stage.play(code).lines
    return None if lines == wanted else f"it printed {lines[-3:]!r}"
