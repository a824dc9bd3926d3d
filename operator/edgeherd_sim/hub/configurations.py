"""`/configurations`: automatic deployments, which the deployer carries out; and the deployment to one edge device."""

from collections.abc import Callable, Mapping
from typing import Any

from edgeherd_sim.hub import deployer, etags, layers, manifests, metrics, query, query_language, rules, views
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.model import Configuration
from edgeherd_sim.hub.query_language import QuerySyntaxError
from edgeherd_sim.hub.throttle import Operation

_LIMIT = 100
"""Configurations of a hub of the tiers S1 to S3 (devguide-quotas-throttling, "automatic device configurations"), and of a list."""


def list_configurations(call: Call) -> Reply:
    """`GET /configurations?top=N`: a bare list, without paging."""
    kept = call.store.configurations
    names = sorted(kept)[: call.top(most=_LIMIT)]
    return Reply(body=[_view(call, kept[name]) for name in names])


def get_configuration(call: Call) -> Reply:
    """`GET /configurations/{configuration}`."""
    return _shown(call, call.store.configuration(call.params["configuration"]))


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
    elif len(call.store.configurations) >= _LIMIT:
        raise HubError("ConfigurationCountLimitExceeded", f"A hub can have {_LIMIT} configurations.")
    at = call.store.at()
    new = Configuration(
        id=name,
        revision=call.store.next_revision(),
        created=at if old is None else old.created,
        updated=at,
        body=body,
    )
    call.store.keep_configuration(new)
    return _shown(call, new)


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
            "targetConditionError": _error(query_language.parse_target, condition) if condition else None,
            "customMetricQueryErrors": {name: error for name, error in errors.items() if error is not None},
        }
    )


def apply_content(call: Call) -> Reply:
    """`POST /devices/{device}/applyConfigurationContent`: the device's modules and their desired properties, at once."""
    device = call.store.device(call.params["device"])
    if not device.edge:
        raise HubError("InvalidOperation", f"{device.device_id} is no edge device.")
    deployer.deploy(call.store, device.device_id, manifests.read(call.body()))
    return Reply(status=204)


def _checked(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of a configuration that belong to the client."""
    if rules.text(body.get("id"), "id") not in {None, name}:
        raise invalid("id of the body is not that of the address.")
    content = body.get("content")
    if not isinstance(content, dict) or not content:
        raise HubError("InvalidConfigurationContent", "The content is missing.")
    layers.check(content)
    condition = rules.text(body.get("targetCondition"), "targetCondition")
    if condition and _error(query_language.parse_target, condition):
        raise HubError("InvalidConfigurationTargetCondition", "The target condition is invalid.")
    priority = body.get("priority") or 0
    if isinstance(priority, bool) or not isinstance(priority, int) or priority < 0:
        raise invalid("The priority must be a whole number that is not negative.")
    queries = rules.mapping(rules.mapping(body.get("metrics"), "metrics").get("queries"), "metrics.queries")
    return {
        "labels": None if body.get("labels") is None else rules.mapping(body["labels"], "labels"),
        "content": content,
        "targetCondition": condition,
        "priority": priority,
        "metrics": {"queries": queries},
    }


def _error(rule: Callable[[str], object], text: object) -> str | None:
    try:
        rule(text if isinstance(text, str) else "")
    except QuerySyntaxError as exc:
        return str(exc)
    return None


def _shown(call: Call, configuration: Configuration) -> Reply:
    return Reply(body=_view(call, configuration), etag=configuration.etag)


def _view(call: Call, configuration: Configuration) -> dict[str, Any]:
    """With its counts, as far as the index knows."""
    return views.configuration(
        configuration,
        system=metrics.system(layers.read(configuration).kind, configuration),
        count=lambda text: query.count(text, call.index),
    )


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
