"""What of the network can be reached: nothing but our own loopback, and that must work."""

import errno
import os
import socket
from contextlib import closing

from verifier.sandbox.conformance.inside.planted import Planted

TEST_NET = ("192.0.2.1", 50_000)
"""RFC 5737: never a real host. A high port, because those are the last that a filter closes."""
DOCUMENTATION_PREFIX = ("2001:db8::1", 50_000)
"""RFC 3849: never a real host."""
UNDER_WAY = (0, errno.EINPROGRESS)


def outside_ipv4_has_no_route(planted: Planted) -> str | None:
    """No TCP connection to an IPv4 address outside can begin."""
    return _route(socket.AF_INET, socket.SOCK_STREAM, TEST_NET)


def outside_ipv6_has_no_route(planted: Planted) -> str | None:
    """No TCP connection to an IPv6 address outside can begin."""
    return _route(socket.AF_INET6, socket.SOCK_STREAM, DOCUMENTATION_PREFIX)


def outside_udp_has_no_route(planted: Planted) -> str | None:
    """No UDP packet leaves, so no name server answers either."""
    return _route(socket.AF_INET, socket.SOCK_DGRAM, TEST_NET)


def outside_web_is_unreachable(planted: Planted) -> str | None:
    """No connection to the port of HTTPS can begin, the way to download anything."""
    return _route(socket.AF_INET, socket.SOCK_STREAM, (TEST_NET[0], 443))


def outside_names_do_not_resolve(planted: Planted) -> str | None:
    """No name of the outside world gets an address."""
    os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"
    try:
        return f"example.org is {socket.gethostbyname('example.org')}"
    except OSError:
        return None


def host_loopback_is_unreachable(planted: Planted) -> str | None:
    """A service on the host's own loopback cannot be reached."""
    with socket.socket() as probe:
        probe.settimeout(1)
        code = probe.connect_ex(("127.0.0.1", planted.host_port))
    return None if code else "a service of the host's was reached"


def host_abstract_socket_is_unreachable(planted: Planted) -> str | None:
    """A local socket of the host that has a name and no file cannot be reached."""
    return _route(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + planted.abstract_socket)


def host_socket_file_is_unreachable(planted: Planted) -> str | None:
    """A local socket in the host's file system cannot be reached, as a container daemon's."""
    return _route(socket.AF_UNIX, socket.SOCK_STREAM, planted.socket_file)


def only_loopback_interfaces_exist(planted: Planted) -> str | None:
    """The only network interface is loopback."""
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    return f"there is {', '.join(others)}" if others else None


def raw_sockets_are_refused(planted: Planted) -> str | None:
    """No hand-made packets: neither raw IP nor whole frames."""
    return _opens(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) or _opens(
        socket.AF_PACKET, socket.SOCK_RAW, 0
    )


def machine_sockets_are_refused(planted: Planted) -> str | None:
    """No socket to the machine that runs this one (AF_VSOCK), which no namespace cuts off."""
    return _opens(socket.AF_VSOCK, socket.SOCK_STREAM, 0)


def kernel_crypto_sockets_are_refused(planted: Planted) -> str | None:
    """No socket into the kernel's ciphers (AF_ALG), a frequent way to break it."""
    return _opens(socket.AF_ALG, socket.SOCK_SEQPACKET, 0)


def loopback_works(planted: Planted) -> str | None:
    """Two sockets of our own meet on 127.0.0.1."""
    return _meet("127.0.0.1")


def hostname_leads_to_ourselves(planted: Planted) -> str | None:
    """Two processes meet under the machine's own name, which torchrun asks for."""
    return _meet(socket.gethostname())


def local_sockets_work(planted: Planted) -> str | None:
    """Two ends of a local socket in the working folder meet, and a descriptor passes through."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("meeting")
        server.listen()
        client.connect("meeting")
        socket.send_fds(client, [b"x"], [0])
        passed = socket.recv_fds(server.accept()[0], 1, 1)[1]
    return None if len(passed) == 1 else "no descriptor came through"


def _meet(host: str) -> str | None:
    try:
        with socket.create_server((host, 0)) as server:
            if os.fork() == 0:
                with closing(socket.create_connection(server.getsockname()[:2], 3)) as client:
                    client.sendall(b"met")
                os._exit(0)
            server.settimeout(3)
            with server.accept()[0] as connection:
                said = connection.recv(3)
    except OSError as error:
        return f"nobody met at {host}: {error}"
    return None if said == b"met" else f"{said!r} came through"


def _route(family: int, kind: int, address: tuple[str, int] | str) -> str | None:
    try:
        with socket.socket(family, kind) as probe:
            probe.setblocking(False)
            code = probe.connect_ex(address)
    except OSError:  # not even a socket
        return None
    return f"{address} can be reached" if code in UNDER_WAY else None


def _opens(family: int, kind: int, protocol: int) -> str | None:
    try:
        socket.socket(family, kind, protocol).close()
    except OSError:
        return None
    return f"{socket.AddressFamily(family).name} sockets can be opened"
