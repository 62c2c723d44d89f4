"""How many processes there are, and which take most processor time and most memory.

Source: /proc/PID/stat, one file a process. Threads of the kernel are among them. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

from __future__ import annotations

import os
import time
from heapq import nlargest
from pathlib import Path
from typing import Final

from tocsin.sensors.base import Absent, Host, Process, Readings, SensorKind, gauge

_COUNT: Final = gauge("system.process.count", "{process}")
_MOST: Final = 5
"""By processor time, and as many by memory."""
_SHORTENED: Final = 15
"""The kernel keeps so many bytes of a name."""
_LONGEST: Final = 200


class _Processes:
    def __init__(self, host: Host) -> None:
        self._proc = os.fspath(host.root / "proc")
        self._users = _Users(host.root / "etc" / "passwd")
        self._second = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGESIZE")
        self._before: dict[str, tuple[bytes, int]] = {}
        """When each process started, and its processor time at the look before."""
        self._looked_s = 0.0
        if not self._pids():
            raise Absent(f"there is no process under {self._proc}")

    def read(self) -> Readings:
        now_s = time.monotonic()
        passed = (now_s - self._looked_s) * self._second
        before, self._before, self._looked_s = self._before, {}, now_s
        seen: list[tuple[int, int, str]] = []
        """Processor time since the look before, pages of memory, pid."""
        count = 0
        for pid in self._pids():
            try:
                file = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # it has ended
                continue
            try:
                line = os.read(file, 1024)
            except OSError:
                continue
            finally:
                os.close(file)
            # A name may hold anything, blanks and brackets too; the last bracket ends it.
            fields = line[line.rfind(b")") + 2 :].split(b" ", 22)
            if len(fields) < 22:
                continue
            count += 1
            used = int(fields[11]) + int(fields[12])
            started, used_before = before.get(pid, (b"", 0))
            self._before[pid] = (fields[19], used)
            seen.append((used - used_before if started == fields[19] else 0, int(fields[21]), pid))
        if not before:  # a share of the processor needs two looks
            return Readings({_COUNT: float(count)})
        greatest = {one[2]: one for one in nlargest(_MOST, seen) if one[0]}
        greatest |= {one[2]: one for one in nlargest(_MOST, seen, key=lambda one: one[1]) if one[1]}
        processes = [
            Process(
                pid=int(pid),
                name=self._name(pid),
                user=self._user(pid),
                cpu=round(used / passed, 4),
                memory_bytes=pages * self._page_bytes,
            )
            for used, pages, pid in greatest.values()
        ]
        return Readings({_COUNT: float(count)}, processes)

    def _pids(self) -> list[str]:
        return [name for name in os.listdir(self._proc) if name.isdecimal()]

    def _name(self, pid: str) -> str:
        """Of one whose name the kernel had to shorten, what its command line says where that is the same name."""
        try:
            name = Path(self._proc, pid, "comm").read_bytes().rstrip(b"\n")
            if len(name) >= _SHORTENED:
                called = Path(self._proc, pid, "cmdline").read_bytes().split(b"\0", 1)[0].rpartition(b"/")[2]
                name = called if called.startswith(name) else name
        except OSError:
            return ""
        return name.decode("utf-8", "replace")[:_LONGEST]

    def _user(self, pid: str) -> str:
        try:
            return self._users.name(os.stat(f"{self._proc}/{pid}").st_uid)
        except OSError:
            return ""


class _Users:
    """Names by number, from the file itself: the system's own call may ask a directory server, and wait for it."""

    def __init__(self, passwd: Path) -> None:
        self._passwd = passwd
        self._changed_ns = -1
        self._names: dict[int, str] = {}

    def name(self, uid: int) -> str:
        try:
            changed_ns = self._passwd.stat().st_mtime_ns
            if changed_ns != self._changed_ns:
                rows = (line.split(":") for line in self._passwd.read_text("utf-8", "replace").splitlines())
                self._names = {int(row[2]): row[0] for row in rows if len(row) > 2 and row[2].isdecimal()}
                self._changed_ns = changed_ns
        except OSError:
            self._names = {}
        return self._names.get(uid, str(uid))


PROCESSES = SensorKind("processes", _Processes, deadline_s=2.0, every=3)
