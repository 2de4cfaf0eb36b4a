"""Objects on D-Bus, served as their XML describes them.

Knows the standard interfaces (Introspectable, Properties, ObjectManager, Peer) and how XML names members;
must not know what any object means. The XML is the truth: what it names is offered, with its types, its access
and its EmitsChangedSignal, and it is also what Introspect answers, comments aside.
https://dbus.freedesktop.org/doc/dbus-specification.html#standard-interfaces
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from xml.etree import ElementTree as ET

from slowboat.edges.dbus import OBJECT_MANAGER, PROPERTIES, Answer, Call, CallRefused, Variant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from slowboat.edges.dbus import Connection

INTROSPECTABLE: Final = "org.freedesktop.DBus.Introspectable"
PEER: Final = "org.freedesktop.DBus.Peer"
STANDARD: Final = frozenset({INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES})
"""The interfaces that every object of ours has, or the first of them."""
ERROR: Final = "org.freedesktop.DBus.Error."

# As the specification has them; those of the object manager are added where it stands.
_STANDARD: Final = """\
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect"><arg name="xml_data" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId"><arg name="machine_uuid" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
"""
_MANAGING: Final = """\
  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
"""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of an interface: the types of what goes in and comes out."""

    takes: str
    gives: str


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an interface: its type, and how it may be used."""

    type: str
    writable: bool = False
    emits: bool = True


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface as its XML describes it; `xml` is the text that Introspect answers with."""

    name: str
    xml: str
    methods: Mapping[str, Method] = field(default_factory=dict)
    properties: Mapping[str, Property] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Interface:
        """Reads XML with one `<node>` that holds one `<interface>`; it is ours, so a broken one is a bug."""
        element = ET.fromstring(text).find("interface")  # noqa: S314  # a file of this package
        assert element is not None
        return cls(
            name=element.attrib["name"],
            xml=f"  {ET.tostring(element, encoding='unicode').strip()}\n",
            methods={each.attrib["name"]: _method(each) for each in element.iter("method")},
            properties={each.attrib["name"]: _property(each) for each in element.iter("property")},
        )


def _method(element: ET.Element) -> Method:
    ways = [(arg.attrib.get("direction", "in"), arg.attrib["type"]) for arg in element.iter("arg")]
    return Method(
        takes="".join(kind for way, kind in ways if way == "in"),
        gives="".join(kind for way, kind in ways if way == "out"),
    )


def _property(element: ET.Element) -> Property:
    emits = {each.attrib["name"]: each.attrib["value"] for each in element.iter("annotation")}
    return Property(
        type=element.attrib["type"],
        writable="write" in element.attrib["access"],
        emits=emits.get(f"{PROPERTIES}.EmitsChangedSignal", "true") == "true",
    )


def shipped(name: str) -> Interface:
    """The interface of that name, from the XML that is shipped in `edges/interfaces`."""
    path = Path(__file__).parent.parent / "interfaces" / f"{name}.xml"
    return Interface.parse(path.read_text(encoding="utf-8"))


class Exported(Protocol):
    """What stands behind one interface of one object."""

    def values(self) -> Mapping[str, Any]:
        """Every property of the interface, by name; plain values of the property's type."""

    def set(self, name: str, value: Any) -> Awaitable[None] | None:  # noqa: ANN401  # of the property's type
        """Writes a property that the XML says can be written."""

    def invoke(self, call: Call) -> Any:  # noqa: ANN401  # of the method's type
        """Does what a method says. None, one value, a tuple of values, an `Answer`, or an awaitable of these."""


class Tree:
    """The objects of one service; answers calls on them, and tells of them where `connection` is set.

    Attributes:
        root: the path of the object manager.
        connection: where signals go; None while there is no bus.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.connection: Connection | None = None
        self._objects: dict[str, dict[str, tuple[Interface, Exported]]] = {}

    def add(self, path: str, interface: Interface, exported: Exported) -> None:
        """Offers an object's interface and tells of it."""
        self._objects.setdefault(path, {})[interface.name] = (interface, exported)
        shown = {interface.name: self._shown(path, interface.name)}
        # From the manager's path: GDBusObjectManagerClient does not hear it from any other.
        self._emit(self.root, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", path, shown)

    def remove(self, path: str) -> None:
        """Takes an object away and tells of it."""
        gone = self._objects.pop(path, {})
        self._emit(self.root, OBJECT_MANAGER, "InterfacesRemoved", "oas", path, list(gone))

    def changed(self, path: str, name: str, properties: Iterable[str]) -> None:
        """Tells which properties of an object's interface have new values, and the values."""
        interface, exported = self._objects[path][name]
        values = exported.values()
        news = {
            each: Variant(interface.properties[each].type, values[each])
            for each in properties
            if interface.properties[each].emits
        }
        if news:
            self._emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", name, news, [])

    def _emit(self, path: str, interface: str, member: str, signature: str, *body: object) -> None:
        if self.connection is not None:
            self.connection.emit(path, interface, member, signature, *body)

    # Answering

    def answer(self, call: Call) -> Answer | Awaitable[Answer]:
        """Answers one call, for `Connection.serve`.

        Raises:
            CallRefused: there is no such object, interface, member, or it takes something else.
        """
        match call.interface, call.member, call.signature:
            case "" | "org.freedesktop.DBus.Introspectable", "Introspect", "":
                return Answer("s", [self._introspect(call.path)])
            case "" | "org.freedesktop.DBus.Peer", "Ping", "":
                return Answer()
            case "" | "org.freedesktop.DBus.Peer", "GetMachineId", "":
                return Answer("s", [_machine_id()])
            case _:
                pass
        if call.path not in self._objects:
            raise CallRefused(f"{ERROR}UnknownObject", f"there is no object {call.path}")
        if call.interface == PROPERTIES:
            return self._properties(call)
        if call.interface == OBJECT_MANAGER and call.path == self.root and call.member == "GetManagedObjects":
            return Answer("a{oa{sa{sv}}}", [self._managed()])
        return self._invoke(call)

    def _invoke(self, call: Call) -> Answer | Awaitable[Answer]:
        method, exported = self._method(call)
        if call.signature != method.takes:
            wants = f"{call.member} takes '{method.takes}', not '{call.signature}'"
            raise CallRefused(f"{ERROR}InvalidArgs", wants)
        outcome = exported.invoke(call)
        if inspect.isawaitable(outcome):
            return _later(method, outcome)
        return _as_answer(method, outcome)

    def _method(self, call: Call) -> tuple[Method, Exported]:
        interfaces = self._objects[call.path]
        if call.interface and call.interface not in interfaces:
            raise CallRefused(f"{ERROR}UnknownInterface", f"{call.path} has no interface {call.interface}")
        for name, (interface, exported) in interfaces.items():
            if call.interface in ("", name) and call.member in interface.methods:
                return interface.methods[call.member], exported
        raise CallRefused(f"{ERROR}UnknownMethod", f"{call.interface} has no method {call.member}")

    def _properties(self, call: Call) -> Answer | Awaitable[Answer]:
        match call.member, call.signature:
            case "GetAll", "s":
                return Answer("a{sv}", [self._shown(call.path, call.body[0])])
            case "Get", "ss":
                _, declared, exported = self._property(call)
                return Answer("v", [Variant(declared.type, exported.values()[call.body[1]])])
            case "Set", "ssv":
                return self._set(call)
            case _:
                pass
        raise CallRefused(f"{ERROR}UnknownMethod", f"there is no {call.member} of '{call.signature}'")

    def _set(self, call: Call) -> Answer | Awaitable[Answer]:
        name, declared, exported = self._property(call)
        if not declared.writable:
            raise CallRefused(f"{ERROR}PropertyReadOnly", f"{name} can only be read")
        if call.variants[2].signature != declared.type:
            given = call.variants[2].signature
            raise CallRefused(f"{ERROR}InvalidArgs", f"{name} is of type '{declared.type}', not '{given}'")
        outcome = exported.set(name, call.body[2])
        return Answer() if outcome is None else _later(Method("", ""), outcome)

    def _property(self, call: Call) -> tuple[str, Property, Exported]:
        wanted, name = call.body[:2]
        for each, (interface, exported) in self._objects[call.path].items():
            if wanted in ("", each) and name in interface.properties:
                return name, interface.properties[name], exported
        raise CallRefused(f"{ERROR}UnknownProperty", f"{wanted or call.path} has no property {name}")

    def _shown(self, path: str, name: str) -> dict[str, Variant]:
        interfaces = self._objects[path]
        if name and name not in interfaces:
            if name in (PROPERTIES, INTROSPECTABLE, PEER, OBJECT_MANAGER):
                return {}
            raise CallRefused(f"{ERROR}UnknownInterface", f"{path} has no interface {name}")
        return {
            each: Variant(interface.properties[each].type, value)
            for known, (interface, exported) in interfaces.items()
            if name in ("", known)
            for each, value in exported.values().items()
        }

    def _managed(self) -> dict[str, dict[str, dict[str, Variant]]]:
        return {
            path: {name: self._shown(path, name) for name in interfaces}
            for path, interfaces in self._objects.items()
            if path != self.root
        }

    def _introspect(self, path: str) -> str:
        above = "/" if path == "/" else f"{path}/"
        children = sorted({each[len(above) :].split("/")[0] for each in self._objects if each.startswith(above)})
        own = self._objects.get(path, {})
        if not own and not children:
            raise CallRefused(f"{ERROR}UnknownObject", f"there is no object {path}")
        parts = [interface.xml for interface, _ in own.values()]
        parts += [f'  <node name="{child}"/>\n' for child in children]
        managing = _MANAGING if path == self.root else ""
        return f"<node>\n{_STANDARD if own else ''}{managing}{''.join(parts)}</node>\n"


async def _later(method: Method, outcome: Awaitable[Any]) -> Answer:
    return _as_answer(method, await outcome)


def _as_answer(method: Method, outcome: Any) -> Answer:  # noqa: ANN401  # what `Exported.invoke` gave
    if isinstance(outcome, Answer):
        return outcome
    if outcome is None:
        return Answer(method.gives)
    return Answer(method.gives, outcome if isinstance(outcome, tuple) else [outcome])


def _machine_id() -> str:
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        if path.exists():
            return path.read_text(encoding="ascii").strip()
    raise CallRefused(f"{ERROR}Failed", "this machine has no id")
