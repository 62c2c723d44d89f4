"""The API's own reference: the OpenAPI document, and a page made of it that needs no script and no other server."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from tocsin.api.answers import tagged_answer
from tocsin.api.guard import GuardedRoute

router = APIRouter(tags=["operations"], route_class=GuardedRoute, include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    return tagged_answer(request, request.app.openapi())


@router.get("/docs")
def docs(request: Request) -> Response:
    return HTMLResponse(_page(request.app.openapi()), headers={"Cache-Control": "private, no-cache"})


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
code,pre{font:14px/1.5 ui-monospace,monospace}h2{margin-top:3rem}details{margin:.5rem 0}
summary{cursor:pointer}table{border-collapse:collapse;width:100%}td{padding:.2rem .8rem .2rem 0;vertical-align:top}
.method{display:inline-block;width:4.5rem;font-weight:600}.scope{opacity:.7}
"""


def _page(document: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    rooms = "".join(
        f'<h2 id="{escape(tag)}">{escape(tag.capitalize())}</h2><p>{escape(described[tag])}</p>{"".join(entries)}'
        for tag, entries in by_tag.items()
    )
    models = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_model(model)}</details>'
        for name, model in sorted(document["components"]["schemas"].items())
    )
    intro = "".join(f"<p>{escape(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(document['info']['title'])} API</title><style>{_STYLE}</style>"
        f"<h1>{escape(document['info']['title'])} API {escape(document['info']['version'])}</h1>{intro}"
        '<p>For programs: <a href="/openapi.json">/openapi.json</a></p>'
        f"{rooms}<h2>Shapes</h2>{models}</html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    scope = operation.get("x-scope")
    needs = f"needs <code>{escape(scope)}</code>" if scope else "open"
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code> in {escape(parameter['in'])}</td>"
        f"<td>{_kind(parameter['schema'])}</td><td>{escape(parameter.get('description', ''))}</td></tr>"
        for parameter in operation.get("parameters", ())
    )
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        rows += f"<tr><td>body</td><td>{_kind(content['schema'])}</td><td>{escape(media_type)}</td></tr>"
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{_answered(response)}</td>"
        f"<td>{escape(response.get('description', ''))}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f'<details><summary><span class="method">{method.upper()}</span><code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))} <span class=scope>({needs})</span></summary>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        f"<table>{rows}</table><p>Answers</p><table>{answers}</table></details>"
    )


def _answered(response: dict[str, Any]) -> str:
    return " ".join(_kind(content.get("schema", {})) for content in response.get("content", {}).values())


def _model(model: dict[str, Any]) -> str:
    required = set(model.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{'' if name in required else ' (optional)'}</td>"
        f"<td>{_kind(field)}</td><td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in model.get("properties", {}).items()
    )
    return f"<p>{escape(model.get('description', ''))}</p><table>{rows}</table>"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in few words, with links to the shapes it names."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " or ".join(_kind(one) for one in schema[word])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(schema.get("format") or schema.get("type") or "anything")
