"""Deja Dup's settings: which URL it gives to duplicity for them, and which settings lead it to a target.

Knows the settings of all its versions (docs/dejadup.md has the table and its sources). Must not know where they
are kept, nor which Deja Dup is installed: its version shows in which settings there are.
"""

from __future__ import annotations

import enum
import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slowboat.core.errors import NeedsUser

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Values = dict[str, str]
"""Settings: "backend", or a child's name, a dot and its key, such as "Drive.folder", to their texts."""


class Layout(enum.Enum):
    """Which settings there are; the value is for people."""

    OLD = "40 or older"
    NO_CLOUD = "41 to 47"
    RCLONE = "48 or newer"


def layout(values: Mapping[str, str]) -> Layout:
    """What the settings themselves tell of the version."""
    if "Rclone.remote" in values:
        return Layout.RCLONE
    return Layout.OLD if "OpenStack.container" in values else Layout.NO_CLOUD


# --- what it reads back -----------------------------------------------------------------------------

FLATPAK: Final = ".var/app/org.gnome.DejaDup"
"""Where a Flatpak's XDG folders are, below the home
(https://docs.flatpak.org/en/latest/conventions.html#xdg-base-directories)."""

CHECKED: Final = "metadata"
"""The folder beside its own others that its check restores after each backup."""


def own_folders(home: str, cache_home: str, data_home: str) -> tuple[str, ...]:
    """The folders of its own in which Deja Dup keeps what its check restores: of any version, and of the Flatpak's.

    Up to 45.2 (run) that is the one for caches, in 50.1 (run) the one for data; since when between is not known. An
    upgrade, and a change from a package to the Flatpak, moves it: what was backed up before is in another volume than
    what the next check reads, so all of them count. So do the usual places where the variables name others: the
    session in which Deja Dup runs need not have the environment of a service.

    Args:
        home: the user's home.
        cache_home, data_home: $XDG_CACHE_HOME and $XDG_DATA_HOME, or what they are by default.
    """
    usual = (f"{home}/.cache", f"{home}/.local/share")
    homes = (cache_home, data_home, *usual, f"{home}/{FLATPAK}/cache", f"{home}/{FLATPAK}/data")
    return tuple(dict.fromkeys(f"{each}/deja-dup" for each in homes))


# --- the URL for a folder ---------------------------------------------------------------------------

_UNESCAPED: Final = frozenset(
    b"!$&'()*+,-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~",
)
"""What g_file_get_uri leaves as it is in a path; seen with `gio info` of GLib 2.74, byte by byte."""


def _escaped(path: str) -> str:
    """A path as GLib writes it in a URI; bytes that are no UTF-8 come as surrogates (os.fsdecode)."""
    raw = path.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _UNESCAPED else f"%{byte:02X}" for byte in raw)


def folder_urls(folder: str, of: Layout) -> tuple[str, ...]:
    """The URLs under which Deja Dup may have backed up to a local folder, its present one first.

    Since 46 it hands over the path with `%`, `?` and `#` escaped; from 37 to 45 `gio+` and the URI; before that
    the URI alone. An upgrade leaves the caches of the older ones behind.

    Args:
        folder: an absolute path (os.fsdecode).
        of: what the settings tell of the version.
    """
    newest = "file://" + folder.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    older = f"gio+file://{_escaped(folder)}"
    oldest = f"file://{_escaped(folder)}"
    order = (newest, older, oldest) if of is Layout.RCLONE else (older, newest, oldest)
    return tuple(dict.fromkeys(order))


def source_urls(values: Mapping[str, str], folder: str, home: str, hostname: str) -> tuple[str, ...]:
    """The URLs that Deja Dup may call `folder` by; () where its settings lead to another place.

    Args:
        folder: the folder on the drive, absolute.
        home: the user's home, to which Deja Dup's local folders are relative.
        hostname: what "$HOSTNAME" in its settings stands for.
    """
    folder = posixpath.normpath(folder)
    match values.get("backend", ""):
        case "local":
            leads = posixpath.normpath(posixpath.join(home, _local(_text(values, "Local.folder", hostname)))) == folder
        case "drive":  # wherever the drive is mounted, the folder in it is the end of the path
            leads = _ends_with(folder, _text(values, "Drive.folder", hostname))
        case "remote":  # so it is with a server's share: in gvfs's folder, or where else it is mounted
            inside = _text(values, "Remote.folder", hostname).strip("/")
            return _share_urls(values, folder, inside) if _ends_with(folder, inside) else ()
        case "file" if values.get("File.type") == "volume":
            leads = True  # where on the drive is said in bytes that need not be text
        case "file":
            path = values.get("File.path", "")
            leads = path in {folder, f"file://{_escaped(folder)}"}
        case _:
            leads = False
    return folder_urls(folder, layout(values)) if leads else ()


def local_folder(values: Mapping[str, str], home: str, hostname: str) -> str:
    """The folder that the settings name by its whole path; "" where they lead to a drive, wherever that is mounted."""
    if values.get("backend") == "local":
        return posixpath.normpath(posixpath.join(home, _local(_text(values, "Local.folder", hostname))))
    path = values.get("File.path", "") if values.get("backend") == "file" else ""
    return path if path.startswith("/") else ""


def _share_urls(values: Mapping[str, str], folder: str, inside: str) -> tuple[str, ...]:
    """The URLs for a server's share: up to 45 the server's own, then that of gvfs's folder (both seen in a run).

    Args:
        folder: where the share's folder is found here.
        inside: its name at the server.
    """
    by_server = "gio+" + "/".join(part for part in (values.get("Remote.uri", "").rstrip("/"), _escaped(inside)) if part)
    by_path = folder_urls(folder, Layout.RCLONE)
    urls = (*by_path, by_server) if layout(values) is Layout.RCLONE else (by_server, *by_path)
    return tuple(dict.fromkeys(urls))


def _text(values: Mapping[str, str], key: str, hostname: str) -> str:
    return values.get(key, "$HOSTNAME").replace("$HOSTNAME", hostname)


def _local(folder: str) -> str:
    return folder[2:] if folder.startswith("~/") else "" if folder == "~" else folder


def _ends_with(path: str, folder: str) -> bool:
    inside = posixpath.normpath(folder.strip("/")) if folder.strip("/") else ""
    return not inside or path.endswith(f"/{inside}")


# --- the URL for a cloud ----------------------------------------------------------------------------


def cloud_url(values: Mapping[str, str], hostname: str) -> str:
    """The URL that Deja Dup gives to duplicity for the cloud it is set to; "" where it is set to none."""

    def inside(key: str) -> str:
        return _text(values, key, hostname).removeprefix("/")

    match values.get("backend", ""):
        case "openstack":
            return f"swift://{inside('OpenStack.container')}"
        case "rackspace":
            return f"cf+http://{inside('Rackspace.container')}"
        case "rclone":
            return f"rclone://{values.get('Rclone.remote', '').removesuffix(':')}:{inside('Rclone.folder')}"
        case _:
            return ""


# --- from the drive to the cloud --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """What old versions must know of the cloud; the password they ask for themselves.

    Attributes:
        user: the user's name.
        project: the project (tenant); "" for none.
        auth_url: where tokens are had.
    """

    user: str = ""
    project: str = ""
    auth_url: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """What to change so that Deja Dup backs up to `url`: settings in the order in which to set them."""

    url: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ByHand:
    """What duplicity must be told to go on where this Deja Dup cannot.

    Attributes:
        archive_dir: where the cache for the target is, or will be.
        encrypted: whether the backup is.
    """

    archive_dir: str = "~/.cache/deja-dup"
    encrypted: bool = True


def switch(
    values: Mapping[str, str],
    urls: Iterable[str],
    place: str,
    account: Account = Account(),
    by_hand: ByHand = ByHand(),
) -> Switch:
    """The settings that lead Deja Dup to a target.

    Args:
        values: its settings now.
        urls: the target's URLs, each of which has duplicity's cache or will have it.
        place: the target's container and prefix, such as "backup/laptop".
        account: for versions that have the cloud's address among their settings.
        by_hand: for versions that cannot go there.

    Raises:
        NeedsUser: this version cannot reach a Swift, or none of the URLs is one that it would use.
    """
    of = layout(values)
    known = tuple(urls)
    if of is Layout.NO_CLOUD:
        raise _no_way(of, command(values, known[0] if known else "", by_hand))
    for url in known:
        for change in _to_rclone(url) if of is Layout.RCLONE else _to_openstack(url, values, account):
            # What it would make of these settings is what counts: every letter of the URL names the cache. And
            # "$HOSTNAME" would not stay what it is.
            if cloud_url({**values, **change}, "") == url:
                return Switch(url, change)
    wanted = f"rclone://REMOTE:{place}" if of is Layout.RCLONE else f"swift://{place}"
    remote = ", where REMOTE is the name that `rclone listremotes` shows for that cloud" if of is Layout.RCLONE else ""
    both = ", ".join(f'"{url}"' for url in (*known, wanted))
    raise NeedsUser(
        f"Deja Dup {of.value} would address the target as {wanted}, and no cache is prepared for that address",
        hint=f"Write target_urls = [{both}] in place of target_url in slowboat's configuration{remote}. Then "
        "run `slowboat reload`, and try again",
        code="front-end",
    )


def _no_way(of: Layout, duplicity: str) -> NeedsUser:
    return NeedsUser(
        f"this Deja Dup ({of.value}) cannot back up to Swift",
        hint="Deja Dup 48 or newer reaches it through rclone. From Flathub:\n"
        "flatpak install flathub org.gnome.DejaDup\n"
        "Or let duplicity itself continue there, with SWIFT_AUTHURL, SWIFT_USERNAME, SWIFT_PASSWORD and PASSPHRASE "
        "set:\n"
        f"{duplicity}\n"
        "Or keep backing up to the drive: those backups are sent, too",
        code="front-end",
    )


USER_DIRS: Final = {
    **{name: name for name in ("DESKTOP", "DOCUMENTS", "DOWNLOAD", "MUSIC", "PICTURES", "TEMPLATES")},
    "PUBLIC_SHARE": "PUBLICSHARE",
    "VIDEO": "VIDEOS",
}
"""Words in its lists for the user's folders, to those of user-dirs.dirs(5); `libdeja/DirHandling.vala`."""


def command(values: Mapping[str, str], url: str, by_hand: ByHand = ByHand()) -> str:
    """One line for a shell: duplicity makes the next incremental of what Deja Dup backs up, at `url`.

    With the same source ("/") and the same lists, the deeper path first, as duplicity takes the first that fits. The
    lists have the user's folders by their paths: a shell that looks them up by `xdg-user-dir` is answered with the
    home itself where one is not set, and would exclude that.
    """
    lists = {"include": values.get("include-list", "$HOME"), "exclude": values.get("exclude-list", "")}
    found = [(word, path) for word, text in lists.items() for path in text.splitlines() if path and not _unset(path)]
    found += [("exclude", "~/.cache")]
    found.sort(key=lambda each: (-_depth(each[1]), each[0]))
    options = [f"--{word}={_for_a_shell(path)}" for word, path in found]
    archive_dir = f"--archive-dir={_for_a_shell(by_hand.archive_dir)}"
    how = [archive_dir, "--volsize=200", *([] if by_hand.encrypted else ["--no-encryption"])]
    return " ".join(["duplicity incremental", *how, *options, "--exclude='**'", "/", shlex.quote(url)])


def _unset(path: str) -> bool:
    """Whether it is a word for one of the user's folders, which there is not: Deja Dup leaves that out, too."""
    return path.startswith("$") and path[1:] in USER_DIRS


def _depth(path: str) -> int:
    """How many folders deep; what is relative to the home is in the home."""
    beneath = 0 if path.startswith("/") else 1 if path in {"$HOME", "~"} else 2 if path.startswith(("$", "~")) else 3
    return path.strip("/").count("/") + beneath


def _for_a_shell(path: str) -> str:
    """A path of its lists as one word of a command."""
    if path in {"$HOME", "~"}:
        return '"$HOME"'
    if path == "$TRASH":
        return '"$HOME/.local/share/Trash"'
    if path.startswith("/"):
        return shlex.quote(path)
    return f'"$HOME"/{shlex.quote(path.removeprefix("~/").removeprefix("$HOME/"))}'


def _to_rclone(url: str) -> tuple[Values, ...]:
    scheme, _, rest = url.partition("://")
    remote, colon, folder = rest.partition(":")
    if scheme != "rclone" or not (remote and colon and folder):
        return ()
    return ({"Rclone.remote": remote, "Rclone.folder": folder, "backend": "rclone"},)


def _to_openstack(url: str, values: Mapping[str, str], account: Account) -> tuple[Values, ...]:
    scheme, _, container = url.partition("://")
    if scheme == "cf+http" and "Rackspace.container" in values:
        return ({"Rackspace.container": container, "backend": "rackspace"},)
    if scheme != "swift":
        return ()
    known = {"username": account.user, "tenant": account.project, "authurl": account.auth_url}
    found = {f"OpenStack.{key}": text for key, text in known.items() if text and not values.get(f"OpenStack.{key}")}
    return ({"OpenStack.container": container, **found, "backend": "openstack"},)


def in_words(change: Mapping[str, str], command: str = "gsettings") -> str:
    """The commands that make a change, for people: `gsettings set org.gnome.DejaDup backend rclone; ...`."""
    return "; ".join(
        f"{command} set {schema_of(name)[0]} {schema_of(name)[1]} {_quoted(text)}" for name, text in change.items()
    )


def schema_of(name: str) -> tuple[str, str]:
    """The GSettings schema and the key of a setting's name: ("org.gnome.DejaDup.Drive", "folder")."""
    child, dot, key = name.rpartition(".")
    return (f"{SCHEMA}{dot}{child}", key)


def _quoted(text: str) -> str:
    return "\"'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'\""


SCHEMA: Final = "org.gnome.DejaDup"
"""Of the settings; the children's names come after a dot."""
