"""Signing in and out, and one's own password."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import answer, no_content
from tocsin.api.context import ApiContext
from tocsin.api.guard import COOKIE, Asker, Context, OpenRoute, ReadRoute, problem_answers, same_origin
from tocsin.api.problems import ApiProblem
from tocsin.api.signing_in import SigningIn
from tocsin.catalog import access
from tocsin.catalog.access import Identity
from tocsin.catalog.errors import FieldError, Invalid

open_router = APIRouter(prefix="/v1", tags=["session"], route_class=OpenRoute)
router = APIRouter(prefix="/v1", tags=["session"], route_class=ReadRoute)


@open_router.post(
    "/session",
    summary="Sign in",
    response_model=models.Session,
    responses=problem_answers(401, 403, 413, 422, 429),
)
async def sign_in(request: Request, wish: models.SignIn, context: Context) -> Response:
    """Answers with the cookie `tocsin_session`. Ten failures in five minutes for one name from one address are answered
    429 for the rest of them; so are 50 from one address for any name, and 500 for one name from anywhere."""
    if same_origin(request) is False:
        raise ApiProblem(403, "Sign in from this server's own page.")
    signing_in: SigningIn = request.app.state.signing_in
    address = request.client.host if request.client else ""
    user, token = await signing_in.sign_in(wish.name, wish.password, address=address)
    response = answer({"user": {"name": user.name, "scopes": list(user.scopes)}})
    response.set_cookie(
        COOKIE,
        token,
        max_age=access.SESSION_MS // 1000,
        path="/",
        secure=_is_https(request, context),
        httponly=True,
        samesite="lax",
    )
    return response


@router.get("/session", summary="Who is asking", response_model=models.Session)
def who(asker: Asker) -> Response:
    return answer({"user": _who(asker)})


@router.delete("/session", summary="Sign out", status_code=204)
def sign_out(request: Request, asker: Asker, context: Context) -> Response:
    if asker.session_hash is not None:
        with context.store.write() as conn:
            access.end_session(conn, asker.session_hash)
    response = no_content()
    response.delete_cookie(COOKIE, path="/", secure=_is_https(request, context), httponly=True, samesite="lax")
    return response


@router.post("/settings/password", summary="Change one's own password", status_code=204)
async def change_password(request: Request, wish: models.PasswordChange, asker: Asker) -> Response:
    """Every other session of this person ends."""
    if asker.user_id is None:
        raise ApiProblem(403, "An API key has no password; sign in as a person.")
    signing_in: SigningIn = request.app.state.signing_in
    address = request.client.host if request.client else ""
    if not await signing_in.change_password(asker, wish.current, wish.new, address=address):
        raise Invalid([FieldError("current", "is not the present password")])
    return no_content()


def _who(identity: Identity) -> dict[str, object]:
    return {"name": identity.name, "scopes": list(identity.scopes)}


def _is_https(request: Request, context: ApiContext) -> bool:
    return request.url.scheme == "https" or context.public_url.startswith("https://")
