// The daemon on the bus, and what a panel says of it. Knows Gio alone, so that it runs outside the shell, too.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

const NAME = 'io.github.slowboat.Slowboat1';
const PATH = '/io/github/slowboat/Slowboat1';
const MANAGER = `${NAME}.Manager`;

// What of the interface the panel uses; the whole of it is in docs/dbus.md.
const XML = `<node><interface name="${MANAGER}">
  <property name="State" type="s" access="read"/>
  <property name="Why" type="aa{sv}" access="read"/>
  <property name="Progress" type="d" access="read"/>
  <property name="Rate" type="t" access="read"/>
  <property name="ExpectedEndTime" type="t" access="read"/>
</interface></node>`;

const SIGNS = {sending: '↑', done: '✓', 'needs-user': '!', paused: '‖'};

/** Bytes per second as a person says it: `512 kB/s`. */
export function rate(bytes) {
    for (const [size, unit] of [[1e9, 'GB/s'], [1e6, 'MB/s'], [1e3, 'kB/s']]) {
        if (bytes >= size)
            return `${Number((bytes / size).toPrecision(3))} ${unit}`;
    }
    return `${bytes} B/s`;
}

/** The few characters that a panel has room for; '' where nothing runs. */
export function label({state, progress, rate: now}) {
    if (!state)
        return '';
    const sign = SIGNS[state] ?? '…';
    if (state === 'done')
        return sign;
    const percent = `${sign} ${Math.floor(100 * progress)} %`;
    return state === 'sending' && now > 0 ? `${percent} ${rate(now)}` : percent;
}

/** The lines of the menu: what it does, and why it waits. */
export function lines({state, reasons}) {
    return state ? [`slowboat: ${state}`, ...reasons] : ['slowboat is not running'];
}

/** The daemon; `changed` is called whenever something of it is another. Starts nothing. */
export class Boat {
    constructor(changed) {
        this._changed = changed;
        this._proxy = null;
        this._cancellable = new Gio.Cancellable();
        const flags = Gio.DBusProxyFlags.DO_NOT_AUTO_START;
        const info = Gio.DBusNodeInfo.new_for_xml(XML).lookup_interface(MANAGER);
        Gio.DBusProxy.new_for_bus(Gio.BusType.SESSION, flags, info, NAME, PATH, MANAGER, this._cancellable, (_, result) => {
            try {
                this._proxy = Gio.DBusProxy.new_for_bus_finish(result);
            } catch (error) {
                return; // cancelled, or there is no bus
            }
            this._signals = ['g-properties-changed', 'notify::g-name-owner'].map(
                signal => this._proxy.connect(signal, () => this._changed(this.shown())));
            this._changed(this.shown());
        });
    }

    /** What is shown now: state, progress, rate, reasons. */
    shown() {
        const of = name => this._proxy?.g_name_owner ? this._proxy.get_cached_property(name)?.recursiveUnpack() : undefined;
        return {
            state: of('State') ?? '',
            progress: of('Progress') ?? 0,
            rate: Number(of('Rate') ?? 0),
            reasons: (of('Why') ?? []).map(reason => reason.text),
        };
    }

    /** Stops sending until told, or goes on. */
    turn() {
        const paused = this.shown().state === 'paused';
        const options = new GLib.Variant('(a{sv})', [{}]);
        const [method, body] = paused ? ['Resume', options] : ['Pause', new GLib.Variant('(ta{sv})', [0, {}])];
        this._proxy?.call(method, body, Gio.DBusCallFlags.NO_AUTO_START, -1, null, null);
    }

    destroy() {
        this._cancellable.cancel();
        this._signals?.forEach(signal => this._proxy.disconnect(signal));
        this._proxy = null;
    }
}
