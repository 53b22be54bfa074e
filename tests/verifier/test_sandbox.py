"""What every sandbox must hold to, and what only the isolating one can."""

import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import ExecResult, SandboxCommand
from verifier.sandbox.bubblewrap import Bubblewrap
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.plain_process import PlainProcess

LIMITS = SandboxLimits(
    wall_seconds=20,
    memory_bytes=300 * 2**20,
    num_processes=24,
    output_bytes=2**20,
    scratch_bytes=2**23,
)
SECRET = "pgolf-test-secret"


@pytest.fixture(params=[Bubblewrap, PlainProcess], ids=["bubblewrap", "plain"])
def sandbox(request):
    return request.param()


@pytest.fixture
def bubblewrap():
    return Bubblewrap()


@pytest.fixture
def python(tmp_path: Path):
    """Run Python code in a sandbox: how it ended, and the lines that it printed."""
    workdir = tmp_path / "work"
    workdir.mkdir()

    def run(sandbox, *code: str, read_only=None, environment=None, **limits):
        command = SandboxCommand(
            argv=(sys.executable, *(code if len(code) > 1 else ("-c", *code))),
            workdir=workdir,
            environment=environment or {},
            read_only=read_only or {},
        )
        lines: list[bytes] = []
        result = sandbox.execute(
            command, replace(LIMITS, **limits), lambda _, line: lines.append(line)
        )
        return result, lines

    run.workdir = workdir
    return run


def processes_with(marker: str) -> list[int]:
    return [
        p.pid for p in psutil.process_iter(["cmdline"]) if marker in str(p.info["cmdline"] or "")
    ]


def gone_soon(marker: str) -> bool:
    deadline = time.monotonic() + 5
    while processes_with(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not processes_with(marker)


@pytest.mark.parametrize("code", [0, 1, 77])
def test_exit_codes_come_through(sandbox, python, code):
    result, _ = python(sandbox, f"raise SystemExit({code})")
    assert (result.ending, result.exit_code, result.signal) == ("exited", code, None)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_signals_are_named(sandbox, python, number):
    result, _ = python(sandbox, f"import os; os.kill(os.getpid(), {int(number)})")
    # The first process of a namespace is bubblewrap's, which passes on what killed its child.
    assert (result.ending, result.signal) == ("signalled", number)


def test_a_hang_ends_at_the_wall_limit(sandbox, python):
    result, _ = python(sandbox, "import time; time.sleep(60)", wall_seconds=0.5)
    assert result.ending == "wall_limit"
    assert 0.5 <= result.wall_seconds < 3


def test_memory_beyond_the_limit_ends_the_run(sandbox, python):
    code = "import time; held = b'x' * (600 << 20); time.sleep(60)"
    result, _ = python(sandbox, code)
    assert result.ending == "memory_limit"


def test_forking_beyond_the_limit_ends_the_run(sandbox, python):
    code = (
        "import os, time\nfor _ in range(60):\n    if not os.fork(): time.sleep(60)\ntime.sleep(60)"
    )
    result, _ = python(sandbox, code)
    assert result.ending == "process_limit"


def test_endless_output_is_cut(sandbox, python):
    result, lines = python(sandbox, "while True: print('x' * 1000)")
    assert result.ending == "output_limit"
    assert sum(map(len, lines)) <= LIMITS.output_bytes + 2**16


def test_filling_the_disk_ends_the_run(sandbox, python):
    code = "i = 0\nwhile True: i += 1; open(str(i), 'wb').write(bytes([1]) * 2**20)"
    result, _ = python(sandbox, code)
    assert result.ending == "scratch_limit"


def test_filling_the_disk_and_ending_at_once_is_seen_too(sandbox, python):
    code = "for i in range(20): open(str(i), 'wb').write(bytes([1]) * 2**20)"
    result, _ = python(sandbox, code)
    assert result.ending == "scratch_limit"


def test_standard_input_is_empty(sandbox, python):
    _, lines = python(sandbox, "import sys; print(repr(sys.stdin.read()))")
    assert lines == [b"''"]


def test_output_comes_byte_for_byte(sandbox, python):
    said = b"a\0b\xff\xfe\r\x1b[31m \xe2\x82\n\nlast"
    _, lines = python(sandbox, f"import os; os.write(1, {said!r})")
    assert lines == said.split(b"\n")


def test_a_very_long_line_comes_in_pieces(sandbox, python):
    _, lines = python(sandbox, "print('x' * 500_000)")
    assert b"".join(lines) == b"x" * 500_000
    assert max(map(len, lines)) <= 2**17


def test_both_outputs_come_in_order(sandbox, python):
    _, lines = python(sandbox, "import os\nfor fd in (1, 2, 1): os.write(fd, b'%d\\n' % fd)")
    assert lines == [b"1", b"2", b"1"]


def test_running_on_with_closed_output_is_no_offence(sandbox, python):
    code = "import os, time; os.close(1); os.close(2); time.sleep(0.5); os._exit(7)"
    result, _ = python(sandbox, code)
    assert (result.ending, result.exit_code) == ("exited", 7)
    assert result.wall_seconds >= 0.5


def test_closed_output_does_not_escape_the_wall_limit(sandbox, python):
    code = "import os, time; os.close(1); os.close(2); time.sleep(60)"
    result, _ = python(sandbox, code, wall_seconds=0.5)
    assert result.ending == "wall_limit"


def test_children_die_with_the_run(sandbox, python):
    marker = f"orphan-{os.getpid()}-{sandbox.name}"
    code = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', {marker!r}])"
    )
    result, _ = python(sandbox, code)
    assert result.ending == "exited"
    assert gone_soon(marker)


def test_a_listener_that_fails_leaves_no_process(sandbox, tmp_path: Path):
    marker = f"deaf-{os.getpid()}-{sandbox.name}"
    code = "import time; print('hello', flush=True); time.sleep(60)"
    command = SandboxCommand(argv=(sys.executable, "-c", code, marker), workdir=tmp_path)

    def interrupted(seconds: float, line: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sandbox.execute(command, LIMITS, interrupted)
    assert gone_soon(marker)


@pytest.mark.parametrize("value", ["a\0b", "x" * 3_000_000])
def test_a_command_that_cannot_start_is_one_line(sandbox, python, value):
    with pytest.raises(SandboxUnavailableError, match="cannot be started") as caught:
        python(sandbox, "pass", environment={"VALUE": value})
    assert "\n" not in str(caught.value)


def test_a_failed_start_leaves_no_open_file(sandbox, python):
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SandboxUnavailableError):
        python(sandbox, "pass", environment={"VALUE": "a\0b"})
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


@pytest.mark.parametrize(
    ("family", "address"),
    [
        ("AF_INET", ("192.0.2.1", 80)),
        ("AF_INET", ("127.0.0.1", "HOST")),
        ("AF_INET6", ("2001:db8::1", 80)),
        ("AF_UNIX", "\0pgolf-test-abstract"),
        ("AF_UNIX", "/run/dbus/system_bus_socket"),
        ("AF_VSOCK", (2, 22)),
    ],
)
def test_no_network_of_any_family(bubblewrap, python, family, address):
    with socket.create_server(("127.0.0.1", 0)) as host, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0pgolf-test-abstract")
        abstract.listen()
        port = host.getsockname()[1]
        place = tuple(port if part == "HOST" else part for part in address)
        code = (
            f"import socket\ns = socket.socket(socket.{family}); s.settimeout(2)\n"
            f"s.connect({place if isinstance(address, tuple) else address!r})"
        )
        result, lines = python(bubblewrap, code)
    assert result.exit_code == 1
    assert b"Error" in lines[-1]


def test_raw_packets_are_refused(bubblewrap, python):
    result, lines = python(bubblewrap, "import socket as s; s.socket(s.AF_PACKET, s.SOCK_RAW)")
    assert b"Error" in lines[-1]


def test_names_of_the_outside_do_not_resolve(bubblewrap, python):
    _, lines = python(bubblewrap, "import socket; socket.getaddrinfo('example.org', 80)")
    assert b"gaierror" in lines[-1]


def test_loopback_and_own_hostname_work(bubblewrap, python):
    code = (
        "import socket\n"
        "for host in ('127.0.0.1', socket.gethostname(), 'localhost'):\n"
        "    with socket.create_server((host, 0)) as server:\n"
        "        socket.create_connection(server.getsockname()).close()\n"
        "print('met')"
    )
    assert python(bubblewrap, code)[1] == [b"met"]


def test_torchrun_brings_two_ranks_together(bubblewrap, python):
    (python.workdir / "ranks.py").write_text(
        "import os, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "total = torch.ones(1) * dist.get_rank()\n"
        "dist.all_reduce(total)\n"
        "dist.barrier()\n"
        "os.write(1, b'sum %d\\n' % total)\n"
        "dist.destroy_process_group()\n"
    )
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    enough = {"wall_seconds": 90, "memory_bytes": 2**32, "num_processes": 512}
    result, lines = python(bubblewrap, *torchrun, "ranks.py", **enough)
    assert result.exit_code == 0, lines
    assert lines.count(b"sum 1") == 2


def test_host_files_are_invisible(bubblewrap, python, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    places = [str(secret), str(Path(__file__)), "/etc/shadow", "/root/.bashrc", "/var"]
    code = f"import os; print([p for p in {places!r} if os.path.exists(p)])"
    assert python(bubblewrap, code)[1] == [b"[]"]


def test_host_environment_is_invisible(bubblewrap, python, monkeypatch):
    monkeypatch.setenv("PGOLF_TEST_SECRET", SECRET)
    code = (
        "import os, pathlib\n"
        "print(dict(os.environ))\n"
        "for p in pathlib.Path('/proc').glob('[0-9]*/environ'): print(p.read_bytes())"
    )
    _, lines = python(bubblewrap, code, environment={"ASKED": "yes"})
    assert b"'ASKED': 'yes'" in lines[0]
    assert SECRET.encode() not in b"".join(lines)


def test_host_processes_are_invisible(bubblewrap, python):
    code = "import os; print(len([p for p in os.listdir('/proc') if p.isdigit()]))"
    assert int(python(bubblewrap, code)[1][0]) <= 3


def test_data_is_read_only(bubblewrap, python, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "shard").write_text("tokens")
    code = "print(open('/pgolf/data/shard').read()); open('/pgolf/data/shard', 'a')"
    _, lines = python(bubblewrap, code, read_only={tmp_path / "data": "/pgolf/data"})
    assert lines[0] == b"tokens"
    assert b"Read-only file system" in lines[-1]


@pytest.mark.parametrize("folder", ["/usr", "/etc", "/proc/sys/kernel", "/sys", sys.prefix, "/dev"])
def test_the_system_is_read_only(bubblewrap, python, folder):
    python(bubblewrap, f"open('{folder}/pgolf-test', 'w')")
    assert not (Path(folder) / "pgolf-test").exists()


@pytest.mark.parametrize("folder", ["/tmp", "/home/runner", "/dev/shm"])
def test_temporary_folders_are_private_and_fresh(bubblewrap, python, folder):
    # The interpreter may itself lie below /tmp, where a checkout of this project does.
    prefixes = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    below = {p.relative_to(folder).parts[0] for p in prefixes if p.is_relative_to(folder)}
    code = f"import os; print(*sorted(os.listdir('{folder}'))); open('{folder}/pgolf-test', 'w')"
    for _ in range(2):
        result, lines = python(bubblewrap, code)
        assert (result.exit_code, lines) == (0, [" ".join(sorted(below)).encode()])
    assert not (Path(folder) / "pgolf-test").exists()


def test_no_capabilities_and_no_new_namespaces(bubblewrap, python):
    code = (
        "import ctypes\n"
        "print({l.split()[1] for l in open('/proc/self/status') if l.startswith('Cap')})\n"
        "print(ctypes.CDLL(None).unshare(0x10000000))"
    )
    _, lines = python(bubblewrap, code)
    assert lines[0] == b"{'0000000000000000'}"
    assert lines[1] == b"-1"


def test_a_daemon_dies_with_the_namespace(bubblewrap, python):
    marker = f"daemon-{os.getpid()}"
    code = (
        "import os, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', "
        f"{marker!r}], start_new_session=True, stdout=subprocess.DEVNULL, stderr=-3)"
    )
    assert python(bubblewrap, code)[0].ending == "exited"
    assert gone_soon(marker)


def test_a_single_file_cannot_outgrow_the_scratch(bubblewrap, python):
    code = "import os; os.posix_fallocate(os.open('f', os.O_RDWR | os.O_CREAT), 0, 1 << 30)"
    result, _ = python(bubblewrap, code)
    assert result.exit_code != 0
    assert (python.workdir / "f").stat().st_size <= LIMITS.scratch_bytes


def test_probing_proves_every_guarantee_that_can_be_tried(bubblewrap, tmp_path: Path):
    grades = {held.name: held.grade for held in bubblewrap.guarantees(tmp_path)}
    for name in ("network", "file_writes", "secrets", "process_leaks"):
        assert grades[name] == "proved"
    assert list(tmp_path.iterdir()) == []


def test_a_plain_process_claims_no_guarantee(tmp_path: Path):
    grades = {held.name: held.grade for held in PlainProcess().guarantees(tmp_path)}
    assert grades["network"] == grades["file_writes"] == grades["secrets"] == "absent"


def test_without_bwrap_nothing_is_run(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SandboxUnavailableError, match="bubblewrap is missing"):
        Bubblewrap()


def test_an_unwilling_bwrap_is_no_result_of_the_submission(monkeypatch, tmp_path: Path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho no namespaces for you; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxUnavailableError, match="no namespaces for you"):
        Bubblewrap().execute(
            SandboxCommand(argv=("true",), workdir=tmp_path), LIMITS, lambda *_: None
        )


def test_peak_memory_is_measured(sandbox, python):
    result: ExecResult
    result, _ = python(sandbox, "held = b'x' * (100 << 20); import time; time.sleep(0.4)")
    assert 100 * 2**20 <= result.peak_memory_bytes < LIMITS.memory_bytes
