"""The API's description of itself: OpenAPI 3.1, made from the routes and their schemas."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from trackflow_core import __version__
from trackflow_core.api.schemas import example_of
from trackflow_core.hooks import ApiRoute

_BASE = "/trackflow/api/v1"
_PARAMETER = re.compile(r"\{(\w+)\}")
_PROBLEMS = {
    "400": "The request cannot be read",
    "401": "There is no valid key",
    "403": "The key may not do this",
    "404": "There is no such record",
    "409": "A name is taken, or a record is in use",
    "412": "The record was changed after it was read",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "422": "A value cannot be used",
    "429": "Too many requests",
    "503": "Try again later",
}
_PARAMETERS = {
    "code": ("A link's short code.", "spr2026"),
    "id": ("The record's id.", "7"),
    "message": ("A message's id.", "msg_0123456789abcdef0123456789abcdef"),
    "ref": ("A lead's or deal's reference; without '/' it is the API's own.", "L-17"),
}


def document(routes: Sequence[ApiRoute], base_url: str = "") -> Mapping[str, Any]:
    """The OpenAPI document of `routes`."""
    models = {model for route in routes for model in (route.body, route.answer) if model}
    wanted = [
        *((model, "validation") for model in models if _is_body(model, routes)),
        *((model, "serialization") for model in models if not _is_body(model, routes)),
    ]
    wanted.sort(key=lambda pair: pair[0].__name__)
    refs, defined = models_json_schema(
        wanted,  # type: ignore[arg-type]
        ref_template="#/components/schemas/{model}",
    )
    schemas = dict(defined.get("$defs", {}))
    schemas["Problem"] = _problem_schema()
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, refs)
        paths.setdefault(f"{route.path}", {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TrackFlow",
            "version": __version__,
            "description": "Which marketing earned each lead and each deal.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"{base_url}{_BASE}"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "tf_<prefix>_<secret>"}
            },
            "schemas": schemas,
        },
    }


def _is_body(model: type[BaseModel], routes: Sequence[ApiRoute]) -> bool:
    return any(route.body is model for route in routes)


def _operation(route: ApiRoute, refs: Mapping[Any, Any]) -> dict[str, Any]:
    tag = route.path.split("/")[1]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [tag],
        "description": f"Needs the scope `{route.scope}`.",
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
        "responses": _responses(route, refs),
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": refs[route.body, "validation"],
                    "example": example_of(route.body),
                }
            },
        }
    return operation


def _path_parameters(route: ApiRoute) -> list[dict[str, Any]]:
    found = []
    for name in _PARAMETER.findall(route.path):
        description, example = _PARAMETERS.get(name, ("", "x"))
        found.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": description,
                "schema": {"type": "string", "minLength": 1, "maxLength": 250},
                "example": example,
            }
        )
    return found


def _query_parameters(route: ApiRoute) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema(ref_template="#/components/schemas/{model}")
    needed = schema.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in needed,
            "description": part.get("description", ""),
            "schema": _plain(part),
        }
        for name, part in schema["properties"].items()
    ]


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema: it is left out rather than null."""
    found = {key: value for key, value in schema.items() if key not in ("title", "description")}
    kinds = [kind for kind in found.pop("anyOf", []) if kind.get("type") != "null"]
    if kinds:
        found.update(kinds[0])
    if found.get("default", ...) is None:
        del found["default"]
    return found


def _headers(route: ApiRoute) -> list[dict[str, Any]]:
    found = []
    if route.method == "POST":
        found.append(
            _header(
                "Idempotency-Key",
                "The same answer is given to a request that is repeated with its key.",
                {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            )
        )
    if route.method in ("PUT", "PATCH", "DELETE"):
        found.append(
            _header(
                "If-Match",
                "The record's ETag as it was read; 412 when it was changed since.",
                {"type": "string", "maxLength": 500, "pattern": "^[ -~]*$"},
            )
        )
    return found


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _responses(route: ApiRoute, refs: Mapping[Any, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    statuses = ["200", "201"] if route.method == "PUT" else [str(route.status)]
    if route.answer is not None:
        mode = "validation" if (route.answer, "validation") in refs else "serialization"
        content = {
            "application/json": {
                "schema": refs[route.answer, mode],
                "example": example_of(route.answer),
            }
        }
        for status in statuses:
            answers[status] = {"description": "Done", "content": content, "headers": _told()}
    elif route.path.endswith((".png", ".svg")):
        kind = "image/png" if route.path.endswith("png") else "image/svg+xml"
        content = {kind: {"schema": {"type": "string", "format": "binary"}}}
        answers["200"] = {"description": "The picture", "content": content, "headers": _told()}
    else:
        answers["204"] = {"description": "Done", "headers": _told()}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, description in _PROBLEMS.items():
        answers[status] = {"description": description, "content": problem}
    return answers


def _told() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        "RateLimit-Policy": {"description": "How many requests in how many seconds.", **text},
        "RateLimit": {"description": "How many are left, for how many seconds.", **text},
    }


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {**text, "examples": ["about:blank"]},
            "title": {**text, "examples": ["Unprocessable Content"]},
            "status": {"type": "integer", "examples": [422]},
            "detail": {**text, "description": "What is wrong, and where."},
            "remedy": {**text, "description": "What to do."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "detail", "remedy"],
                    "properties": {"field": text, "detail": text, "remedy": text},
                },
            },
        },
    }
