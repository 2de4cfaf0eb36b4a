"""Notifications, shown by a service of the tests' own and by a real one on a virtual screen."""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
from typing import TYPE_CHECKING

import pytest

from slowboat.core.words import Notice
from slowboat.edges.dbus import Answer, Call, CallRefused, Connection
from slowboat.edges.notify import NAME, PATH, Notifications

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from realparts.private_bus import PrivateBus

pytestmark = pytest.mark.needs("dbus-daemon")

DONE = Notice("done", "All there", "The drive is <no longer> the only copy & that is good")
TROUBLE = Notice("needs-you", "slowboat needs you", "The password is wrong", urgent=True)


class Screen:
    """A notification service: what it was asked to show, and ids as MATE gives them (a fresh one every time)."""

    def __init__(self, connection: Connection, capabilities: list[str]) -> None:
        self.connection = connection
        self.shown: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.closed: asyncio.Queue[int] = asyncio.Queue()
        self.capabilities = capabilities
        self.next_id = 7
        self.refuse = ""
        self.name = "gnome-shell"
        connection.serve(self.answer)

    def answer(self, call: Call) -> Answer:
        if self.refuse:
            raise CallRefused(self.refuse, "no")
        if call.member == "GetCapabilities":
            return Answer("as", [self.capabilities])
        if call.member == "GetServerInformation":
            return Answer("ssss", [self.name, "", "", "1.2"])
        if call.member == "CloseNotification":
            self.closed.put_nowait(call.body[0])
            return Answer()
        assert call.signature == "susssasa{sv}i"
        names = ("app", "replaces", "icon", "title", "body", "actions", "hints", "timeout")
        shown = dict(zip(names, call.body, strict=True)) | {"id": self.next_id}
        shown["types"] = {key: variant.signature for key, variant in call.variants[6].items()}
        self.shown.put_nowait(shown)
        self.next_id += 1
        return Answer("u", [shown["id"]])

    async def seen(self) -> dict[str, object]:
        return await asyncio.wait_for(self.shown.get(), 60)


@contextlib.asynccontextmanager
async def screen(address: str, capabilities: str = "body body-markup actions") -> AsyncIterator[Screen]:
    async with await Connection.open(address=address) as connection:
        screen = Screen(connection, capabilities.split())
        assert await connection.own(NAME)
        yield screen


@pytest.fixture
async def notify(session_bus: str) -> AsyncIterator[Notifications]:
    async with running(session_bus) as notifications:
        yield notifications


@contextlib.asynccontextmanager
async def running(address: str, retry: float = 3600.0) -> AsyncIterator[Notifications]:
    notifications = Notifications(address=address, first_retry=retry)
    task = asyncio.create_task(notifications.run())
    yield notifications
    assert not task.done(), "it never ends by itself"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_notice_is_shown_as_the_specification_wants_it(notify: Notifications, session_bus: str) -> None:
    async with screen(session_bus) as desktop:
        notify.show(DONE)
        shown = await desktop.seen()
        assert (shown["app"], shown["title"], shown["actions"]) == ("slowboat", "All there", [])
        assert shown["body"] == "The drive is &lt;no longer&gt; the only copy &amp; that is good"
        assert shown["types"] == {"urgency": "y", "category": "s", "desktop-entry": "s"}
        assert (shown["hints"]["urgency"], shown["hints"]["category"]) == (1, "transfer.complete")
        assert shown["icon"] == shown["hints"]["desktop-entry"] == "io.github.slowboat.Slowboat1"
        notify.show(TROUBLE)
        shown = await desktop.seen()
        assert (shown["hints"]["urgency"], shown["hints"]["category"]) == (2, "transfer.error")


@pytest.mark.parametrize(("service", "title"), [("Plasma", "All there"), ("dunst", "slowboat: All there")])
async def test_who_tells_it_is_named_once(notify: Notifications, session_bus: str, service: str, title: str) -> None:
    async with screen(session_bus) as desktop:
        desktop.name = service
        notify.show(DONE)
        assert (await desktop.seen())["title"] == title
        notify.show(TROUBLE)
        assert (await desktop.seen())["title"] == "slowboat needs you"


@pytest.mark.parametrize(
    ("capabilities", "title", "body"),
    [("body", DONE.title, DONE.body), ("", f"{DONE.title}: {DONE.body}", "")],
)
async def test_what_a_service_cannot_show_is_not_asked_of_it(
    notify: Notifications, session_bus: str, capabilities: str, title: str, body: str
) -> None:
    async with screen(session_bus, capabilities) as desktop:
        notify.show(DONE)
        shown = await desktop.seen()
        assert (shown["title"], shown["body"]) == (title, body)


async def test_a_button_is_shown_where_it_can_be_and_who_presses_it_is_heard(
    notify: Notifications, session_bus: str
) -> None:
    pressed: asyncio.Queue[str] = asyncio.Queue()
    async with screen(session_bus) as desktop:
        with notify.heard(pressed.put_nowait):
            notify.show(DONE)
            other = await desktop.seen()
            notify.show(Notice("handover-home", "Go on in the cloud", "Now", button="Switch"))
            shown = await desktop.seen()
            assert shown["actions"] == ["button", "Switch"]
            async with await Connection.open(address=session_bus) as stranger:  # only the service itself is believed
                stranger.emit(PATH, NAME, "ActionInvoked", "us", other["id"], "button")
                await stranger.flush()
            for number, action in ((99, "button"), (shown["id"], "default"), (shown["id"], "button")):
                desktop.connection.emit(PATH, NAME, "ActionInvoked", "us", number, action)
            assert await asyncio.wait_for(pressed.get(), 60) == "handover-home"
            assert pressed.empty()
        desktop.connection.emit(PATH, NAME, "ActionInvoked", "us", shown["id"], "button")
        await desktop.connection.flush()
        notify.show(DONE)
        await desktop.seen()
        assert pressed.empty(), "nobody is there to hear it"
    async with screen(session_bus, "body") as desktop:
        notify.show(Notice("handover-home", "Go on in the cloud", "Now", button="Switch"))
        assert (await desktop.seen())["actions"] == []


async def test_a_newer_notice_replaces_the_one_that_is_shown(notify: Notifications, session_bus: str) -> None:
    async with screen(session_bus) as desktop:
        notify.show(DONE)
        first = await desktop.seen()
        notify.show(TROUBLE)
        other = await desktop.seen()
        notify.show(DONE)
        second = await desktop.seen()
        notify.show(DONE)
        third = await desktop.seen()
        assert (first["replaces"], other["replaces"]) == (0, 0)
        assert (second["replaces"], third["replaces"]) == (first["id"], second["id"]), "whatever id came back"


async def test_a_notice_waits_for_a_service_and_only_the_newest_does(notify: Notifications, session_bus: str) -> None:
    notify.show(Notice("done", "half", "way"))
    await asyncio.wait_for(_tried(notify), 60)
    notify.show(TROUBLE)
    notify.show(DONE)
    async with screen(session_bus) as desktop:
        assert {(await desktop.seen())["title"], (await desktop.seen())["title"]} == {TROUBLE.title, DONE.title}
        notify.show(Notice("last", "last", ""))
        assert (await desktop.seen())["title"] == "last", "and nothing else was"


async def _tried(notify: Notifications) -> None:
    """Until it knows that nobody is there (it watches for somebody)."""
    while notify._connection is None or not notify._connection._subscriptions:
        await asyncio.sleep(0.005)
    await notify._connection.flush()


async def test_ids_are_not_taken_to_a_new_service(notify: Notifications, session_bus: str) -> None:
    async with screen(session_bus) as desktop:
        notify.show(DONE)
        await desktop.seen()
    async with screen(session_bus, "body") as desktop:
        notify.show(DONE)
        shown = await desktop.seen()
        assert (shown["replaces"], shown["body"]) == (0, DONE.body), "nor what the old one could"


async def test_a_notice_can_be_taken_back(notify: Notifications, session_bus: str) -> None:
    notify.show(TROUBLE)
    notify.withdraw(TROUBLE.key)
    notify.withdraw("never told")
    async with screen(session_bus) as desktop:
        notify.show(DONE)
        shown = await desktop.seen()
        assert shown["title"] == DONE.title
        notify.show(TROUBLE)
        await desktop.seen()
        notify.withdraw(DONE.key)
        assert await asyncio.wait_for(desktop.closed.get(), 60) == shown["id"]
        notify.show(DONE)
        assert (await desktop.seen())["replaces"] == 0


async def test_what_an_earlier_run_left_on_the_screen_can_be_taken_back(session_bus: str) -> None:
    tickets: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with screen(session_bus) as desktop:
        async with running(session_bus) as first:
            with first.heard(lambda _: None, lambda key, ticket: tickets.put_nowait((key, ticket))):
                for notice in (DONE, TROUBLE):
                    first.show(notice)
                    await desktop.seen()
                    await asyncio.wait_for(_settled(first), 60)
        (done, of_done), (trouble, of_trouble) = tickets.get_nowait(), tickets.get_nowait()
        async with running(session_bus) as second:
            second.restore(done, of_done)
            second.restore(trouble, of_trouble)
            second.restore("odd", "no ticket of ours")
            second.withdraw(trouble)
            assert await asyncio.wait_for(desktop.closed.get(), 60) == 8
            second.withdraw("odd")
            second.show(DONE)
            assert (await desktop.seen())["replaces"] == 7, "it is the same notice still"
            assert desktop.closed.empty()
    async with screen(session_bus) as another, running(session_bus) as third:
        third.restore(done, of_done)
        third.withdraw(done)
        third.show(TROUBLE)
        await another.seen()
        assert another.closed.empty(), "that number is somebody else's here"


async def _settled(notify: Notifications) -> None:
    while notify._news.is_set():
        await asyncio.sleep(0.005)


async def test_nobody_is_started_to_take_something_back(session_bus: str) -> None:
    async with running(session_bus) as notify:
        notify.restore("x", "bus :1.1 7")
        notify.withdraw("x")
        await asyncio.wait_for(_settled(notify), 60)
        assert not notify._withdrawn


async def test_a_service_that_refuses_is_asked_again(session_bus: str) -> None:
    async with running(session_bus, retry=0.01) as notify, screen(session_bus) as desktop:
        desktop.refuse = "org.freedesktop.Notifications.Error.ExcessNotificationGeneration"
        notify.show(DONE)
        await asyncio.wait_for(_tried(notify), 60)
        desktop.refuse = ""
        assert (await desktop.seen())["title"] == DONE.title


async def test_it_outlives_the_bus(private_bus: PrivateBus) -> None:
    async with running(private_bus.address, retry=0.01) as notify:
        async with screen(private_bus.address) as desktop:
            notify.show(DONE)
            await desktop.seen()
        private_bus.stop()
        notify.show(DONE)
        private_bus.start()
        async with screen(private_bus.address) as desktop:
            assert (await desktop.seen())["replaces"] == 0


# The real thing


@pytest.fixture
async def display() -> AsyncIterator[str]:
    """A virtual screen; its number is the server's choice."""
    reader, writer = os.pipe()
    xvfb = await asyncio.create_subprocess_exec(
        "Xvfb",
        "-displayfd",
        str(writer),
        "-screen",
        "0",
        "800x600x24",
        "-noreset",
        "-nolisten",
        "tcp",
        pass_fds=[writer],
        stderr=-3,
    )
    os.close(writer)
    with os.fdopen(reader) as told:
        number = await asyncio.wait_for(asyncio.to_thread(told.readline), 30)
    yield f":{number.strip()}"
    xvfb.terminate()
    await xvfb.wait()


async def _until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not await look():
            await asyncio.sleep(0.02)


@pytest.mark.needs("dunst", "Xvfb", "import")
async def test_a_real_notification_service_shows_it(
    notify: Notifications, session_bus: str, display: str, tmp_path: Path
) -> None:
    notify.show(DONE)  # before anybody can show it
    environment = {**os.environ, "DISPLAY": display, "DBUS_SESSION_BUS_ADDRESS": session_bus}
    empty = await _colours(display, tmp_path)
    dunst = await asyncio.create_subprocess_exec("dunst", "-conf", "/dev/null", env=environment, stdout=-3, stderr=-3)
    try:
        async with await Connection.open(address=session_bus) as raw:

            async def displayed() -> int:
                if not await raw.owner(NAME):
                    return 0
                return await raw.get(NAME, PATH, "org.dunstproject.cmd0", "displayedLength")

            await _until(displayed)

            async def drawn() -> bool:
                return await _colours(display, tmp_path) > empty

            await _until(drawn)
            notify.show(DONE)
            notify.show(TROUBLE)

            async def both() -> bool:
                return await displayed() == 2

            await _until(both)
            await raw.call(NAME, PATH, "org.dunstproject.cmd0", "NotificationCloseAll")
            history = (await raw.call(NAME, PATH, "org.dunstproject.cmd0", "NotificationListHistory"))[0]
            assert {each["summary"] for each in history} == {f"slowboat: {DONE.title}", TROUBLE.title}, (
                "the second replaced the first"
            )
            messages = " ".join(each["message"] for each in history)
            assert DONE.body in html.unescape(messages), "no part of it was taken for markup"
    finally:
        dunst.terminate()
        await dunst.wait()


async def _colours(display: str, tmp_path: Path) -> int:
    """How many colours are on the screen."""
    shot = await asyncio.create_subprocess_exec(
        "import", "-display", display, "-window", "root", "-depth", "8", str(tmp_path / "screen.ppm"), stderr=-3
    )
    assert await shot.wait() == 0
    pixels = (tmp_path / "screen.ppm").read_bytes()[-800 * 600 * 3 :]
    return len({pixels[place : place + 3] for place in range(0, len(pixels), 3)})
