"""Which path leads where. The paths, their methods and their roles stand here, and nothing else answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from semcache.long_work import LongWork
from semcache.ports import Clock
from semcache.request import RequestMemo
from semcache.server.gate import Gate
from semcache.server.grpc.service import Service
from semcache.server.http.calls import HttpCalls, not_found, wrong_method
from semcache.server.http.embeddings import Embeddings
from semcache.server.http.generation import Generation
from semcache.server.http.management import Management
from semcache.server.http.messages import MESSAGES
from semcache.server.http.models import Models
from semcache.server.http.origins import Origins
from semcache.server.http.pass_through import METHODS, PREFIX, PassThrough
from semcache.server.http.protocols import CHAT, HttpProtocol
from semcache.server.http.responses import RESPONSES
from semcache.settings import Settings
from semcache.story import SemanticCache

_GENERATIONS: Mapping[str, tuple[HttpProtocol, str]] = {
    "/v1/chat/completions": (CHAT, "ChatCompletions"),
    "/v1/messages": (MESSAGES, "Messages"),
    "/v1/responses": (RESPONSES, "Responses"),
}
"""The paths of calls for one answer: their protocol, and the name under which their calls are counted."""

HttpApp = ASGIApp
"""What answers the requests of a listener."""


def http_app(
    settings: Settings,
    *,
    clock: Clock,
    cache: SemanticCache,
    memo: RequestMemo,
    calls: HttpCalls,
    service: Service,
    gate: Gate,
    long_work: LongWork,
) -> HttpApp:
    """Return the application.

    Args:
        settings: limits, routes, and how hits are told.
        clock: the time.
        cache: what answers.
        memo: remembers requests that come again.
        calls: what every call goes through.
        service: answers the calls of management.
        gate: says whether the server takes calls.
        long_work: reads long bodies.
    """

    def generation(protocol: HttpProtocol, method: str) -> ASGIApp:
        answers = Generation(
            protocol,
            cache=cache,
            memo=memo,
            settings=settings.server.http,
            limits=settings.limits,
            long_work=long_work,
        )
        return calls.endpoint(
            answers.answer, method=method, needs="write", error_event=protocol.error_event, refused="no exact hit"
        )

    embeddings = Embeddings(cache, settings.server.http, settings.limits, long_work)
    models = Models(settings.upstream, clock.wall())
    management = Management(service, calls, settings.limits, long_work)
    paths: dict[str, tuple[str, ASGIApp]] = {
        "/v1/embeddings": (
            "POST",
            calls.endpoint(embeddings.answer, method="CreateEmbeddings", needs="write", refused="no exact hit"),
        ),
        **{path: ("POST", generation(protocol, method)) for path, (protocol, method) in _GENERATIONS.items()},
        "/healthz": ("GET", _health(lambda: True, calls)),
        "/readyz": ("GET", _health(lambda: not gate.closed, calls)),
        "/v1/models": ("GET", calls.endpoint(models.list, method="ListModels", needs="read")),
        "/v1/models/{model:path}": ("GET", calls.endpoint(models.one, method="GetModel", needs="read")),
        **{path: ("POST", endpoint) for path, endpoint in management.posts.items()},
        **{path: ("GET", endpoint) for path, endpoint in management.gets.items()},
    }

    passes = (
        _passing(settings, clock, cache, calls, long_work) if settings.server.http.unknown_paths == "pass" else None
    )

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        refuses = calls.refusal(not_found(path))
        await (passes if passes is not None and path.startswith(PREFIX) else refuses)(scope, receive, send)

    return Router(_routes(paths, calls), redirect_slashes=False, default=unknown)


def _passing(settings: Settings, clock: Clock, cache: SemanticCache, calls: HttpCalls, long_work: LongWork) -> ASGIApp:
    """Return what answers the unknown paths under `/v1/` that are passed through."""
    passing = PassThrough(
        cache,
        clock,
        settings.limits,
        long_work,
        deadline_s=settings.upstream.deadline_s,
        authenticated=settings.auth.enabled,
        origins=Origins(settings.server.http.allowed_origins),
    )
    endpoint = calls.endpoint(passing.answer, method="PassThrough", needs="write", decode=passing.decode)
    refusal = calls.refusal(wrong_method(", ".join(METHODS)))

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await (endpoint if scope["method"] in METHODS else refusal)(scope, receive, send)

    return answer


def _routes(paths: Mapping[str, tuple[str, ASGIApp]], calls: HttpCalls) -> list[Route]:
    return [
        Route(path, _for_method(method, endpoint, calls.refusal(wrong_method(method))))
        for path, (method, endpoint) in paths.items()
    ]


class _for_method:  # noqa: N801 - used as a function; Starlette takes an object with __call__ as an ASGI application
    """Leads a path's one method to its endpoint, and the others to a refusal."""

    def __init__(self, method: str, endpoint: ASGIApp, refusal: ASGIApp) -> None:
        self._method = method
        self._endpoint = endpoint
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        right = method == self._method or (method == "HEAD" and self._method == "GET")
        await (self._endpoint if right else self._refusal)(scope, receive, send)


def _health(good: Callable[[], bool], calls: HttpCalls) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        is_good = good()
        status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
        body = b"ok\n" if is_good else b"draining\n"
        await calls.open(scope, send).reply(status, [(b"content-type", b"text/plain; charset=utf-8")], body)

    return answer
