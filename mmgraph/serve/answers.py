"""Answers that are no success: JSON that says what went wrong, and what to do."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse

from mmgraph.errors import ArtifactError, MissingPackageError, MMGraphError

DO = {
    400: "mend the request; /api/v1/openapi.json says what is taken",
    403: "open the page by the address that mmgraph serve printed",
    404: "look at /api/v1/describe and /api/v1/openapi.json for what there is",
    405: "look at /api/v1/openapi.json for what can be done here",
    408: "send it again over a faster connection, or send less",
    413: "send less: a smaller picture, a shorter recording",
    415: "ask for one of another kind",
    416: "ask for a part that is there",
    429: "wait as long as Retry-After says",
    500: "look at what the server printed",
    501: "install what is missing where the server runs",
    503: "wait as long as Retry-After says",
    504: "ask for less: fewer results, fewer hops, smaller files",
}
NAMES = {
    400: "bad_request",
    403: "refused",
    404: "not_found",
    405: "not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "wrong_kind",
    416: "no_such_part",
    429: "too_many",
    500: "failed",
    501: "not_installed",
    503: "busy",
    504: "took_too_long",
}


def refuse(status: int, what: str, do: str = "", *, wait_s: float = 0.0) -> JSONResponse:
    """An answer that says what went wrong.

    Example:
        >>> refuse(429, "One client may ask 2 times a second", wait_s=0.2).body
        b'{"error":"too_many","what":"One client may ask 2 times a second","do":"wait as long as Retry-After says"}'
    """
    headers = {"Retry-After": str(math.ceil(wait_s))} if wait_s else None
    what = what.encode("utf-8", "replace").decode()  # halves of characters can't be sent
    body = {"error": NAMES.get(status, "refused"), "what": what, "do": do or DO.get(status, DO[400])}
    return JSONResponse(body, status, headers=headers)


def refuse_for(error: MMGraphError, status: int = 400) -> JSONResponse:
    """An answer for an error of the library; its message says what to do after the last semicolon.

    Example:
        >>> from mmgraph.errors import DataError
        >>> refuse_for(DataError("k must be at most 3, got 4; ask for fewer")).body
        b'{"error":"bad_request","what":"k must be at most 3, got 4","do":"ask for fewer"}'
    """
    if isinstance(error, MissingPackageError):
        status = 501
    elif isinstance(error, ArtifactError):
        status = 500
    what, _, do = " ".join(str(error).split()).rpartition("; ")
    return refuse(status, what or do, do if what else "")
