// The button in GNOME's panel. What it says comes from boat.js.

import Gio from 'gi://Gio';
import St from 'gi://St';
import Clutter from 'gi://Clutter';

import {Extension} from 'resource:///org/gnome/shell/extensions/extension.js';
import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as PanelMenu from 'resource:///org/gnome/shell/ui/panelMenu.js';
import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';

import {Boat, label, lines} from './boat.js';

export default class SlowboatExtension extends Extension {
    enable() {
        this._button = new PanelMenu.Button(0.5, 'slowboat');
        const box = new St.BoxLayout({style_class: 'panel-status-indicators-box'});
        const icon = new St.Icon({icon_name: 'io.github.slowboat.Slowboat1-symbolic', style_class: 'system-status-icon'});
        this._label = new St.Label({y_align: Clutter.ActorAlign.CENTER});
        box.add_child(icon);
        box.add_child(this._label);
        this._button.add_child(box);
        Main.panel.addToStatusArea(this.uuid, this._button);
        this._boat = new Boat(shown => this._show(shown));
    }

    _show(shown) {
        this._label.text = label(shown);
        this._button.visible = shown.state !== '';
        this._button.menu.removeAll();
        for (const line of lines(shown))
            this._button.menu.addMenuItem(new PopupMenu.PopupMenuItem(line, {reactive: false}));
        this._button.menu.addMenuItem(new PopupMenu.PopupSeparatorMenuItem());
        this._button.menu.addAction(shown.state === 'paused' ? 'Resume' : 'Pause', () => this._boat.turn());
        this._button.menu.addAction('Watch', () =>
            Gio.DesktopAppInfo.new('io.github.slowboat.Slowboat1.desktop')?.launch([], null));
    }

    disable() {
        this._boat.destroy();
        this._button.destroy();
        this._boat = this._button = this._label = null;
    }
}
