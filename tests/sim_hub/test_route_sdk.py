"""The emulated hub, as Microsoft's own SDK sees it: every call of the registry, through azure-iot-hub."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("uamqp", reason="Microsoft's package wants uamqp, which there is not for this machine")

from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationMetrics,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from hub_client import PRIMARY, SECONDARY
from msrest.exceptions import HttpOperationError

from edgeherd_sim.hub.server import Hub


@dataclasses.dataclass(frozen=True)
class Desk:
    """Both managers of the SDK, and the hub that they talk to."""

    hub: Hub
    registry: Any
    configurations: Any

    async def call(self, name: str, *args: Any, **rest: Any) -> Any:
        """One call, off the loop; the code of a refusal instead of an answer."""
        method: Callable[..., Any] = getattr(self.registry, name, None) or getattr(self.configurations, name)
        try:
            return await asyncio.to_thread(method, *args, **rest)
        except HttpOperationError as exc:
            return exc.response.status_code, exc.response.headers["iothub-errorcode"]

    async def device(self, device_id: str = "edge", *, edge: bool = True) -> Any:
        """A new device with known keys."""
        return await self.call("create_device_with_sas", device_id, PRIMARY, SECONDARY, "enabled", edge)


@pytest.fixture
def desk(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The SDK as its users set it up, but for the authority that it trusts."""
    monkeypatch.setenv("NO_PROXY", "localhost")
    registry = IoTHubRegistryManager.from_connection_string(hub.connection_string)
    configurations = IoTHubConfigurationManager.from_connection_string(hub.connection_string)
    for manager in (registry, configurations):
        manager.protocol.config.connection.verify = hub.ca_file
        manager.protocol.config.retry_policy.retries = 0
    return Desk(hub, registry, configurations)


def fields(model: Any, *names: str) -> dict[str, Any]:
    """Some attributes of one of the SDK's models."""
    return {name: getattr(model, name) for name in names}


def keys(model: Any) -> tuple[str, str, str]:
    """Type and keys of a device or module."""
    found = model.authentication
    return found.type, found.symmetric_key.primary_key, found.symmetric_key.secondary_key


async def test_devices_by_sas(desk: Desk) -> None:
    """Create, read, list, update and delete."""
    made = await desk.device()
    assert fields(made, "device_id", "status", "status_reason", "connection_state", "parent_scopes") == {
        "device_id": "edge",
        "status": "enabled",
        "status_reason": None,
        "connection_state": "Disconnected",
        "parent_scopes": [],
    }
    assert (keys(made), made.capabilities.iot_edge) == (("sas", PRIMARY, SECONDARY), True)
    assert made.device_scope == f"ms-azure-iot-edge://edge-{made.generation_id}"
    assert await desk.call("get_device", "edge") == made
    assert await desk.call("get_devices", 10) == [made]
    again = await desk.device()
    lost = await desk.call("update_device_with_sas", "edge", "MA==", PRIMARY, SECONDARY, "enabled", True)
    kept = {"status_reason": "why", "device_scope": made.device_scope}
    updated = await desk.call(
        "update_device_with_sas", "edge", made.etag, SECONDARY, PRIMARY, "disabled", iot_edge=True, **kept
    )
    assert (again, lost) == ((409, "DeviceAlreadyExists"), (412, "PreconditionFailed"))
    assert (keys(updated), updated.status, updated.status_reason) == (("sas", SECONDARY, PRIMARY), "disabled", "why")
    assert await desk.call("delete_device", "edge", made.etag) == (412, "PreconditionFailed")
    assert await desk.call("delete_device", "edge", updated.etag) is None
    assert await desk.call("get_device", "edge") == (404, "DeviceNotFound")
    assert await desk.call("get_devices") == []


async def test_devices_by_certificate(desk: Desk) -> None:
    """Devices of the other two kinds are made and updated."""
    first, second = "A" * 40, "b" * 40
    own = await desk.call("create_device_with_x509", "own", first, second, "enabled")
    print_ = own.authentication.x509_thumbprint
    assert (own.authentication.type, print_.primary_thumbprint, print_.secondary_thumbprint) == (
        "selfSigned",
        first,
        second,
    )
    own = await desk.call("update_device_with_x509", "own", own.etag, second, first, "disabled")
    assert (own.status, own.authentication.x509_thumbprint.primary_thumbprint) == ("disabled", second)
    signed = await desk.call("create_device_with_certificate_authority", "signed", "enabled")
    signed = await desk.call("update_device_with_certificate_authority", "signed", signed.etag, "disabled")
    assert (signed.authentication.type, signed.status) == ("certificateAuthority", "disabled")


async def test_modules(desk: Desk) -> None:
    """Create, read, list, update and delete."""
    await desk.device()
    made = await desk.call("create_module_with_sas", "edge", "vision", "me", PRIMARY, SECONDARY)
    assert (made.device_id, made.module_id, made.managed_by, keys(made)) == (
        "edge",
        "vision",
        "me",
        ("sas", PRIMARY, SECONDARY),
    )
    assert await desk.call("get_module", "edge", "vision") == made
    listed = await desk.call("get_modules", "edge")
    assert [module.module_id for module in listed] == ["$edgeAgent", "$edgeHub", "vision"]
    assert listed[2] == made
    again = await desk.call("create_module_with_sas", "edge", "vision", "me", PRIMARY, SECONDARY)
    updated = await desk.call("update_module_with_sas", "edge", "vision", "you", made.etag, SECONDARY, PRIMARY)
    lost = await desk.call("update_module_with_sas", "edge", "vision", "you", made.etag, PRIMARY, SECONDARY)
    assert (updated.managed_by, keys(updated)) == ("you", ("sas", SECONDARY, PRIMARY))
    assert (again, lost) == ((409, "ModuleAlreadyExistsOnDevice"), (412, "PreconditionFailed"))
    assert await desk.call("delete_module", "edge", "vision", updated.etag) is None
    assert await desk.call("get_module", "edge", "vision") == (404, "ModuleNotFound")
    assert await desk.call("get_modules", "absent") == (401, "IotHubUnauthorizedAccess")


async def test_modules_by_certificate(desk: Desk) -> None:
    """Modules of the other two kinds are made, updated and deleted whatever their etag."""
    await desk.device()
    own = await desk.call("create_module_with_x509", "edge", "own", "me", "A" * 40, "B" * 40)
    own = await desk.call("update_module_with_x509", "edge", "own", "me", own.etag, "B" * 40, "A" * 40)
    signed = await desk.call("create_module_with_certificate_authority", "edge", "signed", "me")
    signed = await desk.call("update_module_with_certificate_authority", "edge", "signed", "you", signed.etag)
    assert (own.authentication.type, own.authentication.x509_thumbprint.primary_thumbprint) == ("selfSigned", "B" * 40)
    assert (signed.authentication.type, signed.managed_by) == ("certificateAuthority", "you")
    assert [await desk.call("delete_module", "edge", name) for name in ("own", "signed")] == [None, None]


def written(twin: Any) -> tuple[Any, dict[str, Any]]:
    """Tags and desired properties, without what the hub adds."""
    desired = {name: value for name, value in twin.properties.desired.items() if not name.startswith("$")}
    return twin.tags, desired


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        pytest.param("twin", ("edge",), id="of a device"),
        pytest.param("module_twin", ("edge", "$edgeAgent"), id="of a module"),
    ],
)
async def test_twins(desk: Desk, kind: str, names: tuple[str, ...]) -> None:
    """Read, merge, replace; a stale etag is refused."""
    device = await desk.device()
    before = await desk.call(f"get_{kind}", *names)
    identity = device if kind == "twin" else await desk.call("get_module", *names)
    assert (before.device_id, before.module_id, before.device_etag) == (names[0], (*names, None)[1], identity.etag)
    assert (before.authentication_type, written(before)) == ("sas" if kind == "twin" else "none", (None, {}))
    patch = Twin(tags={"line": 1, "hall": {"a": 2}}, properties=TwinProperties(desired={"speed": 3}))
    merged = await desk.call(f"update_{kind}", *names, patch, before.etag)
    cleared = await desk.call(f"update_{kind}", *names, Twin(tags={"line": None}))
    lost = await desk.call(f"update_{kind}", *names, patch, before.etag)
    replaced = await desk.call(f"replace_{kind}", *names, Twin(tags={"line": 4}), cleared.etag)
    assert [written(twin) for twin in (merged, cleared, replaced)] == [
        ({"line": 1, "hall": {"a": 2}}, {"speed": 3}),
        ({"hall": {"a": 2}}, {"speed": 3}),
        ({"line": 4}, {}),
    ]
    assert lost == (412, "PreconditionFailed")
    assert await desk.call(f"get_{kind}", *names) == replaced
    assert await desk.call(f"get_{kind}", "absent", *names[1:]) == (404, "DeviceNotFound")


async def test_queries(desk: Desk) -> None:
    """Twins come in pages; other rows land among the additional properties."""
    for number in range(5):
        await desk.device(f"d{number}", edge=number == 4)
    everything = QuerySpecification(query="SELECT * FROM devices")
    found, token = [], None
    while token is not None or not found:
        page = await desk.call("query_iot_hub", everything, token, 2)
        found.append((page.type, [twin.device_id for twin in page.items]))
        token = page.continuation_token
    assert found == [("Twin", ["d0", "d1"]), ("Twin", ["d2", "d3"]), ("Twin", ["d4"])]
    edge = await desk.call(
        "query_iot_hub", QuerySpecification(query="SELECT * FROM devices WHERE capabilities.iotEdge = true")
    )
    assert edge.items == [await desk.call("get_twin", "d4")]
    count = await desk.call("query_iot_hub", QuerySpecification(query="SELECT COUNT() AS n FROM devices"))
    assert (count.type, count.items[0].additional_properties) == ("Raw", {"n": 5})
    assert await desk.call("query_iot_hub", QuerySpecification(query="SELECT")) == (400, "ArgumentInvalid")


async def test_bulk(desk: Desk) -> None:
    """Good or bad, the result is a document; a bad one is no exception."""
    entries = [ExportImportDevice(id=name, import_mode="create", status="enabled") for name in ("b1", "b2")]
    good = await desk.call("bulk_create_or_update_devices", entries)
    bad = await desk.call(
        "bulk_create_or_update_devices",
        [
            entries[0],
            ExportImportDevice(id="b2", import_mode="delete"),
            ExportImportDevice(id="b3", import_mode="update"),
        ],
    )
    assert (good.is_successful, good.errors, good.warnings) == (True, [], [])
    assert (bad.is_successful, bad.warnings) == (False, [])
    assert [fields(error, "device_id", "error_code", "error_status") for error in bad.errors] == [
        {
            "device_id": "b1",
            "error_code": "DeviceAlreadyExists",
            "error_status": "A device with ID 'b1' is already registered.",
        },
        {"device_id": "b3", "error_code": "DeviceNotFound", "error_status": "b3"},
    ]
    assert [device.device_id for device in await desk.call("get_devices")] == ["b1"]


async def test_statistics(desk: Desk) -> None:
    """Both counts."""
    await desk.device("a")
    await desk.call("create_device_with_sas", "b", PRIMARY, SECONDARY, "disabled")
    desk.hub.store.touch(("a", ""))
    registry = await desk.call("get_device_registry_statistics")
    service = await desk.call("get_service_statistics")
    assert fields(registry, "total_device_count", "enabled_device_count", "disabled_device_count") == {
        "total_device_count": 2,
        "enabled_device_count": 1,
        "disabled_device_count": 1,
    }
    assert service.connected_device_count == 1


async def test_configurations(desk: Desk) -> None:
    """Create, read, list, update and delete; this manager's etags need their quotation marks."""
    wanted = Configuration(
        id="line",
        content=ConfigurationContent(device_content={"properties.desired.speed": 3}),
        target_condition="tags.line = 1",
        priority=4,
        labels={"a": "b"},
        metrics=ConfigurationMetrics(queries={"m": "SELECT deviceId FROM devices"}),
    )
    made = await desk.call("create_configuration", wanted)
    assert fields(made, "id", "target_condition", "priority", "labels") == {
        "id": "line",
        "target_condition": "tags.line = 1",
        "priority": 4,
        "labels": {"a": "b"},
    }
    assert (made.content.device_content, made.metrics.queries) == (
        {"properties.desired.speed": 3},
        {"m": "SELECT deviceId FROM devices"},
    )
    assert await desk.call("get_configuration", "line") == made
    assert await desk.call("get_configurations", 5) == [made]
    wanted.priority = 5
    bare = await desk.call("update_configuration", wanted, made.etag)
    updated = await desk.call("update_configuration", wanted, f'"{made.etag}"')
    lost = await desk.call("update_configuration", wanted, f'"{made.etag}"')
    assert (bare, lost) == ((409, "ConfigurationAlreadyExists"), (412, "PreconditionFailed"))
    assert (updated.priority, updated.content) == (5, made.content)
    assert await desk.call("delete_configuration", "line") is None
    assert await desk.call("get_configuration", "line") == (404, "ConfigurationNotFound")
    assert await desk.call("get_configurations") == []


async def test_queries_of_configurations(desk: Desk) -> None:
    """What is wrong with them is an answer."""
    tried = await desk.call(
        "test_configuration_queries",
        ConfigurationQueriesTestInput(
            target_condition="tags.a =", custom_metric_queries={"m": "SELECT * FROM devices"}
        ),
    )
    assert fields(tried, "target_condition_error", "custom_metric_query_errors") == {
        "target_condition_error": "Syntax error at the end.",
        "custom_metric_query_errors": {},
    }


async def test_a_deployment(desk: Desk) -> None:
    """An edge device gets its modules and their desired properties; a leaf cannot."""
    await desk.device()
    await desk.device("leaf", edge=False)
    manifest = ConfigurationContent(
        modules_content={
            "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {"vision": {"type": "docker"}}}},
            "$edgeHub": {"properties.desired": {"routes": {}}},
            "vision": {"properties.desired": {"fps": 5}},
        }
    )
    assert await desk.call("apply_configuration_on_edge_device", "edge", manifest) is None
    modules = await desk.call("get_modules", "edge")
    assert [(module.module_id, module.managed_by) for module in modules] == [
        ("$edgeAgent", "iotEdge"),
        ("$edgeHub", "iotEdge"),
        ("vision", "iotEdge"),
    ]
    assert written(await desk.call("get_module_twin", "edge", "vision")) == (None, {"fps": 5})
    assert await desk.call("apply_configuration_on_edge_device", "leaf", manifest) == (400, "InvalidOperation")
    assert await desk.call("apply_configuration_on_edge_device", "edge", ConfigurationContent(modules_content={})) == (
        400,
        "InvalidConfigurationContent",
    )
