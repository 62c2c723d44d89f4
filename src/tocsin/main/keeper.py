"""The keeper: rollups and retention."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tocsin.lib.threads import on_this_loop
from tocsin.main import ROLES
from tocsin.main.ends import CannotStart, Ends
from tocsin.main.house import House
from tocsin.services.keeper import Archiver, Keeper, Retention


def _archive(house: House) -> Archiver | None:
    """None: what is too old is dropped, as no archive is wanted."""
    if not house.settings.archive_url:
        return None
    from tocsin.archive import ArchiveError, open_archive

    try:
        return open_archive(house.store, house.settings)
    except ArchiveError as error:
        raise CannotStart(f"TOCSIN_ARCHIVE_URL: {error}.") from error


def start(house: House, ends: Ends) -> AbstractAsyncContextManager[None]:
    days = house.settings
    keeper = Keeper(
        store=house.store,
        clock=house.clock,
        retention=Retention.of_days(
            checks=days.keep_checks_days,
            unpacked=days.pack_checks_after_days,
            hours=days.keep_hours_days,
            days=days.keep_days_days,
            notifications=days.keep_notifications_days,
        ),
        samples=house.kept,
        archive=_archive(house),
    )
    return on_this_loop(keeper.run, ends.of("keeper"), stop_s=ROLES["keeper"].stop_s)
