"""How full file systems are: those that hold data, each device once.

Two sensors: a server that does not answer keeps whoever asks for its file system waiting, possibly for good, and that
must not hide how full this machine's own disks are. Sources: the mounts of /proc, statvfs(3).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Readings, SensorKind, gauge, kept_or_absent

_MOST: Final = 100
"""A host that mounts one for each of its containers would send nothing else."""
_LOCAL: Final = {
    "apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus", "jfs", "msdos", "nilfs2", "ntfs",
    "ntfs3", "ocfs2", "gfs2", "reiserfs", "ubifs", "ufs", "vfat", "xfs", "zfs",
}  # fmt: skip
"""Images that can only be read (squashfs, iso9660 …) are full by nature."""
_REMOTE: Final = {
    "9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "virtiofs",
}  # fmt: skip
_ROOTS: Final = {"overlay", "tmpfs"}
"""What the root itself may be, in a container or on a machine without a disk."""
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    device: str
    point: str
    kind: str


def mounts_of(table: bytes) -> Iterator[Mount]:
    """The lines of a mount table; in them blanks and the like are written as octal numbers: ``\\040``."""
    for line in table.splitlines():
        device, point, kind = (
            _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), field).decode("utf-8", "surrogateescape")
            for field in line.split(b" ")[:3]
        )
        yield Mount(device, point, kind)


def is_local(mount: Mount) -> bool:
    return mount.kind in _LOCAL or (mount.point == "/" and mount.kind in _ROOTS)


def is_remote(mount: Mount) -> bool:
    return mount.kind in _REMOTE or mount.kind.startswith("fuse.") or mount.kind == "fuseblk"


class _Filesystems:
    def __init__(self, host: Host, *, remote: bool) -> None:
        self._root = os.fspath(host.root).rstrip("/")
        self._mounts = kept_or_absent(host.mounts)
        self._is_ours = is_remote if remote else is_local
        self._table = b""
        self._found: list[tuple[str, tuple[Series, Series, Series]]] = []
        """Paths, each with its series: used, free and reserved."""
        self._learn()
        if not self._found:
            raise Absent("there is no file system of another machine" if remote else "there is no file system")

    def read(self) -> Readings:
        self._learn()
        values: dict[Series, float] = {}
        for path, (used, free, reserved) in self._found:
            try:
                seen = os.statvfs(path)
            except OSError:  # unmounted a moment ago, or not to be seen by us
                continue
            if not seen.f_blocks:
                continue
            values[used] = float((seen.f_blocks - seen.f_bfree) * seen.f_frsize)
            values[free] = float(seen.f_bavail * seen.f_frsize)
            values[reserved] = float((seen.f_bfree - seen.f_bavail) * seen.f_frsize)
        return Readings(values)

    def _learn(self) -> None:
        """The mount table is only read through again when it is another one."""
        table = self._mounts.read()
        if table == self._table:
            return
        found: dict[str, Mount] = {}
        for mount in mounts_of(table):
            if self._is_ours(mount):
                before = found.get(mount.device)
                # The same device in several places is one file system; the shortest way to it is the one people know.
                if before is None or len(mount.point) < len(before.point):
                    found[mount.device] = mount
        self._found = [(self._root + mount.point, _series(mount)) for mount in list(found.values())[:_MOST]]
        self._table = table


def _series(mount: Mount) -> tuple[Series, Series, Series]:
    def of(state: str) -> Series:
        return gauge(
            "system.filesystem.usage",
            "By",
            **{
                "system.device": _readable(mount.device),
                "system.filesystem.mountpoint": _readable(mount.point),
                "system.filesystem.state": state,
                "system.filesystem.type": mount.kind,
            },
        )

    return of("used"), of("free"), of("reserved")


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


FILESYSTEMS = SensorKind("filesystems", lambda host: _Filesystems(host, remote=False), every=3)
NETWORK_FILESYSTEMS = SensorKind(
    "network filesystems", lambda host: _Filesystems(host, remote=True), deadline_s=2.0, every=3
)
