"""`/configurations`: automatic deployments, kept and never carried out; and the deployment to one edge device."""

from collections.abc import Callable, Mapping
from typing import Any

from edgeherd_sim.hub import etags, manifests, query_language, rules, views
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.manifests import Manifest
from edgeherd_sim.hub.model import Configuration
from edgeherd_sim.hub.query_language import QuerySyntaxError
from edgeherd_sim.hub.store import MODULES_PER_DEVICE, Store
from edgeherd_sim.hub.throttle import Operation

_LIST_LIMIT = 100


def list_configurations(call: Call) -> Reply:
    """`GET /configurations?top=N`: a bare list, without paging."""
    kept = call.store.configurations
    found = [views.configuration(kept[name]) for name in sorted(kept)]
    return Reply(body=found[: call.top(most=_LIST_LIMIT)])


def get_configuration(call: Call) -> Reply:
    """`GET /configurations/{configuration}`."""
    return _shown(call.store.configuration(call.params["configuration"]))


def put_configuration(call: Call) -> Reply:
    """`PUT /configurations/{configuration}`: create without If-Match, update with one. The content never changes."""
    name, if_match = rules.configuration_id(call.params["configuration"]), etags.quoted(call.if_match)
    body = _checked(name, call.body())
    old = call.store.configurations.get(name)
    if if_match is not None:
        old = call.store.configuration(name)
        etags.check(if_match, old.etag)
        body = {**body, "content": old.body["content"]}
    elif old is not None:
        raise HubError("ConfigurationAlreadyExists", f"A configuration with ID '{name}' already exists.")
    at = call.store.at()
    new = Configuration(
        id=name,
        revision=call.store.next_revision(),
        created=at if old is None else old.created,
        updated=at,
        body=body,
    )
    call.store.keep_configuration(new)
    return _shown(new)


def delete_configuration(call: Call) -> Reply:
    """`DELETE /configurations/{configuration}`: If-Match may be left out."""
    old = call.store.configuration(call.params["configuration"])
    etags.check(etags.quoted(call.if_match), old.etag)
    call.store.drop_configuration(old.id)
    return Reply(status=204)


def try_queries(call: Call) -> Reply:
    """`POST /configurations/testQueries`: what is wrong with a target condition and with queries of metrics."""
    body = call.body()
    condition = rules.text(body.get("targetCondition"), "targetCondition")
    queries = rules.mapping(body.get("customMetricQueries"), "customMetricQueries")
    errors = {name: _error(query_language.parse, text) for name, text in queries.items()}
    return Reply(
        body={
            "targetConditionError": _error(query_language.check_target, condition) if condition else None,
            "customMetricQueryErrors": {name: error for name, error in errors.items() if error is not None},
        }
    )


def apply_content(call: Call) -> Reply:
    """`POST /devices/{device}/applyConfigurationContent`: the device's modules and their desired properties, at once."""
    device = call.store.device(call.params["device"])
    if not device.edge:
        raise HubError("InvalidOperation", f"{device.device_id} is no edge device.")
    _deploy(call.store, device.device_id, manifests.read(call.body()))
    return Reply(status=204)


def _deploy(store: Store, device_id: str, manifest: Manifest) -> None:
    """Modules of the last deployment that are not in this one go; those that somebody else made stay."""
    present = {module.module_id: module for module in store.modules(device_id)}
    gone = [
        name
        for name, module in present.items()
        if name not in manifest.modules and not name.startswith("$") and (module.managed_by or "").lower() == "iotedge"
    ]
    new = sorted({*manifest.modules, *manifest.desired} - set(present))
    if len(present) - len(gone) + len(new) > MODULES_PER_DEVICE:
        raise HubError("TooManyModulesOnDevice", f"A device can have {MODULES_PER_DEVICE} modules.")
    for name in gone:
        store.drop_module(device_id, name)
    for name in new:
        store.add_module(device_id, name)
    for name, desired in manifest.desired.items():
        store.deploy((device_id, name), desired)


def _checked(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of a configuration that belong to the client."""
    if rules.text(body.get("id"), "id") not in {None, name}:
        raise invalid("id of the body is not that of the address.")
    content = body.get("content")
    if not isinstance(content, dict) or not content:
        raise HubError("InvalidConfigurationContent", "The content is missing.")
    priority = body.get("priority") or 0
    if isinstance(priority, bool) or not isinstance(priority, int) or priority < 0:
        raise invalid("The priority must be a whole number that is not negative.")
    queries = rules.mapping(rules.mapping(body.get("metrics"), "metrics").get("queries"), "metrics.queries")
    return {
        "labels": None if body.get("labels") is None else rules.mapping(body["labels"], "labels"),
        "content": content,
        "targetCondition": rules.text(body.get("targetCondition"), "targetCondition"),
        "priority": priority,
        "metrics": {"queries": queries},
    }


def _error(rule: Callable[[str], object], text: object) -> str | None:
    try:
        rule(text if isinstance(text, str) else "")
    except QuerySyntaxError as exc:
        return str(exc)
    return None


def _shown(configuration: Configuration) -> Reply:
    return Reply(body=views.configuration(configuration), etag=configuration.etag)


ROUTES = tuple(
    Route(method=method, path=path, handler=handler, right=Right.SERVICE, operation=Operation.CONFIGURATION)
    for method, path, handler in (
        ("GET", "/configurations", list_configurations),
        ("GET", "/configurations/{configuration}", get_configuration),
        ("PUT", "/configurations/{configuration}", put_configuration),
        ("DELETE", "/configurations/{configuration}", delete_configuration),
        ("POST", "/configurations/testQueries", try_queries),
        ("POST", "/devices/{device}/applyConfigurationContent", apply_content),
    )
)
