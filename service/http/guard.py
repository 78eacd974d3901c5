"""Routes that let nobody in who may not, and end when their time is over."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from rag.errors import DeadlineExceeded, ShuttingDown
from service.http.access.authenticator import Access
from service.http.access.credentials import credentials
from service.http.edge import ClientGone, Exchange, exchange_of
from service.http.parts import Parts

Handler = Callable[[Request], Awaitable[Response]]


class GuardedRoute(APIRoute):
    """Asks who calls before the body is read. `guarded` makes the kind for a right; without one there is no route."""

    access: Access

    def __init__(self, path: str, *arguments: Any, **options: Any) -> None:
        if not hasattr(self, "access"):
            raise LookupError(f"{path} is not in the table of routes")
        super().__init__(path, *arguments, **options)

    def get_route_handler(self) -> Any:
        handler: Handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            exchange = exchange_of(request.scope)
            parts: Parts = request.app.state.parts
            try:
                return await exchange.deadline.wait(self._admit(request, parts, exchange, handler))
            except TimeoutError as err:
                raise too_late(parts) from err

        return guarded

    async def _admit(self, request: Request, parts: Parts, exchange: Exchange, handler: Handler) -> Response:
        if self.access == "public" or (self.path == "/metrics" and parts.settings.server.public_metrics):
            return await handler(request)
        needs = None if self.access == "known" else self.access
        caller = await parts.authenticator.caller(credentials(request), needs)
        exchange.caller = caller
        exchange.held.enter_context(parts.limits.share(caller))
        await parts.limits.check_rate(caller)
        try:
            await request.body()  # while it comes it costs its caller's share only
        except ClientDisconnect as err:
            raise ClientGone from err
        exchange.held.enter_context(parts.limits.place())
        return await handler(request)


def guarded(access: Access) -> type[GuardedRoute]:
    """The kind of route that lets in who has a right."""
    return type("GuardedRoute", (GuardedRoute,), {"access": access})


def too_late(parts: Parts) -> Exception:
    """What a request is told whose time is over."""
    if parts.drain.begun:
        return ShuttingDown("The service is shutting down. Ask again: another worker takes over.")
    return DeadlineExceeded(
        f"This took longer than {parts.settings.server.deadline:g} s (server.deadline). Ask again, or ask for less."
    )
