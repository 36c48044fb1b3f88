"""The application: routes to the API and the page, behind the guard."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mmgraph.errors import DataError, MMGraphError
from mmgraph.serve.answer import Api, number_of
from mmgraph.serve.answers import refuse, refuse_for
from mmgraph.serve.graph import API
from mmgraph.serve.guard import Guard
from mmgraph.serve.limits import ANYWHERE, Limits, names_of
from mmgraph.serve.media import respond
from mmgraph.serve.openapi import document

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.types import ASGIApp

    from mmgraph.engine import Engine

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]
PAGE = "page.html"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
STATIC = (PAGE, "page.css", "page.js", "api.js", "graph.js", "show.js", "sound.js")


def make_app(
    engine: Engine,
    *,
    title: str,
    limits: Limits | None = None,
    host: str = "127.0.0.1",
    names: Collection[str] = (),
) -> ASGIApp:
    """The page and the API of a graph, as an ASGI application.

    Args:
        engine: What searches.
        title: What the page is called.
        limits: What is allowed.
        host: The address that it will be reached at: requests that name another are refused.
        names: Further names by which it may be called.
    """
    limits = limits or Limits()
    api = Api(engine, limits, title=title)
    workers = _Workers(limits.threads)
    app = Starlette(
        routes=[*_routes(api, workers), *_static()],
        exception_handlers={HTTPException: _http, MMGraphError: _ours, Exception: _unexpected},
        lifespan=workers.lifespan,
    )
    app.router.redirect_slashes = False
    allowed = names_of(host) | {name.lower() for name in names}
    return Guard(app, limits=limits, names=allowed, any_address=host in ANYWHERE)


class _Workers:
    """Threads for what computes; a request that is given up leaves its thread busy, so that there are never more."""

    def __init__(self, threads: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="mmgraph-serve")

    async def __call__(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self.pool.shutdown(wait=False, cancel_futures=True)


def _routes(api: Api, run: _Workers) -> list[Route]:
    async def describe(_: Request) -> Response:
        return _json(await run(api.describe))

    async def search(request: Request) -> Response:
        body, kind = await request.body(), request.headers.get("content-type", "")
        return await run(lambda: _json(api.search(body, kind)))

    async def neighbours(request: Request) -> Response:
        id, node = request.path_params["id"], request.query_params.get("type")
        limit = number_of(request.query_params.get("limit"), "limit", None)
        try:
            return await run(lambda: _json(api.neighbours(node, id, limit)))
        except DataError as error:
            return refuse_for(error, 404)

    async def payload(request: Request) -> Response:
        node, row = request.path_params["node"], number_of(request.path_params["row"], "row", 0) or 0
        side = number_of(request.query_params.get("side"), "side", None)
        try:
            content = await run(lambda: api.payload(node, row, side))
        except DataError as error:
            return refuse_for(error, 415)
        if content is None:
            return refuse(404, f"{node[:80]!r} must be a node type with payloads, and have a row {row}")
        return respond(content, request.headers.get("range"))

    async def openapi(_: Request) -> Response:
        return Response(described, media_type="application/json")

    described = document(api.limits)
    return [
        Route(f"{API}/describe", describe),
        Route(f"{API}/search", search, methods=["POST"]),
        Route(f"{API}/node/{{id:path}}/neighbours", neighbours),
        Route(f"{API}/payload/{{node}}/{{row}}", payload),
        Route(f"{API}/openapi.json", openapi),
    ]


def _static() -> list[Route]:
    """The page and what belongs to it: a fixed set of files, read once; no address is ever a path."""

    def serve(name: str) -> Endpoint:
        data = (files("mmgraph.serve") / "static" / name).read_bytes()
        kind = f"{KINDS[name.rpartition('.')[2]]}; charset=utf-8"

        async def endpoint(_: Request) -> Response:
            return Response(data, headers={"Cache-Control": "no-cache", "Content-Type": kind})

        return endpoint

    rest = [Route(f"/static/{name}", serve(name)) for name in STATIC if name != PAGE]
    return [Route("/", serve(PAGE)), *rest]


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {404: f"There must be something at {request.url.path[:80]!r}, got nothing"}
    what[405] = f"{request.url.path[:80]!r} must be asked for in another way than {request.method}"
    answer = refuse(error.status_code, what.get(error.status_code, str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


async def _ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, MMGraphError)
    return refuse_for(error)


async def _unexpected(_: Request, __: Exception) -> Response:
    return refuse(500, "The server must answer, and failed")


def serve(app: ASGIApp, listener: socket.socket, *, limits: Limits | None = None) -> None:
    """Answers requests until it is interrupted.

    Args:
        app: What :func:`make_app` gave.
        listener: Bound to where it listens.
        limits: What is allowed.
    """
    import uvicorn

    limits = limits or Limits()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        limit_concurrency=limits.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listener])
