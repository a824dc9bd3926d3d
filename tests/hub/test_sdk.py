"""The SDK's registry part is imported without its AMQP client, which many machines cannot have."""

import asyncio
import importlib.util
import json
import os
import pathlib
import sys
import textwrap

import pytest

from edgeherd_sim.hub.server import serve

REFUSED = pathlib.Path(__file__).parents[1] / "refused"
WHOLE_LIFE = """
    import asyncio, dataclasses, json, sys
    import edgeherd.cli, edgeherd.run
    from edgeherd.hub import credential
    from edgeherd.hub.azure import HubClient
    from edgeherd.hub.port import Owner
    from edgeherd.model import Keys, Thumbprints

    async def main(string, port, ca_file):
        client = HubClient(credential.parse(string), port=port, operations_per_minute=1000, ca_file=ca_file)
        hub = client.on_behalf_of("plant-a")
        told = [await hub.get("press-01")]
        made = await hub.create("press-01", Keys(primary="MDEyMzQ1Njc4OWFiY2RlZg==", secondary="ZmVkY2JhOTg3NjU0MzIxMA=="), enabled=True)
        told.append(made == await hub.get("press-01"))
        changed = await hub.update(made, enabled=False, credentials=Thumbprints(primary="A" * 40, secondary=None))
        told.append([changed.enabled, changed.authentication, changed.device_scope == made.device_scope])
        told.append(await hub.mark("press-01", Owner(uid="u", namespace="n", name="press-01"), etag="*"))
        told.append((await hub.twin("press-01")).owner.uid)
        told.append([listed.device_id for listed in await hub.edge_devices()])
        await hub.delete(changed)
        told.append(await hub.get("press-01"))
        client.close()
        return told

    found = asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
    print(json.dumps([found, sorted(name for name in sys.modules if name in {"uamqp", "azure.iot.hub"})]))
"""


async def run(script: str, *arguments: str, refused: bool) -> tuple[int, str, str]:
    """Exit status, output and complaints of a Python of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REFUSED) if refused else ""},
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


UAMQP = pytest.mark.skipif(importlib.util.find_spec("uamqp") is None, reason="there is no uamqp for this machine")


@UAMQP
async def test_the_refusal_works() -> None:
    """Microsoft's package as it is does not come up without uamqp."""
    status, _, complaint = await run("import azure.iot.hub", refused=True)
    assert (status, complaint.splitlines()[-1]) == (1, "ModuleNotFoundError: uamqp is refused")


@pytest.mark.parametrize(
    "refused", [pytest.param(True, id="no uamqp"), pytest.param(False, id="uamqp is there", marks=UAMQP)]
)
async def test_the_life_of_an_identity(refused: bool) -> None:
    """The operator's modules are imported, and every call that it makes of a registry works; uamqp is never loaded."""
    async with serve() as hub:
        status, out, err = await run(WHOLE_LIFE, hub.connection_string, str(hub.port), hub.ca_file, refused=refused)
    assert (status, err) == (0, "")
    told = [None, True, [False, "selfSigned", True], True, "u", ["press-01"], None]
    assert json.loads(out) == [told, []]


SCRIPTS = {
    "whoever imports the package later gets it whole": (
        """
        import edgeherd.hub.sdk as sdk
        from azure.iot.hub import IoTHubRegistryManager
        from azure.iot.hub.protocol import IotHubGatewayServiceAPIs
        print(IoTHubRegistryManager.__name__, IotHubGatewayServiceAPIs is sdk.IotHubGatewayServiceAPIs)
        """,
        "IoTHubRegistryManager True",
    ),
    "and so does whoever had it before": (
        """
        import sys
        import azure.iot.hub
        import edgeherd.hub.sdk
        print(azure.iot.hub is sys.modules["azure.iot.hub"])
        """,
        "True",
    ),
    "a package that is not there is named, with the way to get it": (
        """
        import sys
        sys.modules["azure.iot"] = None
        try:
            import edgeherd.hub.sdk
        except ImportError as exc:
            print(exc)
        """,
        "azure.iot.hub is not installed; where uamqp cannot be, pip install --no-deps azure-iot-hub",
    ),
}


@UAMQP
@pytest.mark.parametrize("name", SCRIPTS)
async def test_imports(name: str) -> None:
    """What else may import the package, or miss it."""
    script, expected = SCRIPTS[name]
    assert await run(script, refused=False) == (0, f"{expected}\n", "")
