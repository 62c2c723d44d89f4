"""API keys: made, listed, revoked."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import answer, listing, moment, moment_or_none, no_content
from tocsin.api.guard import AdminRoute, Context
from tocsin.api.paging import cursor_of, position_of
from tocsin.api.parameters import Cursor, Id, Limit
from tocsin.catalog import access
from tocsin.store.access import KeyRow

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=AdminRoute)


@router.get("", summary="Keys that are in use", response_model=models.Page[models.Key])
def list_keys(context: Context, limit: Limit = 100, cursor: Cursor = None) -> Response:
    (after_id,) = position_of(cursor, tuple[int]) or (0,)
    with context.store.read() as conn:
        rows = access.list_keys(conn, limit=limit + 1, after_id=after_id)
    following = cursor_of((rows[limit - 1].id,)) if len(rows) > limit else None
    return answer(listing([_key(row) for row in rows[:limit]], following))


@router.post("", summary="Make a key", status_code=201, response_model=models.NewKey)
def create_key(wish: models.KeyWrite, context: Context) -> Response:
    """The key itself is in this answer and nowhere else: only its hash is stored."""
    with context.store.write() as conn:
        row, key = access.create_key(conn, name=wish.name, scopes=wish.scopes, now_ms=context.clock.now_ms())
    return answer(_key(row) | {"key": key}, 201, {"Cache-Control": "no-store"})


@router.delete("/{key_id}", summary="Revoke a key", status_code=204)
def revoke_key(key_id: Id, context: Context) -> Response:
    with context.store.write() as conn:
        access.revoke_key(conn, key_id, now_ms=context.clock.now_ms())
    return no_content()


def _key(row: KeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "prefix": row.prefix,
        "scopes": list(row.scopes),
        "created_at": moment(row.created_ms),
        "last_used_at": moment_or_none(row.last_used_ms),
    }
