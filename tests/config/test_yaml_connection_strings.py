"""The daemon's rules for a connection string (reference, section 2.1), in the file and in what is wanted."""

import pytest
from yaml_samples import OLD, OLD_KEY, PLACEHOLDER, PLAIN, STRING, V1_0_10, V1_1, refusal, told

from edgeherd import config
from edgeherd.config import Wanted

HOST, DEVICE, SECRET = "HostName=h.example", "DeviceId=d", f"SharedAccessKey={OLD_KEY}"
GOOD = [
    pytest.param(f"{SECRET};{DEVICE};{HOST}", id="any order"),
    pytest.param(f"{HOST};{DEVICE};{SECRET};", id="a semicolon at the end"),
    pytest.param(f"{HOST};{DEVICE};{SECRET.rstrip('=')}", id="without padding"),
    pytest.param(f"{HOST};{DEVICE};{SECRET} ", id="a space behind the padding"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey=QQ", id="a key of one byte"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey=+/+/", id="the standard alphabet"),
    pytest.param(f"GatewayHostName=g;{HOST};{DEVICE};{SECRET};x509=true", id="unknown parts"),
    pytest.param(f"HostName=localhost;{DEVICE};{SECRET}", id="a host name without dots"),
    pytest.param(f"HostName=a_b-c.D.0;{DEVICE};{SECRET}", id="every character of a host name"),
    pytest.param(f"{HOST};DeviceId=aZ0-:.+%_#*?!(),@$';{SECRET}", id="every character of a device's name"),
    pytest.param(f"{HOST};DeviceId={'d' * 128};{SECRET}", id="the longest name"),
]
TAKEN_BY_THE_DAEMON_ALONE = [
    pytest.param(f"{HOST};{DEVICE};ModuleId=m;{SECRET}", id="a module's"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKeyName=iothubowner;{SECRET}", id="a policy's, with a device"),
    pytest.param(f"{HOST};DeviceId=a;DeviceId=b;{SECRET}", id="a part twice"),
    pytest.param(f"{HOST};DeviceId=a=b;{SECRET}", id="an '=' in the device's name"),
]
BAD = [
    pytest.param("", "empty", id="nothing"),
    pytest.param(PLACEHOLDER, "placeholder", id="the placeholder"),
    pytest.param("blah", "malformed", id="a word"),
    pytest.param(f"{HOST};{DEVICE}", "malformed", id="no key"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey", "malformed", id="a key without '='"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey=", "malformed", id="an empty key"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey=-_-_", "malformed", id="the alphabet for URLs"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey=QU JD", "malformed", id="a space in the key"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey=QUJDR", "malformed", id="a key that was cut"),
    pytest.param(f"{HOST};{DEVICE};SharedAccessKey=QR", "malformed", id="bits left over in the key"),
    pytest.param(f"{HOST};{SECRET}", "malformed", id="no device"),
    pytest.param(f"{HOST};DeviceId;{SECRET}", "malformed", id="a device without '='"),
    pytest.param(f"{HOST};DeviceId=;{SECRET}", "malformed", id="an empty device"),
    pytest.param(f"{HOST};DeviceId=a/b;{SECRET}", "malformed", id="a slash in the device's name"),
    pytest.param(f"{HOST};DeviceId=a b;{SECRET}", "malformed", id="a space in the device's name"),
    pytest.param(f"{HOST};DeviceId={'d' * 129};{SECRET}", "malformed", id="a name too long"),
    pytest.param(f"{DEVICE};{SECRET}", "malformed", id="no host"),
    pytest.param(f"HostName=https://h.example;{DEVICE};{SECRET}", "malformed", id="a scheme"),
    pytest.param(f"HostName=h.example:8883;{DEVICE};{SECRET}", "malformed", id="a port"),
    pytest.param(f"HostName=;{DEVICE};{SECRET}", "malformed", id="an empty host"),
    pytest.param(f"hostname=h;{DEVICE};{SECRET}", "malformed", id="another case"),
    pytest.param(f" {HOST};{DEVICE};{SECRET}", "malformed", id="a leading space"),
    pytest.param(f"{HOST}; {DEVICE};{SECRET}", "malformed", id="a space behind a semicolon"),
    pytest.param(f'"{HOST};{DEVICE};{SECRET}"', "malformed", id="quotation marks"),
    pytest.param(f"\u201c{HOST};{DEVICE};{SECRET}\u201d", "malformed", id="smart quotation marks"),
    pytest.param(f"\xa0{HOST};{DEVICE};{SECRET}", "malformed", id="a non-breaking space"),
    pytest.param(f"{HOST};SharedAccessKeyName=iothubowner;{SECRET}", "malformed", id="a policy's"),
]


def holding(text: str) -> bytes:
    """A file with that connection string on line 3."""
    return PLAIN.replace(STRING, text.replace('"', '\\"')).encode()


@pytest.mark.parametrize("text", [*GOOD, *TAKEN_BY_THE_DAEMON_ALONE])
def test_what_the_daemon_takes(text: str) -> None:
    """In the file it is valid, and taken as it stands."""
    for version in (V1_0_10, V1_1):
        assert told(config.check(holding(text), version=version)) == (True, True, [])
        assert config.load(holding(text), version=version).connection_string == text


@pytest.mark.parametrize(("text", "rule"), BAD)
def test_what_the_daemon_refuses(text: str, rule: str) -> None:
    """In the file it is an error on its line; the editor would put another in its place."""
    for version in (V1_0_10, V1_1):
        verdict = config.check(holding(text), version=version)
        assert told(verdict) == (False, True, [(f"connection-string-{rule}", 3, "error")])
        assert OLD_KEY.rstrip("=") not in repr(verdict)
    with pytest.raises(config.ConnectionStringError) as caught:
        config.parse_connection_string(text)
    assert caught.value.rule == rule


@pytest.mark.parametrize("text", GOOD)
def test_what_may_be_put_in(text: str) -> None:
    """It comes out of the file as it went in, whatever the quotation marks."""
    for content in (PLAIN, PLAIN.replace('"', "'")):
        made = config.edit(content.encode(), Wanted(connection_string=text), version=V1_1)
        assert config.load(made.content, version=V1_1).connection_string == text
        assert config.edit(made.content, Wanted(connection_string=text), version=V1_1).changes == ()


@pytest.mark.parametrize("text", [*TAKEN_BY_THE_DAEMON_ALONE, *(pytest.param(row.values[0], id=row.id) for row in BAD)])
def test_what_may_not_be_put_in(text: str) -> None:
    """The editor is as strict as the strictest daemon, and refuses what is no device's; the key is not repeated."""
    with pytest.raises(config.UneditableError) as caught:
        config.edit(PLAIN.encode(), Wanted(connection_string=text), version=V1_1)
    assert refusal(caught) == [("connection-string", None)]
    assert OLD_KEY.rstrip("=") not in str(caught.value)


def test_a_connection_string_is_taken_apart_and_does_not_show_its_key() -> None:
    """Three parts; a repr has two."""
    parts = config.parse_connection_string(OLD)
    assert (parts.host_name, parts.device_id) == ("fabrikam.azure-devices.net", "press-00")
    assert parts.shared_access_key == OLD_KEY.rstrip("=")
    assert repr(parts) == "ConnectionString(host_name='fabrikam.azure-devices.net', device_id='press-00')"
