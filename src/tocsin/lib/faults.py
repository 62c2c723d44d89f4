"""How talking to another machine goes wrong: its fault, or ours. Knows no protocol and no probe.

``ContactFailure``  the other side, or the way to it, failed: an outcome.
``OwnFault``        this machine failed (no file descriptors, no free port, no memory): nothing was measured.
"""

from __future__ import annotations

import errno
import os


class OwnFault(Exception):
    """Our own fault, or our machine's: nothing was measured. ``str()`` says what to do about it."""


class ContactFailure(Exception):
    """The other side could not be reached or did not behave.

    ``code`` is stable and for machines (``refused``, ``timeout``, ``name_not_found`` …), ``message`` is for people.
    ``network`` marks faults that a lost network of our own would also cause.
    """

    def __init__(self, code: str, message: str, *, network: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.network = network


_OWN = {
    errno.EMFILE: "this process has no free file descriptors: raise its open-file limit (ulimit -n)",
    errno.ENFILE: "this machine has no free file descriptors: raise fs.file-max",
    errno.EADDRNOTAVAIL: "this machine has no free local port for another connection: "
    "check less often, or widen net.ipv4.ip_local_port_range",
    errno.ENOBUFS: "this machine has no buffer space left for sockets",
    errno.ENOMEM: "this machine is out of memory",
    errno.EPERM: "this machine does not let us send: a local firewall rule or security policy forbids it",
    errno.EACCES: "this machine does not let us send: a local firewall rule or security policy forbids it",
}
_THEIRS = {
    errno.ECONNREFUSED: ("refused", "connection refused", False),
    errno.ECONNRESET: ("reset", "connection reset", False),
    errno.EPIPE: ("reset", "connection closed by the other side", False),
    errno.ETIMEDOUT: ("timeout", "timed out while connecting", True),
    errno.EHOSTUNREACH: ("unreachable", "no route to host", True),
    errno.ENETUNREACH: ("unreachable", "network unreachable", True),
    errno.EHOSTDOWN: ("unreachable", "host is down", True),
    errno.ENETDOWN: ("unreachable", "network is down", True),
    errno.EAFNOSUPPORT: ("unreachable", "this machine has no network of that address family", True),
}


def fault_of_errno(number: int, where: str = "") -> ContactFailure | OwnFault:
    """The exception to raise for a failed system call. ``where`` is the address it was about (``10.0.0.1:80``)."""
    if number in _OWN:
        return OwnFault(_OWN[number])
    code, words, network = _THEIRS.get(number, ("network_error", os.strerror(number).lower(), True))
    return ContactFailure(
        code, f"{words} by {where}" if code == "refused" and where else _at(words, where), network=network
    )


def _at(words: str, where: str) -> str:
    return f"{words} ({where})" if where else words
