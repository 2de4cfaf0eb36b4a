"""The user's configuration: one TOML file, read whole, checked whole, and frozen.

`shape` is what may stand in it, `amounts` how rates, sizes and hours are written, `lines` where a key stands in the
text, `checks` what must hold beyond types, `cures` what a slip was meant to be, `reading` puts them together, `writing`
adds to the file. docs/configuration.md tells the user.

Knows the file's grammar and the user's mistakes; must not know what a rule means for the permit.
"""

from slowboat.edges.settings.amounts import parse_rate, parse_size
from slowboat.edges.settings.reading import EXAMPLE, config_path, env_cloud, load, parse, state_dir
from slowboat.edges.settings.shape import ENV_CLOUD, Cloud, MigrationSettings, Settings

__all__ = [
    "ENV_CLOUD",
    "EXAMPLE",
    "Cloud",
    "MigrationSettings",
    "Settings",
    "config_path",
    "env_cloud",
    "load",
    "parse",
    "parse_rate",
    "parse_size",
    "state_dir",
]
