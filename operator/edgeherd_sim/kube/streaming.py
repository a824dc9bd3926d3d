"""Watches as HTTP answers that go on and on."""

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from edgeherd_sim.kube.failures import Failure, bad_request, invalid
from edgeherd_sim.kube.objects import Body, encode
from edgeherd_sim.kube.reading import Query, watch
from edgeherd_sim.kube.rules import not_allowed
from edgeherd_sim.kube.store import Store

if TYPE_CHECKING:
    from edgeherd_sim.kube.handlers import View

_TRUE = {"true", "1"}


class Streams:
    """The watches that are open now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """End all of them."""
        for task in self._open:
            task.cancel()

    async def watch(self, request: web.Request, query: Query, view: "View") -> web.StreamResponse:
        """Answer a watch until its time is over or the client leaves."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in one
        parameters = request.query
        initial = parameters.get("sendInitialEvents")
        seconds = parameters.get("timeoutSeconds", "") or "0"
        if not seconds.isdigit():
            raise bad_request(f'strconv.ParseInt: parsing "{seconds}": invalid syntax')
        if initial is not None and parameters.get("resourceVersionMatch") != "NotOlderThan":
            problem = not_allowed(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
            raise invalid("meta.k8s.io", "ListOptions", "", [problem])
        # A selector that cannot be read is refused before the answer begins.
        query.test()
        events = watch(
            self._store,
            query,
            version=parameters.get("resourceVersion", ""),
            bookmarks=parameters.get("allowWatchBookmarks") in _TRUE,
            initial=None if initial is None else initial in _TRUE,
            seconds=float(seconds),
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._open.add(task)
        headers = True
        try:
            async for event in events:
                shown = event.body
                if event.type != "BOOKMARK":
                    shown = view.one(query.kind, event.body, headers=headers)
                    headers = False
                elif view.form:
                    shown = _bookmark(view.form, event.body)
                await response.write(encode({"type": event.type, "object": shown}))
        except Failure as failure:
            await response.write(encode({"type": "ERROR", "object": failure.body()}))
        except ConnectionResetError:
            # The client left, which is how watches end.
            return response
        finally:
            self._open.discard(task)
            await events.aclose()  # type: ignore[attr-defined]
        await response.write_eof()
        return response


def _bookmark(form: str, body: Body) -> Body:
    if form == "Table":
        return {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": body["metadata"],
            "columnDefinitions": None,
            "rows": [{"cells": [], "object": body}],
        }
    return {"kind": form, "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}
