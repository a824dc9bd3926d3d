"""Modules as the emulated registry keeps them."""

from typing import Any

import pytest
from hub_client import KEYS, PRIMARY, SECONDARY

from edgeherd_sim.hub import views
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.store import Store

NEVER = "0001-01-01T00:00:00"


@pytest.fixture
def store() -> Store:
    """A registry with one edge device."""
    store = Store()
    store.put_device("press-01", {"capabilities": {"iotEdge": True}}, None)
    return store


def put(store: Store, body: Any = None, *, if_match: str | None = None, module_id: str = "vision") -> dict[str, Any]:
    """Create or update a module; as it is shown."""
    return views.module(store.put_module("press-01", module_id, body or {}, if_match))


def test_a_new_module(store: Store) -> None:
    """It is shown with its keys, and without a status."""
    shown = put(store, {"deviceId": "press-01", "moduleId": "vision", "managedBy": "IotEdge", "authentication": KEYS})
    assert shown == {
        "moduleId": "vision",
        "managedBy": "IotEdge",
        "deviceId": "press-01",
        "generationId": shown["generationId"],
        "etag": store.module("press-01", "vision").etag,
        "connectionState": "Disconnected",
        "connectionStateUpdatedTime": NEVER,
        "lastActivityTime": NEVER,
        "cloudToDeviceMessageCount": 0,
        "authentication": {
            "type": "sas",
            "symmetricKey": {"primaryKey": PRIMARY, "secondaryKey": SECONDARY},
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        },
    }


def test_an_update_replaces_everything(store: Store) -> None:
    """What is left out is cleared or minted anew; generation and place stay."""
    before = put(store, {"managedBy": "IotEdge", "authentication": KEYS})
    after = put(store, if_match="*")
    assert {name for name in before if before[name] != after[name]} == {"etag", "managedBy", "authentication"}
    assert after["managedBy"] is None
    assert not {PRIMARY, SECONDARY} & set(after["authentication"]["symmetricKey"].values())


@pytest.mark.parametrize(
    ("body", "if_match", "module_id", "code"),
    [
        pytest.param({}, None, "vision", "ModuleAlreadyExistsOnDevice", id="put without If-Match creates only"),
        pytest.param({}, "*", "absent", "ModuleNotFound", id="put with If-Match updates only"),
        pytest.param({}, "MA==", "vision", "PreconditionFailed", id="a stale If-Match"),
        pytest.param({}, None, "$mine", "ArgumentInvalid", id="a name with a leading dollar sign"),
        pytest.param({}, None, "a b", "ArgumentInvalid", id="a name with a space"),
        pytest.param({"moduleId": "sound"}, "*", "vision", "ArgumentInvalid", id="another name in the body"),
        pytest.param({"deviceId": "press-02"}, "*", "vision", "ArgumentInvalid", id="another device in the body"),
        pytest.param(
            {"authentication": {"symmetricKey": {"primaryKey": PRIMARY}}},
            None,
            "sound",
            "ArgumentInvalid",
            id="one key",
        ),
    ],
)
def test_writes_that_are_refused(
    store: Store, body: dict[str, Any], if_match: str | None, module_id: str, code: str
) -> None:
    """A refused write changes nothing."""
    put(store)
    before = dict(store.identities)
    with pytest.raises(HubError) as caught:
        put(store, body, if_match=if_match, module_id=module_id)
    assert (caught.value.code, store.identities) == (code, before)


@pytest.mark.parametrize("spelling", ["*", '"*"', "{}", '"{}"'])
def test_if_match(store: Store, spelling: str) -> None:
    """Update and delete take all four spellings."""
    second = put(store, if_match=spelling.format(put(store)["etag"]))
    store.delete_module("press-01", "vision", spelling.format(second["etag"]))
    assert [module.module_id for module in store.modules("press-01")] == ["$edgeAgent", "$edgeHub"]
    assert ("press-01", "vision") not in store.twins


@pytest.mark.parametrize(
    ("module_id", "if_match", "code"),
    [
        pytest.param("vision", None, "PreconditionFailed", id="delete wants an If-Match"),
        pytest.param("vision", "MA==", "PreconditionFailed", id="delete of an old version"),
        pytest.param("absent", "*", "ModuleNotFound", id="delete of nothing"),
    ],
)
def test_deletes_that_are_refused(store: Store, module_id: str, if_match: str | None, code: str) -> None:
    """A refused delete changes nothing."""
    put(store)
    with pytest.raises(HubError) as caught:
        store.delete_module("press-01", module_id, if_match)
    assert caught.value.code == code
    assert store.module("press-01", "vision").module_id == "vision"


def test_a_module_without_authentication_gets_keys(store: Store) -> None:
    """For modules, and for them only, none means sas."""
    assert put(store, {"authentication": {"type": "none"}})["authentication"]["type"] == "sas"


def test_fifty_modules(store: Store) -> None:
    """A device has room for fifty modules, those of the runtime included; updates still work then."""
    for number in range(48):
        put(store, module_id=f"m{number}")
    with pytest.raises(HubError, match="TooManyModulesOnDevice"):
        put(store, module_id="one-more")
    put(store, module_id="m0", if_match="*")
    assert len(store.modules("press-01")) == 50


def test_the_runtime_s_modules_can_be_given_keys(store: Store) -> None:
    """The device's daemon updates the modules that the hub made."""
    assert put(store, {"authentication": KEYS}, module_id="$edgeAgent", if_match="*")["authentication"]["type"] == "sas"
