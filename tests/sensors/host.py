"""A host made of files in a folder, as the kernel would write them."""

from __future__ import annotations

from pathlib import Path

from tocsin.sensors import SENSORS
from tocsin.sensors.base import Host

FILES = {
    "proc/stat": "cpu  100 20 300 4000 50 6 7 8 9 0\ncpu0 60 10 150 2500 25 3 4 4 9 0\n"
    "cpu1 40 10 150 1500 25 3 3 4 0 0\nintr 1 2 3\nbtime 1700000000\n",
    "proc/loadavg": "0.52 1.25 2.00 2/345 6789\n",
    "proc/meminfo": "MemTotal:        1000 kB\nMemFree:          200 kB\nMemAvailable:     600 kB\n"
    "Buffers:          50 kB\nCached:           300 kB\nSwapCached:         0 kB\n"
    "SwapTotal:        500 kB\nSwapFree:         400 kB\n"
    "SReclaimable:     100 kB\nHugePages_Total:       0\n",
    "proc/uptime": "12345.67 24000.00\n",
    "proc/diskstats": " 259 0 nvme0n1 10 0 2000 5 20 0 4000 6 0 1500 11 0 0 0 0 0 0\n"
    " 259 1 nvme0n1p1 9 0 1900 5 19 0 3900 6 0 1400 11 0 0 0 0 0 0\n"
    " 253 0 dm-0 9 0 1900 5 19 0 3900 6 0 1400 11 0 0 0 0 0 0\n"
    "   7 0 loop0 9 0 1900 5 19 0 3900 6 0 1400 11 0 0 0 0 0 0\n",
    "proc/1/net/dev": "Inter-|   Receive    |  Transmit\n face |bytes packets errs drop\n"
    "    lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n"
    "  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n"
    "docker0:500 5 0 0 0 0 0 0 600 6 0 0 0 0 0 0\n"
    "veth1: 500 5 0 0 0 0 0 0 600 6 0 0 0 0 0 0\n"
    "  ifb0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
    "proc/1/mounts": "proc /proc proc rw 0 0\n/dev/nvme0n1p1 / ext4 rw 0 0\n"
    "/dev/nvme0n1p1 /var/lib/bind\\040mount ext4 rw 0 0\n"
    "tmpfs /run tmpfs rw 0 0\n/dev/loop0 /snap/core squashfs ro 0 0\n/dev/sdb1 /the\\040data xfs rw 0 0\n",
    "proc/sys/kernel/random/boot_id": "6b1d3d6e-0b1a-4a0e-9d53-1d0c1a8d2f10\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 7B13\n",
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "45000\n",
    "sys/class/hwmon/hwmon0/temp1_label": "Package id 0\n",
    "sys/class/hwmon/hwmon0/temp10_input": "-274000\n",
    "sys/class/hwmon/hwmon1/name": "nct6775\n",
    "sys/class/hwmon/hwmon1/fan2_input": "1200\n",
    "etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/hostname": "oslo-1\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
}
FOLDERS = (
    "sys/block/nvme0n1/slaves",
    "sys/block/dm-0/slaves/nvme0n1",
    "sys/block/loop0/slaves",
    "sys/class/net/eth0/device",
    "sys/class/net/docker0/lower_veth1",
    "sys/class/net/veth1/upper_docker0",
    "the data",
    "var/lib/bind mount",
)


def make_host(root: Path) -> Host:
    for name, text in FILES.items():
        put(root, name, text)
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    return Host(root)


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", errors="surrogateescape")


def put_process(
    root: Path, pid: int, name: str, *, used: int, pages: int, started: int = 100, command: bytes = b""
) -> None:
    fields = ["S", "1", *["0"] * 9, str(used), "0", *["0"] * 6, str(started), "0", str(pages), "0", "0"]
    put(root, f"proc/{pid}/stat", f"{pid} ({name[:15]}) {' '.join(fields)}\n")
    put(root, f"proc/{pid}/comm", f"{name[:15]}\n")
    (root / f"proc/{pid}/cmdline").write_bytes(command)


def read(host: Host, name: str) -> dict[str, float]:
    """What a sensor gives, by the labels of its series."""
    return {series.label: value for series, value in SENSORS[name].open(host).read().values.items()}
