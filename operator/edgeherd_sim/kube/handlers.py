"""HTTP requests into operations, and what comes of them into answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from edgeherd_sim.kube import builtin, discovery, openapi, reviews, tables, wire
from edgeherd_sim.kube.api import APPLY, STRATEGIC, Address, Api, Options
from edgeherd_sim.kube.deletion import Deletion, delete
from edgeherd_sim.kube.failures import (
    Failure,
    bad_request,
    invalid,
    method_not_allowed,
    no_such_path,
    unsupported_media,
)
from edgeherd_sim.kube.kinds import Kind, Kinds
from edgeherd_sim.kube.objects import Body, encode
from edgeherd_sim.kube.reading import Lists, Page, Query, fields_of
from edgeherd_sim.kube.rules import Problem, not_allowed, required
from edgeherd_sim.kube.store import Store
from edgeherd_sim.kube.streaming import Streams

_TRUE = {"true", "1"}
_PATCHES = ("application/json-patch+json", "application/merge-patch+json")
_SUBRESOURCES = {"status", "finalize"}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the client wants objects: as they are, as a table, or their metadata only."""

    form: str = ""
    include: str = "Metadata"

    @classmethod
    def of(cls, request: web.Request) -> "View":
        """From the Accept header; the first form that there is."""
        include = request.query.get("includeObject", "Metadata")
        for part in request.headers.get("Accept", "").split(","):
            words = {word.strip() for word in part.split(";")}
            for form in ("Table", "PartialObjectMetadataList", "PartialObjectMetadata"):
                if f"as={form}" in words and "v=v1" in words:
                    return cls(form=form.removesuffix("List"), include=include)
            if words & {"application/json", "*/*"}:
                break
        return cls(include=include)

    def one(self, kind: Kind, body: Body, *, headers: bool = True) -> Body:
        """One object."""
        body = builtin.from_storage(kind, body)
        if self.form == "Table":
            version = body["metadata"].get("resourceVersion", "")
            return tables.render(kind, [body], include=self.include, version=version, headers=headers)
        return fields_of(body) if self.form else body

    def many(self, kind: Kind, page: Page) -> Body:
        """A list of objects."""
        more: Body = {}
        if page.token:
            more["continue"] = page.token
            if page.remaining is not None:
                more["remainingItemCount"] = page.remaining
        items = [builtin.from_storage(kind, body) for body in page.items]
        version = str(page.version)
        if self.form == "Table":
            return tables.render(kind, items, include=self.include, version=version, more=more)
        info = {"resourceVersion": version, **more}
        if self.form:
            listed = [fields_of(item) for item in items]
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": info,
                "items": listed or None,
            }
        return {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": info, "items": items}


class Handlers:
    """All paths of the API."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self._kinds = kinds
        self.api = Api(store, kinds)
        self._lists = Lists(store)
        self.streams = Streams(store)
        self._documents: dict[tuple[str, str], tuple[int, bytes]] = {}

    def routes(self) -> list[web.RouteDef]:
        """What aiohttp needs to know."""
        return [
            web.get("/version", self._version),
            web.get("/healthz", self._healthy),
            web.get("/livez", self._healthy),
            web.get("/readyz", self._healthy),
            web.get("/api", self._core),
            web.get("/apis", self._groups),
            web.get("/openapi/v2", self._old_openapi),
            web.get("/openapi/v3", self._openapi_index),
            web.get("/openapi/v3/{path:.+}", self._openapi),
            web.get("/apis/{group}", self._group),
            web.route("*", "/api/{version}{rest:(/.*)?}", self._resource),
            web.route("*", "/apis/{group}/{version}{rest:(/.*)?}", self._resource),
        ]

    async def _version(self, _: web.Request) -> web.Response:
        return answer(discovery.version())

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _core(self, request: web.Request) -> web.Response:
        if _wants_aggregated(request):
            return answer(discovery.aggregated(self._kinds, core=True), media=discovery.AGGREGATED)
        return answer(discovery.core_versions(request.host))

    async def _groups(self, request: web.Request) -> web.Response:
        if _wants_aggregated(request):
            return answer(discovery.aggregated(self._kinds, core=False), media=discovery.AGGREGATED)
        return answer(discovery.groups(self._kinds))

    async def _group(self, request: web.Request) -> web.Response:
        found = discovery.group(self._kinds, request.match_info["group"])
        return answer(found) if found else no_such_page()

    async def _old_openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=openapi.OLD_DOCUMENT, headers={"Content-Type": openapi.OLD_MEDIA})

    async def _openapi_index(self, _: web.Request) -> web.Response:
        return answer(openapi.index(self._kinds))

    async def _openapi(self, request: web.Request) -> web.Response:
        parts = request.match_info["path"].split("/")
        if parts[0] == "api" and len(parts) == 2:
            group, version = "", parts[1]
        elif parts[0] == "apis" and len(parts) == 3:
            group, version = parts[1], parts[2]
        else:
            return no_such_page()
        known = self._documents.get((group, version))
        if known is None or known[0] != self._kinds.changes:
            document = openapi.document(self._kinds, group, version)
            if document is None:
                return no_such_page()
            known = self._documents[group, version] = (self._kinds.changes, encode(document))
        return web.Response(body=known[1], content_type="application/json")

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        parts = [part for part in request.match_info["rest"].split("/") if part]
        if not parts:
            found = discovery.resources(self._kinds, group, version)
            return answer(found) if found else no_such_page()
        review = discovery.review_kinds().get((group, parts[0]))
        if review and request.method == "POST":
            body, _ = wire.decode(await request.read(), request.content_type, kind=review, custom=False)
            return answer(reviews.answer(review, body), status=201)
        at = self._address(group, version, parts)
        if at is None:
            if self._kinds.custom_group(group):
                return no_such_page()
            raise no_such_path()
        if at.subresource and not self._has(at):
            raise no_such_path()
        if not at.name:
            return await self._collection(request, at)
        return await self._object(request, at)

    def _has(self, at: Address) -> bool:
        if at.subresource == "status":
            return at.kind.status
        return at.subresource == "finalize" and at.kind.stored == ("", "namespaces")

    def _address(self, group: str, version: str, parts: list[str]) -> Address | None:
        namespace = ""
        own = not group and len(parts) > 2 and parts[2] in _SUBRESOURCES
        if parts[0] == "namespaces" and len(parts) > 2 and not own:
            namespace, parts = parts[1], parts[2:]
        kind = self._kinds.find(group, version, parts[0])
        if kind is None or len(parts) > 3 or (namespace and not kind.namespaced):
            return None
        if len(parts) > 1 and kind.namespaced and not namespace:
            return None
        name, subresource = [*parts[1:], "", ""][:2]
        return Address(kind=kind, namespace=namespace, name=name, subresource=subresource)

    async def _collection(self, request: web.Request, at: Address) -> web.StreamResponse:
        if request.method == "GET":
            query, view = _query(request, at), View.of(request)
            if request.query.get("watch") in _TRUE:
                return await self.streams.watch(request, query, view)
            page = self._lists.page(
                query,
                limit=_number(request, "limit"),
                token=request.query.get("continue", ""),
                version=request.query.get("resourceVersion", ""),
            )
            return answer(view.many(at.kind, page), warnings=_deprecated(at.kind))
        if request.method == "POST" and (at.namespace or not at.kind.namespaced):
            options = _options(request, "CreateOptions")
            body, duplicates = wire.decode(
                await request.read(),
                request.headers.get("Content-Type", ""),
                kind=at.kind.kind,
                custom=at.kind.custom is not None,
            )
            options = _with_duplicates(options, duplicates)
            created = self.api.create(at, body, options)
            return _written(request, at.kind, created, options, status=201)
        if request.method == "DELETE" and "deletecollection" in at.kind.verbs:
            return await self._delete_all(request, at)
        raise method_not_allowed()

    async def _delete_all(self, request: web.Request, at: Address) -> web.Response:
        deletion = await _deletion(request)
        test = _query(request, at).test()
        chosen = [body for body in self.api.store.objects(at.kind.stored, at.namespace) if test(body)]
        for body in chosen:
            info = body["metadata"]
            one = Address(kind=at.kind, namespace=info.get("namespace", ""), name=info["name"])
            delete(self.api, one, deletion)
        page = Page(items=chosen, version=self.api.store.version)
        return answer(View().many(at.kind, page))

    async def _object(self, request: web.Request, at: Address) -> web.StreamResponse:
        kind, method = at.kind, request.method
        if method == "GET":
            view = View.of(request)
            if request.query.get("watch") in _TRUE:
                return await self.streams.watch(request, _query(request, at), view)
            return answer(view.one(kind, self.api.get(at)), warnings=_deprecated(kind))
        if method == "PUT":
            options = _options(request, "UpdateOptions")
            body, duplicates = wire.decode(
                await request.read(),
                request.headers.get("Content-Type", ""),
                kind=kind.kind,
                custom=kind.custom is not None,
            )
            options = _with_duplicates(options, duplicates)
            return _written(request, kind, self.api.replace(at, body, options), options)
        if method == "PATCH":
            return await self._patch(request, at)
        if method == "DELETE" and not at.subresource:
            body, gone = delete(self.api, at, await _deletion(request))
            return answer(_gone(kind, body) if gone else builtin.from_storage(kind, body))
        raise method_not_allowed()

    async def _patch(self, request: web.Request, at: Address) -> web.Response:
        options = _options(request, "PatchOptions")
        media = wire.media_type(request.headers.get("Content-Type", ""))
        accepted = (*_PATCHES, APPLY) if at.kind.custom else (*_PATCHES, STRATEGIC, APPLY)
        if media not in accepted:
            raise unsupported_media(accepted)
        _check_patch_options(request, media)
        patch = wire.from_yaml(await request.read(), any_type=media != APPLY)
        body, created = self.api.patch(at, media, patch, options)
        return _written(request, at.kind, body, options, status=201 if created else 200)


def no_such_page() -> web.Response:
    """The answer to a path that there is not."""
    return web.Response(status=404, text="404 page not found\n")


def answer(body: Any, *, status: int = 200, media: str = wire.JSON, warnings: list[str] | None = None) -> web.Response:
    """A JSON answer."""
    response = web.Response(body=encode(body), status=status, headers={"Content-Type": media})
    for warning in dict.fromkeys(warnings or ()):
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def refusal(failure: Failure) -> web.Response:
    """The answer to a refused request."""
    return answer(failure.body(), status=failure.code)


def _deprecated(kind: Kind) -> list[str]:
    return [kind.custom.deprecation] if kind.custom and kind.custom.deprecation else []


def _wants_aggregated(request: web.Request) -> bool:
    return "as=APIGroupDiscoveryList" in request.headers.get("Accept", "") and "v=v2;" in request.headers.get(
        "Accept", ""
    )


def _written(request: web.Request, kind: Kind, body: Body, options: Options, *, status: int = 200) -> web.Response:
    view = View.of(request)
    return answer(view.one(kind, body), status=status, warnings=[*_deprecated(kind), *options.warnings])


def _gone(kind: Kind, body: Body) -> Body:
    details = {"name": body["metadata"]["name"], "kind": kind.plural, "uid": body["metadata"]["uid"]}
    if kind.group:
        details["group"] = kind.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _query(request: web.Request, at: Address) -> Query:
    return Query(
        kind=at.kind,
        namespace=at.namespace,
        name=at.name,
        label_selector=request.query.get("labelSelector", ""),
        field_selector=request.query.get("fieldSelector", ""),
    )


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "") or "0"
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _dry_run(values: list[str], options: str) -> bool:
    wrong = [value for value in values if value not in ("", "All")]
    if wrong:
        shown = ", ".join(f'"{value}"' for value in values)
        problem = Problem(
            reason="FieldValueNotSupported",
            field="dryRun",
            message=f'Unsupported value: [{shown}]: supported values: "All"',
        )
        raise invalid("meta.k8s.io", options, "", [problem])
    return "All" in values


def _options(request: web.Request, name: str) -> Options:
    query: Mapping[str, str] = request.query
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        problem = Problem(
            reason="FieldValueNotSupported",
            field="fieldValidation",
            message=f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"',
        )
        raise invalid("meta.k8s.io", name, "", [problem])
    agent = request.headers.get("User-Agent", "").partition("/")[0]
    return Options(
        manager=query.get("fieldManager", "") or agent or "unknown",
        dry_run=_dry_run(request.query.getall("dryRun", []), name),
        validation=validation,
        force=query.get("force", "") in _TRUE,
    )


def _with_duplicates(options: Options, duplicates: list[str]) -> Options:
    return Options(
        manager=options.manager,
        dry_run=options.dry_run,
        validation=options.validation,
        force=options.force,
        duplicates=tuple(duplicates),
    )


def _check_patch_options(request: web.Request, media: str) -> None:
    if media == APPLY and not request.query.get("fieldManager"):
        problem: Problem = required("fieldManager", "is required for apply patch")
    elif media != APPLY and "force" in request.query:
        problem = not_allowed("force", "may not be specified for non-apply patch")
    else:
        return
    raise invalid("meta.k8s.io", "PatchOptions", "", [problem])


async def _deletion(request: web.Request) -> Deletion:
    raw = await request.read()
    body: Body = {}
    if raw:
        body, _ = wire.decode(raw, request.headers.get("Content-Type", ""), kind="DeleteOptions", custom=False)
    dry_run = [*body.get("dryRun", []), *request.query.getall("dryRun", [])]
    preconditions = body.get("preconditions") or {}
    orphan = body.get("orphanDependents")
    propagation = body.get("propagationPolicy") or request.query.get("propagationPolicy")
    if propagation is None and orphan:
        propagation = "Orphan"
    if propagation not in (None, "Foreground", "Background", "Orphan"):
        problem = Problem(
            reason="FieldValueNotSupported",
            field="propagationPolicy",
            message=f'Unsupported value: "{propagation}": supported values: "Foreground", "Background", "Orphan", "nil"',
        )
        raise invalid("meta.k8s.io", "DeleteOptions", "", [problem])
    return Deletion(
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        propagation=propagation,
        dry_run=_dry_run(dry_run, "DeleteOptions"),
    )
