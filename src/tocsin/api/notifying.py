"""Who is told: channels, rules, and what became of every message. Thin: the catalog decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import answer, listing, moment, moment_or_none, no_content
from tocsin.api.context import ApiContext
from tocsin.api.guard import Context, GuardedRoute, problem_answers
from tocsin.api.paging import cursor_of, position_of
from tocsin.api.parameters import Cursor, Documents, Id, Limit, numbered
from tocsin.api.trying import Bench
from tocsin.catalog import channels, rules
from tocsin.catalog.channels import Destination
from tocsin.catalog.errors import Conflict, NotFound
from tocsin.channels import CHANNELS
from tocsin.store import channels as store_channels
from tocsin.store import notifications as store_notifications
from tocsin.store import rules as store_rules
from tocsin.store.channels import ChannelRow
from tocsin.store.notifications import LastDelivery, Notification, Status

channels_router = APIRouter(prefix="/v1", tags=["channels"], route_class=GuardedRoute)
rules_router = APIRouter(prefix="/v1/rules", tags=["rules"], route_class=GuardedRoute)
notifications_router = APIRouter(prefix="/v1/notifications", tags=["notifications"], route_class=GuardedRoute)

_CONFLICT = problem_answers(409)


# ── channels ──────────────────────────────────────────────────────────────────────────────────────────

_HOOK = {
    "name": "on call",
    "kind": "webhook",
    "url": "https://hooks.example/tocsin",
    "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
}
WholeChannel = Annotated[
    dict[str, Any], Documents(channels.ChannelWrite), Body(openapi_examples={"webhook": {"value": _HOOK}})
]
PartOfChannel = Annotated[
    dict[str, Any], Documents(models.ChannelPatch), Body(openapi_examples={"off": {"value": {"enabled": False}}})
]


@channels_router.get("/channels", summary="Channels, by name", response_model=models.Page[models.Channel])
def list_channels(context: Context) -> Response:
    """All of them, on one page."""
    with context.store.read() as conn:
        rows = store_channels.all_channels(conn)
        last = store_notifications.last_deliveries(conn)
    return answer(listing([_channel(row, last.get(row.id)) for row in rows]))


@channels_router.post(
    "/channels", summary="Make a channel", status_code=201, response_model=models.Channel, responses=_CONFLICT
)
def create_channel(given: WholeChannel, context: Context) -> Response:
    with context.store.write() as conn:
        row = channels.create(conn, given, vault=context.vault, now_ms=context.clock.now_ms())
    context.bus.ring("channels")
    return answer(_channel(row, None), 201, {"Location": f"/v1/channels/{row.id}"})


@channels_router.get(
    "/channel-kinds", summary="Kinds of channels, with what their forms need", response_model=models.ChannelKinds
)
def list_channel_kinds() -> Response:
    return answer(
        listing(
            [
                {
                    "kind": channel.kind,
                    "title": channel.title,
                    "schema": channels.WRITE_MODELS[channel.kind].model_json_schema(by_alias=True),
                }
                for channel in CHANNELS.values()
            ]
        )
    )


@channels_router.post(
    "/channels/test",
    summary="Send a test message through a channel that is not saved",
    response_model=models.DeliveryTrial,
    responses=problem_answers(404, 429),
)
async def try_unsaved_channel(
    request: Request,
    given: Annotated[
        dict[str, Any], Documents(models.ChannelTrial), Body(openapi_examples={"webhook": {"value": _HOOK}})
    ],
    context: Context,
) -> Response:
    """Send a whole channel, or the `id` of a saved one and what should differ; secrets left out are those saved."""
    return await _try(request, await run_in_threadpool(_destination, given, context))


@channels_router.get("/channels/{channel_id}", summary="One channel", response_model=models.Channel)
def read_channel(channel_id: Id, context: Context) -> Response:
    with context.store.read() as conn:
        row = channels.get(conn, channel_id)
        last = store_notifications.last_deliveries(conn)
    return answer(_channel(row, last.get(row.id)))


@channels_router.patch(
    "/channels/{channel_id}",
    summary="Change some fields of a channel",
    response_model=models.Channel,
    responses=_CONFLICT,
)
def change_channel(channel_id: Id, given: PartOfChannel, context: Context) -> Response:
    with context.store.write() as conn:
        row = channels.change(conn, channel_id, given, vault=context.vault, now_ms=context.clock.now_ms())
        last = store_notifications.last_deliveries(conn)
    context.bus.ring("channels")
    return answer(_channel(row, last.get(row.id)))


@channels_router.put(
    "/channels/{channel_id}", summary="Replace a channel", response_model=models.Channel, responses=_CONFLICT
)
def replace_channel(channel_id: Id, given: WholeChannel, context: Context) -> Response:
    """What is left out takes its default, but for secrets: those left out or null stay."""
    with context.store.write() as conn:
        row = channels.put(conn, channel_id, given, vault=context.vault, now_ms=context.clock.now_ms())
        last = store_notifications.last_deliveries(conn)
    context.bus.ring("channels")
    return answer(_channel(row, last.get(row.id)))


@channels_router.delete("/channels/{channel_id}", summary="Delete a channel", status_code=204)
def delete_channel(channel_id: Id, context: Context) -> Response:
    """Rules no longer name it; what had not been sent is abandoned."""
    with context.store.write() as conn:
        channels.delete(conn, channel_id, now_ms=context.clock.now_ms())
    context.bus.ring("channels")
    return no_content()


@channels_router.post(
    "/channels/{channel_id}/test",
    summary="Send a test message through a saved channel",
    response_model=models.DeliveryTrial,
    responses=problem_answers(429),
)
async def try_channel(request: Request, channel_id: Id, context: Context) -> Response:
    return await _try(request, await run_in_threadpool(_saved_destination, channel_id, context))


async def _try(request: Request, where: Destination) -> Response:
    bench: Bench = request.app.state.bench
    delivery = await bench.send_test(where)
    return answer({"ok": delivery.ok, "detail": delivery.detail, "duration_ms": delivery.duration_ms})


def _saved_destination(channel_id: int, context: ApiContext) -> Destination:
    with context.store.read() as conn:
        return channels.destination(channels.get(conn, channel_id), context.vault)


def _destination(given: Mapping[str, Any], context: ApiContext) -> Destination:
    channel_id, rest = numbered(given)
    if channel_id is None:
        return channels.check(rest).destination
    with context.store.read() as conn:
        old = channels.get(conn, channel_id)
    return channels.changed(old, rest, context.vault).destination


def _channel(row: ChannelRow, last: LastDelivery | None) -> dict[str, Any]:
    shown = None if last is None else {"status": last.status, "at": moment(last.at_ms), "detail": last.detail}
    return channels.describe(row) | {
        "last_delivery": shown,
        "created_at": moment(row.created_ms),
        "updated_at": moment(row.updated_ms),
    }


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────

_RULE = {"name": "shop to on call", "tags": ["shop"], "events": ["down", "recovered"], "channel_ids": [1]}
WholeRule = Annotated[dict[str, Any], Documents(rules.RuleFields), Body(openapi_examples={"by tag": {"value": _RULE}})]
PartOfRule = Annotated[
    dict[str, Any], Documents(models.RulePatch), Body(openapi_examples={"no reminder": {"value": {"reminder_s": None}}})
]


@rules_router.get("", summary="Rules", response_model=models.Page[models.RuleRead])
def list_rules(context: Context) -> Response:
    """All of them, on one page."""
    with context.store.read() as conn:
        stored = store_rules.all_rules(conn)
    return answer(listing([rules.describe(one.rule) for one in stored]))


@rules_router.post("", summary="Make a rule", status_code=201, response_model=models.RuleRead, responses=_CONFLICT)
def create_rule(given: WholeRule, context: Context) -> Response:
    with context.store.write() as conn:
        rule = rules.create(conn, given, now_ms=context.clock.now_ms())
    context.bus.ring("channels")
    return answer(rules.describe(rule), 201, {"Location": f"/v1/rules/{rule.id}"})


@rules_router.get("/{rule_id}", summary="One rule", response_model=models.RuleRead)
def read_rule(rule_id: Id, context: Context) -> Response:
    with context.store.read() as conn:
        return answer(rules.describe(rules.get(conn, rule_id)))


@rules_router.patch(
    "/{rule_id}", summary="Change some fields of a rule", response_model=models.RuleRead, responses=_CONFLICT
)
def change_rule(rule_id: Id, given: PartOfRule, context: Context) -> Response:
    with context.store.write() as conn:
        rule = rules.change(conn, rule_id, given, now_ms=context.clock.now_ms())
    context.bus.ring("channels")
    return answer(rules.describe(rule))


@rules_router.put("/{rule_id}", summary="Replace a rule", response_model=models.RuleRead, responses=_CONFLICT)
def replace_rule(rule_id: Id, given: WholeRule, context: Context) -> Response:
    with context.store.write() as conn:
        rule = rules.put(conn, rule_id, given, now_ms=context.clock.now_ms())
    context.bus.ring("channels")
    return answer(rules.describe(rule))


@rules_router.delete("/{rule_id}", summary="Delete a rule", status_code=204, responses=_CONFLICT)
def delete_rule(rule_id: Id, context: Context) -> Response:
    """Not the default one."""
    with context.store.write() as conn:
        rules.delete(conn, rule_id)
    context.bus.ring("channels")
    return no_content()


# ── notifications ─────────────────────────────────────────────────────────────────────────────────────


@notifications_router.get("", summary="Messages, newest first", response_model=models.Page[models.NotificationRead])
def list_notifications(
    context: Context,
    limit: Limit = 100,
    cursor: Cursor = None,
    channel_id: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    status: Status | None = None,
) -> Response:
    position = position_of(cursor, tuple[int])
    with context.store.read() as conn:
        found = store_notifications.page(
            conn,
            limit=limit + 1,
            before_id=None if position is None else position[0],
            channel_id=channel_id,
            status=status,
        )
    following = cursor_of((found[limit - 1].id,)) if len(found) > limit else None
    return answer(listing([_notification(one) for one in found[:limit]], following))


@notifications_router.post(
    "/{notification_id}/retry",
    summary="Try a message again now",
    response_model=models.NotificationRead,
    responses=_CONFLICT,
)
def retry_notification(notification_id: Id, context: Context) -> Response:
    """One that waits for its next attempt, or that was given up. One that was delivered is not sent twice."""
    with context.store.write() as conn:
        found = store_notifications.get(conn, notification_id)
        if found is None:
            raise NotFound(f"There is no notification {notification_id}.")
        if found.channel_name is None:
            raise Conflict("This message cannot be tried again: its channel was deleted.")
        if not store_notifications.retry(conn, notification_id, now_ms=context.clock.now_ms()):
            raise Conflict(f"This message cannot be tried again: it is {found.status}.")
        again = store_notifications.get(conn, notification_id)
    assert again is not None
    context.bus.ring("notifications")
    return answer(_notification(again))


def _notification(one: Notification) -> dict[str, Any]:
    return {
        "id": one.id,
        "delivery_key": one.delivery_key,
        "channel": {"id": one.channel_id, "name": one.channel_name},
        "title": one.title,
        "text": one.text,
        "status": one.status,
        "attempts": [
            {"at": moment(each.at_ms), "ok": each.ok, "duration_ms": each.duration_ms, "detail": each.detail}
            for each in one.attempts
        ],
        "created_at": moment(one.created_ms),
        "next_attempt_at": moment_or_none(one.next_attempt_ms),
    }
