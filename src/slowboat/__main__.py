"""Where the program begins: the daemon by the shortest way, everything else through the command line.

Must stay small: the daemon runs for weeks, and what only the command line needs (click, rich) is not to be in it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs slowboat.

    Args:
        arguments: as after the program's name; None: those of this process.

    Returns:
        The exit code: 0 done, 1 failed, 2 a wrong command, 3 the daemon is not running, 78 a wrong configuration.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words:
        case ["daemon"]:
            return _daemon(None)
        case ["daemon", "--config", path] if path:
            return _daemon(Path(path))
    from slowboat.cli.app import main as command_line

    return command_line(words)


def _daemon(config: Path | None) -> int:
    from slowboat.daemon import main as daemon

    return daemon(config)


if __name__ == "__main__":
    sys.exit(main())
