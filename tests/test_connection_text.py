"""A connection string as people paste it: one reader for the command line and for Secrets."""

import json

import pytest

from edgeherd.config import parse_connection_string
from edgeherd.connection_text import SeveralStringsError, connection_string_in
from edgeherd.hub.credential import parse

DEVICE = "HostName=northmill.azure-devices.net;DeviceId=press-07;SharedAccessKey=bm90LWEtcmVhbC1rZXk="
SECOND = DEVICE.replace("bm90", "Ym90")
WRAPPED = {
    "nothing": "{}",
    "a line break": "{}\r\n",
    "a byte order mark": "\ufeff{}",
    "quotation marks": '"{}"',
    "single ones": "'{}'\n",
    "curly ones": "\u201c{}\u201d",
    "a heading": "Primary Connection String\n{}\n",
    "a name before it": "# of the portal\nconnectionString: {}\n",
    "a shell's variable": 'export X=1\nCONNECTION="{}"\n',
    "a byte order mark and quotation marks": '\ufeff"{}"\r\n',
}


@pytest.mark.parametrize("wrapping", WRAPPED.values(), ids=WRAPPED)
def test_what_is_around_it_is_taken_away(wrapping: str) -> None:
    """And what is left is the string, for a device and for a policy."""
    assert connection_string_in(wrapping.replace("{}", DEVICE)) == DEVICE
    assert parse_connection_string(connection_string_in(wrapping.replace("{}", DEVICE))).device_id == "press-07"
    policy = DEVICE.replace("DeviceId=press-07", "SharedAccessKeyName=registry")
    assert parse(wrapping.replace("{}", policy)).policy == "registry"


@pytest.mark.parametrize(
    "said",
    [{"connectionString": DEVICE}, [DEVICE], DEVICE, {"a": {"b": [DEVICE, 1, None]}}, {"x": DEVICE, "y": DEVICE}],
)
def test_json_is_looked_into(said: object) -> None:
    """As `az iot hub device-identity connection-string show` prints it."""
    assert connection_string_in(json.dumps(said, indent=2)) == DEVICE


@pytest.mark.parametrize(
    "text", [f"{DEVICE}\n{SECOND}\n", json.dumps({"a": DEVICE, "b": SECOND}), f'"{DEVICE}", "{SECOND}"']
)
def test_of_two_none_is_chosen(text: str) -> None:
    """Nobody can tell which is meant, and none is repeated."""
    with pytest.raises(
        SeveralStringsError, match=r"^There is more than one connection string. Keep the one that is meant.$"
    ):
        connection_string_in(text)
    with pytest.raises(ValueError, match="has more than one connection string"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", "x", "hello\nworld", '{"a": 1}', '"', "DeviceId=d;SharedAccessKey=k", "{", "[1, 2"]
)
def test_what_has_none_is_left_to_who_takes_it_apart(text: str) -> None:
    """Who says what is missing."""
    assert "HostName=" not in connection_string_in(text)
