"""The keeper: rollups and retention."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tocsin.lib.threads import on_this_loop
from tocsin.main import ROLES
from tocsin.main.ends import Ends
from tocsin.main.house import House
from tocsin.services.keeper import Keeper, Retention


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
    )
    return on_this_loop(keeper.run, ends.of("keeper"), stop_s=ROLES["keeper"].stop_s)
