"""What the routes take and answer, in OpenAPI's words."""

from typing import Any

VALUE = {
    "description": "A text; a row, as numbers in order or values by column; or the bytes of a file in base64.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {}}, {"type": "object"}],
    "examples": ["a text", [5.1, 3.5], {"base64": "iVBORw0KGgo="}],
}
ANSWERS = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "string", "description": "The beginning of the sha256 of the artifact's card."},
        "answers": {
            "type": "array",
            "items": {"type": "object", "description": "As `graft predict` answers; `error` where it cannot."},
        },
    },
    "required": ["model", "version", "answers"],
}
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "What is wrong, and what would be right."}},
    "required": ["error"],
}
WHY = {
    400: "It is no HTTP or JSON that can be read, or the form is damaged.",
    401: "The token is not shown.",
    403: "A page of another site asks.",
    404: "There is no such model.",
    408: "It did not arrive in time.",
    413: "It is too large.",
    415: "It is neither JSON nor a form.",
    421: "It was asked for under another name than localhost.",
    422: "No example of it can be answered.",
    503: "The server is full, or about to end; Retry-After says when to ask again.",
}


def body(most: int) -> dict[str, Any]:
    """What is asked: one example or several."""
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": most}},
        "required": ["file"],
    }
    inputs = {"type": "array", "items": VALUE, "minItems": 1, "maxItems": most}
    asked = {
        "type": "object", "properties": {"inputs": inputs}, "required": ["inputs"], "additionalProperties": False,
    }  # fmt: skip
    return {
        "required": True,
        "content": {"application/json": {"schema": asked}, "multipart/form-data": {"schema": form}},
    }


def replies(*refusals: int, good: str = "", schema: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """What a route answers: 200, and the refusals of these kinds with those that every route knows."""
    said: dict[int | str, dict[str, Any]] = {
        status: {"description": WHY[status], "content": {"application/json": {"schema": ERROR}}}
        for status in (400, 401, 421, *refusals)
    }
    if 503 in said:
        again = {"schema": {"type": "string"}, "required": True, "description": "Seconds."}
        said[503]["headers"] = {"Retry-After": again}
    if 422 in said:
        said[422]["content"]["application/json"]["schema"] = {"anyOf": [ERROR, ANSWERS]}
    return {
        200: {"description": good, "content": {"application/json": {"schema": schema or {"type": "object"}}}},
        **said,
    }


def secured(schema: dict[str, Any], unneeded: tuple[str, ...]) -> dict[str, Any]:
    """The same, where a token is asked for on all paths but these."""
    schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in schema["paths"].items():
        for method in methods.values():
            if path not in unneeded:
                method["security"] = [{"token": []}]
    return schema
