"""`iotedge check`, summarised: ids and sentences of our own, and nothing of what the device said."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeherd.model import CheckReport, Finding
from edgeherd.reconcile.diagnostics import MOST, report

SECRET = "hush-hush"
PROXY = f"http://me:{SECRET}@proxy:3128"
DOCKER_RUN = (
    f"docker run --rm -e https_proxy={PROXY} -e PASSWORD={SECRET} -v /var/run/iotedge/mgmt.sock:/var/run/iotedge/mgmt.sock "
    "mcr.microsoft.com/azureiotedge-diagnostics:1.1.15 edge-agent --management-uri unix:///var/run/iotedge/mgmt.sock"
)


def check(result: str, *details: str, **more: Any) -> dict[str, Any]:
    """One check, as the runtime nests it."""
    said: dict[str, Any] = {"result": result}
    if details:
        said["details"] = list(details)
    return {"result": said, "additional_info": more}


V1_1 = {
    "additional_info": {
        "docker_version": "20.10.21+azure-2",
        "iotedged_version": "1.1.15",
        "now": "2024-05-01T10:04:01.000000000Z",
        "os": {"id": "ubuntu", "version_id": "18.04", "arch": "x86_64", "bitness": 64},
        "system_info": {"used_ram": "1 GiB"},
    },
    "checks": {
        "config-yaml-well-formed": check("ok"),
        "connection-string": check("ok", iothub_hostname="contoso.azure-devices.net", device_id="press-01"),
        "container-engine-uri": check("ok", docker_server_version="20.10.21"),
        "hostname": check(
            "error",
            f"config.yaml has hostname {SECRET} but device reports hostname press.",
            config_hostname=SECRET,
            machine_hostname="press",
        ),
        "connect-management-uri": check(
            "error", f"Could not execute {DOCKER_RUN}", "docker returned exit code: 125", connect_management_uri="unix:"
        ),
        "iotedged-version": check("warning", f"Error while fetching latest versions of edge components: {PROXY}"),
        "host-local-time": check("ignored"),
        "container-engine-dns": check("warning", "Container engine is not configured with DNS server setting"),
        "certificates-quickstart": check("skipped"),
        "edge-agent-storage-mounted-from-host": check("warning", "The edgeAgent module is not configured to persist"),
        "host-connect-iothub-amqp": check("error", "Could not connect", proxy=PROXY, iothub_hostname="x"),
    },
}
V1_5 = {
    "additional_info": {"aziot_edged_version": "1.5.44", "now": "2026-08-12T10:00:00Z"},
    "checks": {
        "keyd-config-well-formed": check("ok"),
        "configs-up-to-date": check("ok"),
        "host-connect-iothub-mqtt": check("error", f"connect via {PROXY} failed", proxy=PROXY),
        "aziot-edged-config-well-formed": check("ok"),
        "config-up-to-date": check("warning", "You must run 'iotedge config apply'"),
        "parent_hostname": check("ignored"),
        "proxy-settings": check(
            "warning", f"The proxy setting for IoT Edge Agent {PROXY!r}, IoT Edge Daemon {PROXY!r}", proxy=PROXY
        ),
        "container-default-connect-upstream-amqp": check("fatal", f"docker run -e https_proxy={PROXY} failed"),
    },
}
HOSTNAME = "The host name in the daemon's file is not the machine's. Set spec.runtime.hostname."
SOCKET = "Modules cannot reach the daemon's management socket."
HOST_CONNECT = "The host cannot reach the hub on this port. Check network, firewall and proxy."
CONTAINER_CONNECT = "A container cannot reach the hub on this port. Check the container network and proxy."


def findings(*pairs: tuple[str, str]) -> tuple[Finding, ...]:
    """As the report has them."""
    return tuple(Finding(id=id_, message=message) for id_, message in pairs)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            V1_1,
            CheckReport(
                handled_at="now",
                verdict="Failed",
                errors=findings(
                    ("hostname", HOSTNAME),
                    ("connect-management-uri", SOCKET),
                    ("host-connect-iothub-amqp", HOST_CONNECT),
                ),
                warnings=("iotedged-version", "container-engine-dns", "edge-agent-storage-mounted-from-host"),
            ),
            id="1.1.15",
        ),
        pytest.param(
            V1_5,
            CheckReport(
                handled_at="now",
                verdict="Failed",
                errors=findings(
                    ("host-connect-iothub-mqtt", HOST_CONNECT),
                    ("container-default-connect-upstream-amqp", CONTAINER_CONNECT),
                ),
                warnings=("config-up-to-date", "proxy-settings"),
            ),
            id="1.5.44",
        ),
        pytest.param(
            {"checks": {"hostname": check("ok"), "container-engine-dns": check("warning", "x")}},
            CheckReport(handled_at="now", verdict="Passed", warnings=("container-engine-dns",)),
            id="warnings are no failure",
        ),
        pytest.param(
            {"checks": {"hostname": check("ok"), "z": check("skipped"), "a": check("ignored"), "b": check("new")}},
            CheckReport(handled_at="now", verdict="Passed"),
            id="what says nothing",
        ),
        pytest.param(
            {"checks": {"some-new-check": check("error", "x"), "another": check("fatal")}},
            CheckReport(
                handled_at="now",
                verdict="Failed",
                errors=findings(
                    ("some-new-check", "See 'iotedge check' on the device."),
                    ("another", "See 'iotedge check' on the device."),
                ),
            ),
            id="checks of a runtime to come, in its order",
        ),
        pytest.param(
            {
                "checks": {
                    "hostname": check("error"),
                    f"Password{SECRET}": check("error"),
                    "a b": check("error"),
                    "": check("error"),
                    "x" * 65: check("error"),
                }
            },
            CheckReport(handled_at="now", verdict="Failed", errors=findings(("hostname", HOSTNAME))),
            id="what is no id",
        ),
        pytest.param(
            {"checks": {f"e{n}": check("error") for n in range(40)} | {f"w{n}": check("warning") for n in range(40)}},
            CheckReport(
                handled_at="now",
                verdict="Failed",
                errors=findings(*((f"e{n}", "See 'iotedge check' on the device.") for n in range(MOST))),
                warnings=tuple(f"w{n}" for n in range(MOST)),
            ),
            id="more than can be shown",
        ),
    ],
)
def test_what_was_found(said: dict[str, Any], expected: CheckReport) -> None:
    """Ids and our own sentences; details, which quote the configuration, stay on the device."""
    found = report(json.dumps(said), handled_at="now")
    assert found == expected
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iotedge: 'check' is not an iotedge command",
        "null",
        "[]",
        "{}",
        '{"checks":[]}',
        '{"checks":{}}',
        '{"checks":{"hostname":{}}}',
        '{"checks":{"hostname":{"result":"error"}}}',
        '{"checks":{"hostname":{"result":{"result":["error"]}}}}',
        json.dumps(V1_1)[:-200],
        "[" * 100_000,
        '{"checks":' * 100_000,
        "9" * 10_000,
    ],
    ids=range(14),
)
def test_no_answer_is_no_verdict(text: str) -> None:
    """A runtime without the command, an answer that was cut, and nonsense."""
    assert report(text, handled_at="now") == CheckReport(handled_at="now", verdict="Unavailable")


def test_an_id_that_comes_twice_counts_once() -> None:
    """The status keys its lists by it: the API server would refuse the second."""
    text = '{"checks":{"a":{"result":{"result":"error"}},"a":{"result":{"result":"warning"}}}}'
    assert report(text, handled_at="now") == CheckReport(handled_at="now", verdict="Passed", warnings=("a",))


SENTENCES = {
    "The daemon's file cannot be read as it should.": [
        "config-yaml-well-formed",
        "aziot-edged-config-well-formed",
        "keyd-config-well-formed",
        "certd-config-well-formed",
        "tpmd-config-well-formed",
        "identityd-config-well-formed",
    ],
    "The connection string": ["connection-string"],
    "The file was changed and 'iotedge config apply'": ["configs-up-to-date", "config-up-to-date"],
    "The container engine is not installed": ["container-engine-uri"],
    "This version of Windows": ["windows-host-version"],
    "The host name in the daemon's file": ["hostname"],
    "The name of the parent device": ["parent_hostname"],
    "Modules cannot reach": ["connect-management-uri"],
    "The runtime is not the latest": ["iotedged-version", "aziot-version", "aziot-edge-version"],
    "The clock is wrong": ["host-local-time", "container-local-time"],
    "A certificate is missing": [
        "identity-certificate-expiry",
        "est-identity-and-bootstrap-certificate-expiry",
        "local-ca-certificate-expiry",
        "certificates-quickstart",
        "certs-preloaded",
        "certs-read",
        "certs-match-private-keys",
    ],
    "A private key cannot be read": ["key-pairs-read"],
    "The server that issues certificates": ["est-server-https"],
    "The provisioning service cannot be reached": ["host-connect-dps-endpoint"],
    "The host cannot reach the hub": [f"host-connect-iothub-{way}" for way in ("amqp", "https", "mqtt")],
    "A container cannot reach the hub": [
        f"container-{way}"
        for kind in ("default-connect-iothub", "connect-iothub", "default-connect-upstream", "connect-upstream")
        for way in (f"{kind}-amqp", f"{kind}-https", f"{kind}-mqtt")
    ],
    "Names cannot be looked up": ["container-engine-dns", "container-resolve-parent-hostname"],
    "IPv6": ["container-engine-ipv6"],
    "The container engine is not one that": ["container-engine-is-moby"],
    "The container engine's logs": ["container-engine-logrotate"],
    "What this module stores": ["edge-agent-storage-mounted-from-host", "edge-hub-storage-mounted-from-host"],
    "A service of the runtime": [
        "keyd-running",
        "certd-running",
        "tpmd-running",
        "identityd-running",
        "(aziot-identity-service-error)",
    ],
    "edgeAgent's image": ["check-agent-image"],
    "The proxy settings": ["proxy-settings"],
}


@pytest.mark.parametrize(("sentence", "id_"), [(said, id_) for said, ids in SENTENCES.items() for id_ in ids])
def test_every_known_id_has_its_sentence(sentence: str, id_: str) -> None:
    """All ids of 1.1.15 and 1.5.44."""
    found = report(json.dumps({"checks": {id_: check("error", SECRET)}}), handled_at="now")
    assert [error.id for error in found.errors] == [id_]
    assert found.errors[0].message.startswith(sentence)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["error", "warning", "fatal", "ok"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["checks", "result"]), inner),
)


@given(st.text() | JSON.map(json.dumps) | JSON.map(lambda checks: json.dumps({"checks": checks})))
def test_nothing_breaks_it_and_nothing_gets_through(text: str) -> None:
    """But for ids that look like ids, all words are ours."""
    found = report(text, handled_at="now")
    ids = [*(error.id for error in found.errors), *found.warnings]
    assert found.verdict in {"Passed", "Failed", "Unavailable"}
    assert all(set(id_) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_()") and len(id_) <= 64 for id_ in ids)
    assert len(set(ids)) == len(ids)
