"""What the whole does is told by what its migrations do."""

from __future__ import annotations

import pytest

from slowboat.core.words import Activity, ManagerReport, MigrationReport
from slowboat.engine import report


def whole(*activities: Activity) -> ManagerReport:
    each = {str(number): MigrationReport(str(number), activity=one) for number, one in enumerate(activities)}
    return report.of_all(
        "1", each, (), limit=0, limit_until=0.0, mode="go", network="", paused_until=0.0, added_delay=0.0
    )


@pytest.mark.parametrize(
    ("others", "shown"),
    [
        ((Activity.SENDING,), Activity.SENDING),
        ((Activity.WAITING,), Activity.WAITING),
        ((Activity.NEEDS_USER,), Activity.NEEDS_USER),
        ((Activity.DONE,), Activity.PAUSED),
        ((Activity.PAUSED,), Activity.PAUSED),
    ],
)
def test_one_that_is_paused_does_not_make_the_whole_paused(others, shown) -> None:
    assert whole(Activity.PAUSED, *others).activity is shown
