"""A report in plain values and stable words, there and back: what D-Bus and `--json` carry.

docs/dbus.md has the keys. New ones may come, none goes away; one that is missing keeps its default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core.verify.report import (
    AtTarget,
    Backup,
    Finding,
    OnDrive,
    Origin,
    Report,
    SampleFile,
    Sentence,
    SetReport,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def as_dict(report: Report) -> dict[str, object]:
    """The report in dicts, lists, texts, whole numbers and truths; `at` in seconds since the epoch."""
    adopted = [one for one in report.sets if one.origin is Origin.SLOWBOAT]
    return {
        "at": report.at,
        "deep": report.deep,
        "drive_seen": report.drive_seen,
        "ok": report.ok,
        "complete": report.complete,
        "restorable": report.restorable,
        "files": sum(one.files for one in adopted),
        "bytes": sum(one.size for one in adopted),
        "files_right": sum(one.files_right for one in adopted),
        "bytes_right": sum(one.size_right for one in adopted),
        "foreign": report.foreign,
        "unnamed": report.unnamed,
        "sets": [
            {
                "set": one.set_name,
                "chain": one.chain,
                "origin": one.origin.value,
                "files": one.files,
                "bytes": one.size,
                "files_right": one.files_right,
                "bytes_right": one.size_right,
                "unlisted": one.unlisted,
                "target": dict(one.target),
                "drive": dict(one.drive),
            }
            for one in report.sets
        ],
        "findings": [
            {
                "name": one.name,
                "set": one.set_name,
                "role": one.role,
                "bytes": one.size,
                "target": one.target.value,
                "drive": one.drive.value,
                "text": one.text,
            }
            for one in report.findings
        ],
        "sentences": [{"text": one.text, "cure": one.cure, "wrong": one.wrong} for one in report.sentences],
        "backups": [
            {
                "set": one.set_name,
                "chain": one.chain,
                "restorable": not one.files_missing,
                "files_missing": one.files_missing,
                "volumes_missing": one.volumes_missing,
                "bytes_missing": one.size_missing,
            }
            for one in report.backups
        ],
        "samples": [
            {
                "path": one.path,
                "set": one.set_name,
                "bytes": one.size,
                "file_prefix": one.file_prefix,
                "encrypted": one.encrypted,
            }
            for one in report.samples
        ],
    }


def from_dict(told: Mapping[str, Any]) -> Report:
    """The report that `as_dict` told; a word of a newer version's that is not known here counts as not known."""
    return Report(
        at=float(told.get("at", 0.0)),
        deep=bool(told.get("deep")),
        drive_seen=bool(told.get("drive_seen")),
        complete=bool(told.get("complete")),
        ok=bool(told.get("ok")),
        restorable=bool(told.get("restorable")),
        sets=tuple(_set(one) for one in told.get("sets", ())),
        findings=tuple(_finding(one) for one in told.get("findings", ())),
        unnamed=int(told.get("unnamed", 0)),
        foreign=int(told.get("foreign", 0)),
        sentences=tuple(
            Sentence(str(one["text"]), str(one.get("cure", "")), wrong=bool(one.get("wrong")))
            for one in told.get("sentences", ())
        ),
        backups=tuple(_backup(one) for one in told.get("backups", ())),
        samples=tuple(_sample(one) for one in told.get("samples", ())),
    )


def _set(told: Mapping[str, Any]) -> SetReport:
    return SetReport(
        set_name=str(told["set"]),
        chain=int(told.get("chain", 0)),
        files=int(told.get("files", 0)),
        size=int(told.get("bytes", 0)),
        files_right=int(told.get("files_right", 0)),
        size_right=int(told.get("bytes_right", 0)),
        origin=next((each for each in Origin if each.value == told.get("origin")), Origin.OTHER),
        unlisted=int(told.get("unlisted", 0)),
        target={str(word): int(count) for word, count in told.get("target", {}).items()},
        drive={str(word): int(count) for word, count in told.get("drive", {}).items()},
    )


def _finding(told: Mapping[str, Any]) -> Finding:
    return Finding(
        name=str(told["name"]),
        set_name=str(told.get("set", "")),
        role=str(told.get("role", "")),
        size=int(told.get("bytes", 0)),
        target=next((each for each in AtTarget if each.value == told.get("target")), AtTarget.UNCONFIRMED),
        drive=next((each for each in OnDrive if each.value == told.get("drive")), OnDrive.UNKNOWN),
        text=str(told.get("text", "")),
    )


def _backup(told: Mapping[str, Any]) -> Backup:
    return Backup(
        set_name=str(told["set"]),
        chain=int(told.get("chain", 0)),
        files_missing=int(told.get("files_missing", 0)),
        volumes_missing=int(told.get("volumes_missing", 0)),
        size_missing=int(told.get("bytes_missing", 0)),
    )


def _sample(told: Mapping[str, Any]) -> SampleFile:
    return SampleFile(
        path=str(told["path"]),
        set_name=str(told.get("set", "")),
        size=int(told.get("bytes", 0)),
        file_prefix=str(told.get("file_prefix", "")),
        encrypted=bool(told.get("encrypted")),
    )
