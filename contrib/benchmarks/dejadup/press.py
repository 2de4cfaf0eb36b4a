"""Runs inside the system: looks at the windows and presses what is to be pressed, by GTK's accessibility.

One JSON list a line on its input, such as ["showing"] or ["press", "Continue"]; one JSON value a line as the answer.
"""

import json
import subprocess
import sys

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

ENTRIES = ("text", "password text", "entry", "editbar")


def below(widget):
    """Everything below a widget that can still be asked."""
    try:
        count = widget.get_child_count()
    except GLib.Error:
        return
    for number in range(count):
        try:
            child = widget.get_child_at_index(number)
        except GLib.Error:
            continue
        if child is not None:
            yield child
            yield from below(child)


def shown():
    """(widget, role, name, whether it can be used) of everything that is on the screen."""
    for widget in below(Atspi.get_desktop(0)):
        try:
            states = widget.get_state_set()
            if states.contains(Atspi.StateType.SHOWING):
                on = states.contains(Atspi.StateType.CHECKED) or states.contains(Atspi.StateType.SELECTED)
                yield (
                    widget,
                    widget.get_role_name(),
                    widget.get_name() or "",
                    states.contains(Atspi.StateType.SENSITIVE),
                    on,
                )
        except GLib.Error:
            continue


def showing():
    return [[role, name.replace("\n", " "), usable, on] for _, role, name, usable, on in shown()]


def press(name, *roles):
    """Presses the first that has that name, by its action or else by the mouse; whether there was one."""
    found = [widget for widget, role, said, on, _ in shown() if said == name and on and role in (roles or (role,))]
    found = [widget for widget in reversed(found) if widget.get_role_name() != "label"]  # a dialog comes last
    for widget in found:
        actions = widget.get_action_iface()
        if actions and actions.get_n_actions() and actions.do_action(0):
            return True
    return any(click(widget) for widget in found)


def click(widget):
    """In the middle of it, where its window stands at the screen's corner: GTK tells no more than that."""
    place = widget.get_component_iface()
    at = place.get_extents(Atspi.CoordType.WINDOW) if place else None
    if at is None or at.width <= 0:
        return False
    middle = (str(at.x + at.width // 2), str(at.y + at.height // 2))
    subprocess.run(["xdotool", "mousemove", "--sync", *middle, "click", "1"], check=True)
    return True


def write(name, text):
    for widget, role, found, _, _ in shown():
        if found == name and role in ENTRIES:
            field = widget.get_editable_text_iface()
            if field and field.set_text_contents(text):
                return True
    return False


WORDS = {"showing": showing, "press": press, "write": write}
for line in sys.stdin:
    word, *rest = json.loads(line)
    try:
        answer = WORDS[word](*rest)
    except GLib.Error as error:
        answer = [["error", str(error), False, False]] if word == "showing" else False
    print(json.dumps(answer), flush=True)
