"""The status for programs that show or collect it: waybar, i3blocks, polybar, Argos, Prometheus.

Pure: reports in, text out. Knows the formats of others (each with its source); must not know the bus.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal

from slowboat.cli import phrases
from slowboat.core.words import Activity, HandoverState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slowboat.core.words import ManagerReport, MigrationReport

Form = Literal["waybar", "i3blocks", "polybar", "argos", "prometheus"]

ABSENT: Final = "not-running"
"""In the place of a state where there is no daemon."""

_COLOURS: Final[Mapping[str, str]] = {
    Activity.SENDING.value: "#2ec27e",
    Activity.DONE.value: "#2ec27e",
    Activity.NEEDS_USER.value: "#e01b24",
    Activity.WAITING.value: "#e5a50a",
    Activity.PAUSED.value: "#e5a50a",
}
_SIGNS: Final[Mapping[str, str]] = {
    Activity.SENDING.value: "↑",
    Activity.DONE.value: "✓",
    Activity.NEEDS_USER.value: "!",
    Activity.PAUSED.value: "‖",
}
_WAITS: Final = "…"


def shown(form: Form, report: ManagerReport | None, now: float) -> str:
    """The status in that form, without a line break at its end.

    Args:
        report: None where the daemon is not running.
        now: the present, seconds since the epoch.
    """
    return _FORMS[form](report, now)


def _state(report: ManagerReport | None) -> str:
    return report.activity.value if report else ABSENT


def _short(report: ManagerReport | None) -> str:
    """As much as a panel has room for: `↑ 23 % 512 kB/s`."""
    if report is None:
        return ""
    sign = _SIGNS.get(_state(report), _WAITS)
    if report.activity is Activity.DONE:
        return sign
    parts = [sign, f"{_percent(report)} %"]
    if report.activity is Activity.SENDING and report.rate > 0:
        parts.append(phrases.rate(report.rate))
    return " ".join(parts)


def _percent(report: ManagerReport) -> int:
    return int(100 * phrases.fraction(report.bytes_done, report.bytes_total)) if report.bytes_total > 0 else 0


def in_lines(report: ManagerReport | None, now: float) -> str:
    """A few lines for whoever asks: what it does, how far it is, when it ends, and why it waits."""
    if report is None:
        return "slowboat is not running"
    done = f"{phrases.size(report.bytes_done)} of {phrases.size(report.bytes_total)}"
    lines = [f"slowboat: {_WORDS.get(report.activity, report.activity.value)}, {done}"]
    if report.expected_end > now and report.activity is not Activity.DONE:
        lines.append(f"Remaining: {phrases.about(report.expected_end - now)}")
    lines += dict.fromkeys(phrases.sentence(reason.text) for reason in report.reasons)
    return "\n".join(lines)


_WORDS: Final[Mapping[Activity, str]] = {Activity.NEEDS_USER: "needs you", Activity.CHECKING: "checking what is there"}


def _waybar(report: ManagerReport | None, now: float) -> str:
    """https://man.archlinux.org/man/waybar-custom.5.en#RETURN-TYPE; its text and tooltip are Pango's markup."""
    state = _state(report)
    whole = {
        "text": _markup(_short(report)),
        "alt": state,
        "tooltip": _markup(in_lines(report, now)),
        "class": state,
        "percentage": _percent(report) if report else 0,
    }
    return json.dumps(whole, ensure_ascii=False)


def _i3blocks(report: ManagerReport | None, _: float) -> str:
    """https://vivien.github.io/i3blocks/#_format: a long text, a short one, a colour."""
    short = _short(report)
    return "\n".join([short, short.partition(" ")[0], _COLOURS.get(_state(report), "")]).rstrip("\n")


def _polybar(report: ManagerReport | None, _: float) -> str:
    """https://github.com/polybar/polybar/wiki/Formatting: what looks like a tag of its own is broken up."""
    short, colour = _short(report).replace("%{", "% {"), _COLOURS.get(_state(report), "")
    return f"%{{F{colour}}}{short}%{{F-}}" if colour and short else short


def _argos(report: ManagerReport | None, now: float) -> str:
    """https://github.com/p-e-w/argos#output-format: the button, three dashes, then the menu."""
    lines = [f"{_short(report) or 'slowboat'} | iconName=io.github.slowboat.Slowboat1-symbolic useMarkup=false", "---"]
    lines += [f"{line.replace('|', '¦')} | useMarkup=false" for line in in_lines(report, now).split("\n")]
    if report is not None:
        word = "resume" if report.activity is Activity.PAUSED else "pause"
        lines += ["---", f"{word.capitalize()} | bash='slowboat {word}' terminal=false"]
        lines += ["Watch | bash='slowboat status --watch' terminal=true"]
    return "\n".join(lines)


def _markup(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# -- Prometheus, https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format


def _prometheus(report: ManagerReport | None, _: float) -> str:
    lines = [*_family("up", "gauge", "Whether slowboat runs.", [("", 0 if report is None else 1)])]
    if report is not None:
        lines += _of_manager(report)
        lines += _of_migrations(report)
    return "\n".join(lines)


def _of_manager(report: ManagerReport) -> Iterator[str]:
    yield from _family("info", "gauge", "The version that runs.", [(_labels(version=report.version), 1)])
    yield from _family("rate_bytes_per_second", "gauge", "What is sent now.", [("", max(0, report.rate))])
    yield from _family("added_delay_seconds", "gauge", "Queue at the line.", [("", max(0.0, report.added_delay))])


_NUMBERS: Final[tuple[tuple[str, str, str, Callable[[MigrationReport], float]], ...]] = (
    ("size_bytes", "gauge", "The size of all that is to be in the cloud.", lambda one: one.bytes_total),
    ("done_bytes", "gauge", "What the cloud has confirmed.", lambda one: one.bytes_done),
    ("sent_bytes_total", "counter", "What went over the line, repetitions included.", lambda one: one.bytes_sent),
    ("volumes", "gauge", "Volumes of the backup.", lambda one: one.volumes_total),
    ("volumes_done", "gauge", "Volumes that the cloud has confirmed.", lambda one: one.volumes_done),
    ("volumes_refused", "gauge", "Volumes that were set aside.", lambda one: one.volumes_refused),
    ("handover_done", "gauge", "Whether backups go to the cloud.", lambda one: one.handover is HandoverState.DONE),
    ("restorable", "gauge", "Whether the cloud alone can restore the newest backup.",
     lambda one: one.restorable_from_cloud),
    ("behind", "gauge", "Backups on the drive that are newer than any in the cloud.", lambda one: one.behind),
    ("newest_in_cloud_timestamp_seconds", "gauge", "When the newest backup in the cloud was made; 0 for none.",
     lambda one: one.newest_in_cloud),
    ("expected_end_timestamp_seconds", "gauge", "When it will be done; 0 where nobody knows.",
     lambda one: one.expected_end),
)  # fmt: skip


def _of_migrations(report: ManagerReport) -> Iterator[str]:
    migrations = report.migrations.values()
    for name, kind, meaning, number in _NUMBERS:
        samples = [(_labels(migration=one.name), max(0, number(one))) for one in migrations]
        yield from _family(name, kind, meaning, samples)
    states = [
        (_labels(migration=one.name, state=state.value), one.activity is state)
        for one in migrations
        for state in Activity
    ]
    yield from _family("state", "gauge", "1 for what it is doing.", states)
    reasons = {
        (_labels(migration=one.name, reason=reason.code), 1): None for one in migrations for reason in one.reasons
    }
    yield from _family("reason", "gauge", "1 for each reason why less, or nothing, is sent.", list(reasons))


def _family(name: str, kind: str, meaning: str, samples: Sequence[tuple[str, float]]) -> Iterator[str]:
    if samples:
        yield f"# HELP slowboat_{name} {meaning}"
        yield f"# TYPE slowboat_{name} {kind}"
        yield from (f"slowboat_{name}{labels} {float(value):.17g}" for labels, value in samples)


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_FORMS: Final[Mapping[Form, Callable[[ManagerReport | None, float], str]]] = {
    "waybar": _waybar,
    "i3blocks": _i3blocks,
    "polybar": _polybar,
    "argos": _argos,
    "prometheus": _prometheus,
}
