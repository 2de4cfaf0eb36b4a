"""The power: battery, its level, and the power saver.

Knows UPower's and power-profiles-daemon's interfaces and the kernel's power supplies; must not know what follows from
what they say.

- https://upower.freedesktop.org/docs/UPower.html, DisplayDevice at /org/freedesktop/UPower/devices/DisplayDevice
- https://gitlab.freedesktop.org/upower/power-profiles-daemon: under its new name, and under the one it had before 0.20
  (tuned-ppd, for one, has both)
- /sys/class/power_supply where UPower is not there: https://docs.kernel.org/admin-guide/abi-testing.html

A machine without any battery is on the mains. A service that is there and does not respond, or says what cannot be
understood, leaves its part unknown.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core.conditions import Power
from slowboat.edges.dbus import PROPERTIES, BusError, BusGone, Connection, Match
from slowboat.edges.service_watch import FIRST_READING, SETTLE, TIMEOUT, ServiceWatch, Watched, text, truth

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

UPOWER = "org.freedesktop.UPower"
UPOWER_PATH = "/org/freedesktop/UPower"
BATTERY_PATH = "/org/freedesktop/UPower/devices/DisplayDevice"
PROFILES = (
    ("org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"),
    ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),
)
POWER_SAVER = "power-saver"

POLL = 60.0
"""Seconds between looks at the kernel's power supplies: only where there is a battery and no UPower to tell of it."""


class PowerWatch:
    """What is known of the power, kept fresh from `start` to `stop`; `on_change` is called when it is another."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        system: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
        sys: Path = Path("/sys"),
        poll: float = POLL,
    ) -> None:
        """Does nothing until `start`.

        Args:
            on_change: told of changes, in the event loop; may be set later.
            system: the address of the system bus, "" for the usual one.
            settle: seconds in which signals gather before the whole is read.
            patience: seconds until a service that does not respond counts as not known.
            sys: where the kernel shows its devices.
            poll: seconds between looks at a battery that nobody else tells of.
        """
        self.on_change = on_change
        self._supplies = sys / "class/power_supply"
        self._poll = poll
        self._timer: asyncio.TimerHandle | None = None
        matches = tuple(
            Match(sender=name, path=path, interface=PROPERTIES, member="PropertiesChanged")
            for name, path in ((UPOWER, UPOWER_PATH), (UPOWER, BATTERY_PATH), *PROFILES)
        )
        names = (UPOWER, *(name for name, _ in PROFILES))
        unknown: Power | None = Power()
        watched = Watched("system", names, matches, self._read, None, unknown)
        self._watch = ServiceWatch(watched, self._changed, address=system, settle=settle, patience=patience)
        self._word = Power()

    def current(self) -> Power:
        """The newest settled reading; all unknown before the first."""
        return self._word

    async def start(self) -> None:
        """Begins to watch; waits a moment for the first reading. Never raises, nor does anything after it."""
        self._watch.start()
        try:
            await asyncio.wait_for(self._watch.ready.wait(), FIRST_READING)
        except TimeoutError:
            log.debug("no word on the power yet")

    async def stop(self) -> None:
        """Lets go of the bus."""
        await self._watch.stop()
        self._cancel_poll()

    def _changed(self) -> None:
        word = self._watch.value
        if word is None:  # there is no system bus, so nobody who could know of power profiles
            on_battery, level = self._kernel()
            word = Power(on_battery, level, power_saver=False)
        changed = word != self._word
        self._word = word
        if changed:
            self.on_change()

    async def _read(self, bus: Connection) -> Power:
        on_battery, level = await self._battery(bus)
        return Power(on_battery, level, await _power_saver(bus))

    async def _battery(self, bus: Connection) -> tuple[bool | None, float | None]:
        """(whether on battery, its level in percent)."""
        self._cancel_poll()
        if not await bus.owner(UPOWER):
            return self._kernel()
        try:
            on_battery = truth(await bus.get(UPOWER, UPOWER_PATH, UPOWER, "OnBattery"))
            if not on_battery:
                return on_battery, None
            level = await bus.get(UPOWER, BATTERY_PATH, f"{UPOWER}.Device", "Percentage")
        except BusGone:
            raise
        except BusError as error:
            if error.absent:
                return self._kernel()
            raise
        return True, _percent(level)

    def _kernel(self) -> tuple[bool | None, float | None]:
        """What the kernel's power supplies say, looked at again after a while where one is a battery."""
        on_battery, level = read_supplies(self._supplies)
        if level is not None or on_battery is not False:
            self._cancel_poll()
            self._timer = asyncio.get_running_loop().call_later(self._poll, self._again)
        return on_battery, level

    def _again(self) -> None:
        self._timer = None
        if self._watch.value is None:
            self._changed()
        else:
            self._watch.refresh()

    def _cancel_poll(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _power_saver(bus: Connection) -> bool | None:
    """Whether the power saver is on; False where nobody manages profiles, None where whoever does talks nonsense."""
    for name, path in PROFILES:
        if not await bus.owner(name):
            continue
        try:
            profile = text(await bus.get(name, path, name, "ActiveProfile"))
        except BusGone:
            raise
        except BusError as error:
            if error.absent:
                continue
            return None
        return profile == POWER_SAVER if profile else None
    return False


def _percent(value: object) -> float | None:
    """A level in whole percent, which is all that the policy needs to be woken for."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(int(value)) if 0 <= value <= 100 else None


def read_supplies(folder: Path) -> tuple[bool | None, float | None]:
    """What /sys/class/power_supply says: (whether on battery, the lowest level in percent, None without a battery).

    Batteries of mice and headsets (scope "Device") do not count. Without any battery the machine is on the mains.
    """
    try:
        supplies = [_supply(each) for each in folder.iterdir()]
    except OSError:
        return False, None  # a kernel without power supplies: a server, a container
    batteries = [each for each in supplies if each.get("type") == "Battery" and each.get("scope") != "Device"]
    levels = [float(each["capacity"]) for each in batteries if each.get("capacity", "").isdigit()]
    level = min(levels, default=None)
    if not batteries:
        return False, None
    if any(each.get("online") == "1" for each in supplies):
        return False, level
    if any(each.get("status") == "Discharging" for each in batteries):
        return True, level
    states = {each.get("status", "Unknown") for each in batteries}
    return (None if "Unknown" in states else False), level


def _supply(folder: Path) -> dict[str, str]:
    found = {}
    for name in ("type", "scope", "online", "status", "capacity"):
        try:
            found[name] = (folder / name).read_text().strip()
        except OSError:
            continue  # each kind of supply has only some of them
    return found
