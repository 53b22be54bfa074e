"""The filter refuses what it names, and only that."""

import errno
import subprocess
import sys

import pytest

from verifier.sandbox import seccomp

INSTALL = (
    "import ctypes, os, socket, sys, threading\n"
    "from verifier.sandbox.seccomp import filter_program, install_filter\n"
    "from verifier.sandbox.system_calls import LIBC, system_call\n"
    "LIBC.prctl(38, 1, 0, 0, 0)\n"
    "install_filter(filter_program(on_the_host=sys.argv[1] == 'host'))\n"
)
REPORT = "try: {}\nexcept OSError as error: print(error.errno)\nelse: print('worked')"


def said(action: str, where: str = "namespaces") -> str:
    argv = [sys.executable, "-c", INSTALL + REPORT.format(action), where]
    result = subprocess.run(argv, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("name", ["bpf", "io_uring_setup", "ptrace", "unshare", "keyctl", "mount"])
def test_a_denied_call_is_refused(name):
    assert said(f"system_call('{name}', 0, 0, 0, 0, 0)") == str(errno.EPERM)


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_TIPC"])
def test_other_socket_families_are_refused(family):
    action = f"socket.socket(socket.{family}, socket.SOCK_STREAM)"
    assert said(action) == str(errno.EAFNOSUPPORT)


def test_namespaces_are_refused_by_clone_too():
    assert said("system_call('clone', 0x10000000 | 17, 0, 0, 0, 0)") == str(errno.EPERM)


@pytest.mark.parametrize(
    "action",
    [
        "threading.Thread(target=print).start()",
        "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
        "socket.socketpair()",
        "socket.if_nameindex()",
        "socket.create_server(('127.0.0.1', 0))",
        "os.memfd_create('x')",
    ],
)
def test_what_scripts_need_works(action):
    assert said(action, "host").endswith("worked")


def test_datagrams_are_refused_only_on_the_hosts_network():
    action = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
    assert said(action) == "worked"
    assert said(action, "host") == str(errno.EACCES)


def test_on_a_machine_whose_numbers_are_unknown_there_is_no_filter(monkeypatch):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    assert seccomp.filter_program() is None
