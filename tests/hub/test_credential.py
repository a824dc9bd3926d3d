"""The connection string of a shared access policy, as an administrator writes it into a Secret."""

import pytest

from edgeherd.hub.credential import HubCredential, parse

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQh"
GOOD = f"HostName=contoso.azure-devices.net;SharedAccessKeyName=registryReadWrite;SharedAccessKey={KEY}"
CREDENTIAL = HubCredential(host_name="contoso.azure-devices.net", policy="registryReadWrite", key=KEY)
FORM = "must have the form HostName=...;SharedAccessKeyName=...;SharedAccessKey=...; missing: "
NO_BASE64 = "has a SharedAccessKey that is not base64"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD, id="as the portal shows it"),
        pytest.param(f"{GOOD};", id="a semicolon at the end"),
        pytest.param(f"  {GOOD}\n", id="a line break at the end, as echo leaves it"),
        pytest.param(";".join(reversed(GOOD.split(";"))), id="the parts in another sequence"),
        pytest.param(GOOD.replace(".net", ".net:8443"), id="a port, which the HubConnection says instead"),
        pytest.param(f"{GOOD};GatewayHostName=gateway", id="a part that nobody needs"),
    ],
)
def test_good_strings(text: str) -> None:
    """Host, policy and key are taken out, however the parts are arranged."""
    assert parse(text) == CREDENTIAL


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", f"{FORM}HostName, SharedAccessKeyName, SharedAccessKey", id="nothing"),
        pytest.param(KEY, f"{FORM}HostName, SharedAccessKeyName, SharedAccessKey", id="the key alone"),
        pytest.param(f"SharedAccessKeyName=p;SharedAccessKey={KEY}", f"{FORM}HostName", id="no host"),
        pytest.param(f"HostName=;SharedAccessKeyName=p;SharedAccessKey={KEY}", f"{FORM}HostName", id="an empty host"),
        pytest.param(f"HostName=h;SharedAccessKey={KEY}", f"{FORM}SharedAccessKeyName", id="no policy"),
        pytest.param("HostName=h;SharedAccessKeyName=p", f"{FORM}SharedAccessKey", id="no key"),
        pytest.param("HostName=h;SharedAccessKeyName=p;SharedAccessKey=", f"{FORM}SharedAccessKey", id="an empty key"),
        pytest.param(
            f"hostname=h;SharedAccessKeyName=p;SharedAccessKey={KEY}", f"{FORM}HostName", id="a name in small letters"
        ),
        pytest.param(
            "HostName=h;SharedAccessSignature=SharedAccessSignature sr=h&sig=x",
            f"{FORM}SharedAccessKeyName, SharedAccessKey",
            id="a signature instead of a key",
        ),
        pytest.param(
            f"HostName=h;DeviceId=press-01;SharedAccessKey={KEY}",
            "is a device's connection string; it must be that of a shared access policy",
            id="the string of a device",
        ),
        pytest.param(
            "HostName=h;SharedAccessKeyName=p;SharedAccessKey=c2Vjc", NO_BASE64, id="a key that lost its last letter"
        ),
        pytest.param("HostName=h;SharedAccessKeyName=p;SharedAccessKey=c2V jcmV0", NO_BASE64, id="a key with a space"),
        pytest.param(
            "HostName=h;SharedAccessKeyName=p;SharedAccessKey=c2V-cm_0", NO_BASE64, id="a key in the URL's alphabet"
        ),
        pytest.param(
            f'HostName=h;SharedAccessKeyName=p;SharedAccessKey="{KEY}"', NO_BASE64, id="a key in quotation marks"
        ),
    ],
)
def test_bad_strings(text: str, sentence: str) -> None:
    """The error is one sentence about what is wrong, and never holds a value of the input."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert str(caught.value) == sentence
    values = {value.strip('"') for part in text.split(";") for value in part.partition("=")[2:] if len(value) > 1}
    assert not [value for value in values if value in f"{caught.value!r} {caught.value.__context__ or ''}"]


def test_the_key_stays_out_of_the_repr() -> None:
    """Whoever logs a credential shows host and policy only."""
    assert repr(CREDENTIAL) == "HubCredential(host_name='contoso.azure-devices.net', policy='registryReadWrite')"


@pytest.mark.parametrize(
    ("port", "host"),
    [
        pytest.param(443, "contoso.azure-devices.net", id="the port of HTTPS is left out"),
        pytest.param(8443, "contoso.azure-devices.net:8443", id="any other port is a part of the host name"),
    ],
)
def test_the_string_for_the_sdk(port: int, host: str) -> None:
    """The SDK gets host, policy and key, and the port where it is an unusual one."""
    assert CREDENTIAL.connection_string(port) == (
        f"HostName={host};SharedAccessKeyName=registryReadWrite;SharedAccessKey={KEY}"
    )
