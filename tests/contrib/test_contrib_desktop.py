"""The tests' desktop: a private bus that knows nobody, and a notification service that tells what it showed."""

from __future__ import annotations

import os
import subprocess

import pytest

from realparts.presence import program

pytestmark = pytest.mark.needs("busctl")

NOTIFY = ("org.freedesktop.Notifications", "/org/freedesktop/Notifications", "org.freedesktop.Notifications")


def _busctl(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [program("busctl"), f"--address={address}", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_nothing_can_be_activated_on_the_private_bus(session_bus):
    names = _busctl(session_bus, "list", "--activatable", "--no-legend").stdout.split("\n")
    assert [line.split()[0] for line in names if line] == ["org.freedesktop.DBus"]


def test_the_notification_service_shows_and_replaces(session_bus, notifications):
    for replaces in ("0", "1"):
        text = ("slowboat", replaces, "icon", f"title {replaces}", "body", "0", "1", "urgency", "y", "1", "5")
        answer = _busctl(session_bus, "call", *NOTIFY, "Notify", "susssasa{sv}i", *text)
        assert answer.stdout == "u 1\n", answer.stderr
    assert notifications.titles == ["title 0", "title 1"]
    assert notifications.all[1]["replaces"] == 1
    assert notifications.all[0]["hints"] == {"urgency": 1}


def test_the_bus_can_go_away_and_come_back(private_bus):
    private_bus.stop()
    assert _busctl(private_bus.address, "list").returncode != 0
    private_bus.start()
    assert _busctl(private_bus.address, "list").returncode == 0


def test_no_test_sees_the_real_desktop():
    assert "nonexistent" in os.environ["DBUS_SESSION_BUS_ADDRESS"]
    assert "nobodys-home" in os.environ["HOME"]
