"""Which drive a folder is on, and whether it is still there.

Knows Linux: mount tables, device numbers, error numbers. Must not know what the folder holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import stat
from dataclasses import dataclass
from pathlib import Path

BY_UUID = Path("/dev/disk/by-uuid")
"""udev's links from each file system's UUID to its block device (60-persistent-storage.rules)."""

GONE = frozenset(
    {
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,  # a network share whose server forgot us
        errno.ENOTCONN,  # a FUSE file system whose program died
        errno.ECONNABORTED,  # and one that was aborted
        errno.ENOMEDIUM,
        errno.ESHUTDOWN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ETIMEDOUT,
    }
)
"""What the kernel answers when the drive itself, not one file, is the trouble."""

_FSID_STAYS = frozenset({"ext2", "ext3", "ext4", "btrfs", "f2fs"})
"""File systems whose statfs f_fsid is made from their UUID (fs/ext4/super.c, fs/btrfs/super.c, fs/f2fs/super.c
in Linux), so that it is the same on every mount. Others make it from the device's number, which changes."""


@dataclass(frozen=True, slots=True)
class Mount:
    """What a line of /proc/self/mountinfo says (proc_pid_mountinfo(5)): the type, and what is mounted."""

    type: str
    what: str


class Mounts:
    """Tells whether anything was mounted or unmounted since it was asked last; at first, and in doubt, it was.

    The kernel marks the table of mounts with POLLPRI at every change (proc_pid_mountinfo(5)).
    """

    def __init__(self) -> None:
        self._poll: select.poll | None = None
        self._fd = -1

    def changed(self) -> bool:
        """Whether the table has changed since the last call."""
        if self._poll is not None:
            return bool(self._poll.poll(0))
        with contextlib.suppress(OSError):
            self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLPRI | select.POLLERR)
            self._poll.poll(0)
        return True

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def mount_of(fd: int) -> Mount | None:
    """The mount that the open file `fd` is on, or None where /proc does not say."""
    try:
        info = Path(f"/proc/self/fdinfo/{fd}").read_text()
        mount_id = info.split("mnt_id:", 1)[1].split(None, 1)[0]
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except (OSError, IndexError):
        return None
    for line in lines:
        fields = [os.fsdecode(field) for field in line.split(b" ")]
        if fields[0] == mount_id:
            after = fields.index("-", 6)
            return Mount(fields[after + 1], _unescaped(fields[after + 2]))
    return None


def mounted_at(identity: str, by_uuid: Path = BY_UUID) -> tuple[Path, ...]:
    """Where the drive of that identity is mounted now; () where it is not, or its kind of identity does not tell."""
    if not identity.startswith(("uuid:", "fsid:")):
        return ()
    found: list[Path] = []
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return ()
    for line in lines:
        fields = [os.fsdecode(field) for field in line.split(b" ")]
        place, what = Path(_unescaped(fields[4])), fields[fields.index("-", 6) + 2]
        if what.startswith("/dev/") and identity in _identities_of(place, by_uuid):
            found.append(place)
    return tuple(found)


def _identities_of(place: Path, by_uuid: Path) -> tuple[str, ...]:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ()  # another user's, or gone meanwhile
    try:
        return identities(fd, by_uuid)
    except OSError:
        return ()
    finally:
        os.close(fd)


def _unescaped(text: str) -> str:
    """Undoes mountinfo's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


def identities(fd: int, by_uuid: Path = BY_UUID) -> tuple[str, ...]:
    """What tells the drive of the open folder `fd` from another one at the same place and outlasts a replugging.

    Returns:
        The surest first: "uuid:<file system's UUID>" where udev names it; "fsid:<hex>" where the file system's
        own number is made from its UUID; "<type>:<what is mounted>" for what is no block device (a share, a
        tmpfs), "<type>:" for what is. () where nothing is known.

    Raises:
        OSError: the drive went away.
    """
    mount = mount_of(fd)
    uuid = _uuid(_devices(fd, mount), by_uuid)
    found = [f"uuid:{uuid}"] if uuid else []
    if mount is not None:
        if mount.type in _FSID_STAYS:
            found.append(f"fsid:{os.statvfs(fd).f_fsid:x}")
        found.append(f"{mount.type}:{'' if mount.what.startswith('/dev/') else mount.what}")
    return tuple(found)


def _devices(fd: int, mount: Mount | None) -> set[int]:
    """The block devices that `fd` may be on: btrfs shows a made-up number, and its mount the real device."""
    devices = {os.fstat(fd).st_dev}
    if mount is not None and mount.what.startswith("/"):
        devices.add(_block_device(Path(mount.what)))
    return devices


def _uuid(devices: set[int], by_uuid: Path) -> str:
    with contextlib.suppress(OSError):
        for link in sorted(by_uuid.iterdir()):
            if _block_device(link) in devices:
                return link.name
    return ""


def _block_device(path: Path) -> int:
    """The device number of the block device at `path`; -1 where there is none."""
    try:
        found = path.stat()
    except OSError:
        return -1
    return found.st_rdev if stat.S_ISBLK(found.st_mode) else -1


def unplugged(fd: int) -> bool:
    """Whether the block device under `fd` is no longer known to the kernel.

    A pulled drive's folder can still be listed from memory for a while; /sys forgets the device at once.
    """
    try:
        device = os.fstat(fd).st_dev
    except OSError:
        return True
    known = Path("/sys/dev/block")
    link = known / f"{os.major(device)}:{os.minor(device)}"
    return os.major(device) != 0 and known.is_dir() and not link.is_symlink()
