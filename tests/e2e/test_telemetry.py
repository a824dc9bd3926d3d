"""What the operator tells about itself and its objects, on a real API server: Events, log, probes, metrics."""

import asyncio
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from world import World, is_ready, until

import processes
from edgeherd import __version__
from edgeherd.cluster.client import path

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def get(url: str) -> tuple[int, str]:
    """Status and text."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_events_and_log_of_a_life(world: World) -> None:
    """In the order in which it happened, for the API and for kubectl; repeated ones counted; at rest not a line."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"hostname": "a"})
        for hostname in ("b", "c"):
            await managed.patch(runtime={"hostname": hostname})
            await managed.until(is_ready)

        def reasons() -> list[str]:
            return [
                line["reason"]
                for line in world.log_of(team.namespace, managed.name)
                if "edgeAgent" not in line["message"]
            ]

        await until(lambda: reasons().count("Ready") == 3)
        said = reasons()
        once = ["ConfigApplied", "DaemonRestarted", "Ready"]
        assert [reason for reason in said if not reason.startswith(("EdgeAgent", "Daemon"))] == [
            "IdentityCreated", "ConfigApplied", "Ready", "ConfigApplied", "Ready", "ConfigApplied", "Ready",
        ]  # fmt: skip
        events = [
            event for event in await world.events(team.namespace) if event["involvedObject"]["name"] == managed.name
        ]
        assert {event["type"] for event in events} == {"Normal"}
        first = sorted(events, key=lambda event: event["eventTime"])
        assert [event["reason"] for event in first] == ["IdentityCreated", "ConfigApplied", "Ready", "DaemonRestarted"]
        assert first == sorted(events, key=lambda event: event["metadata"]["name"])
        counts = {event["reason"]: event["count"] for event in events}
        assert counts == {"IdentityCreated": 1, "ConfigApplied": 3, "Ready": 3, "DaemonRestarted": 2}
        shown = await world.kubectl("-n", team.namespace, "describe", "edgedevice", managed.name)
        assert re.findall(r"Normal +(\w+) ", shown.partition("Events:")[2])[0] == "IdentityCreated"
        assert "(x3 over" in shown
        assert [line for line in said if line in once] != []

        before = len(world.log_of(team.namespace, managed.name))
        for _ in range(3):
            await managed.look_now()
        assert len(world.log_of(team.namespace, managed.name)) == before


async def test_who_wrote_what_is_on_record(world: World) -> None:
    """Every field that the operator wrote has its name, the finalizer's too."""
    async with world.team() as team:
        managed = await team.ready(world.device())
        body = (await managed.get()) or {}
        of_operator = [entry for entry in body["metadata"]["managedFields"] if "edgeherd" in str(entry.get("fieldsV1"))]
        assert {entry["manager"] for entry in of_operator if "f:finalizers" in str(entry["fieldsV1"])} == {"edgeherd"}
        (event, *_) = await world.events(team.namespace)
        assert {entry["manager"] for entry in event["metadata"]["managedFields"]} == {"edgeherd"}


async def test_a_hub_connection_has_events(world: World) -> None:
    """In the namespace 'default', as all that has no namespace; `kubectl describe` shows them."""
    name, secret = f"{world.hub_name}-told", "told"
    await world.put_hub_secret(secret, world.hub.connection_string.replace("SharedAccessKey=", "SharedAccessKey=AAAA"))
    await world.kubectl.apply(world.hub_connection(name, secret))

    async def told() -> list[tuple[str, str]]:
        return [
            (event["type"], event["reason"])
            for event in await world.events("default")
            if event["involvedObject"]["name"] == name
        ]

    async with asyncio.timeout(30):
        while not await told():
            await asyncio.sleep(0.2)
    assert await told() == [("Warning", "HubRefusedCredential")]
    assert "HubRefusedCredential" in (await world.kubectl("describe", "hubconnection", name)).partition("Events:")[2]
    await world.cluster.request("DELETE", path("edgeherd.io", "v1alpha1", "hubconnections", name=name))
    await until(lambda: any(line.get("name") == name and line.get("reason") == "Deleted" for line in world.log()))


async def test_probes(world: World) -> None:
    """Alive and ready, while it watches."""
    assert await get(world.url("/healthz")) == (200, "ok")
    assert await get(world.url("/readyz") + "?verbose") == (
        200,
        "[+]ping ok\n[+]lease ok\n[+]watch ok\nreadyz check passed\n",
    )


class Prometheus:
    """A Prometheus that scrapes the operator."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """The present values, by the values of their labels."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self._url}/api/v1/query", params={"query": expression}) as answer:
                body: Mapping[str, Any] = await answer.json()
        assert body["status"] == "success", body
        ours = (
            {k: v for k, v in one["metric"].items() if k not in {"__name__", "instance", "job"}}
            for one in body["data"]["result"]
        )
        return {
            tuple(found.values()): float(one["value"][1])
            for found, one in zip(ours, body["data"]["result"], strict=True)
        }

    async def until(self, expression: str) -> dict[tuple[str, ...], float]:
        """The same, as soon as there is any."""
        async with asyncio.timeout(60):
            while not (found := await self.query(expression)):
                await asyncio.sleep(0.2)
        return found


async def listening(process: asyncio.subprocess.Process) -> str:
    """The address that it says it listens on."""
    assert process.stderr is not None
    async with asyncio.timeout(60):
        async for line in process.stderr:
            if found := re.search(rb'msg="Listening on" address=(\S+)', line):
                return found[1].decode()
    raise AssertionError("it did not start")


async def test_a_real_prometheus_scrapes_it(world: World, tmp_path: pathlib.Path) -> None:
    """Every answer of docs/metrics.md is one query away; promtool finds nothing to complain of."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("prometheus is not installed (apt-get install prometheus)")
    async with world.team() as team:
        await team.ready(world.device())
        url = world.url("/metrics")
        _, text = await get(url)
        checked = processes.run(["promtool", "check", "metrics"], stdin=text.encode())
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
        target = url.removeprefix("http://").removesuffix("/metrics")
        config = tmp_path / "prometheus.yml"
        config.write_text(
            f"scrape_configs: [{{job_name: edgeherd, scrape_interval: 500ms, scrape_timeout: 500ms, static_configs: [{{targets: ['{target}']}}]}}]"
        )
        command = (
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}", "--web.listen-address=127.0.0.1:0"
        )  # fmt: skip
        async with processes.started(*command) as process:
            prometheus = Prometheus(f"http://{await listening(process)}")
            drained = asyncio.create_task(process.stderr.read()) if process.stderr else None
            assert (await prometheus.until('up{job="edgeherd"} == 1')) == {(): 1}
            healthy = await prometheus.until('edgeherd_devices{condition="Ready",status="True",reason="Ready"}')
            assert min(healthy.values()) >= 1
            queries = _documented_queries()
            assert len(queries) >= 9
            for query in queries:
                await prometheus.query(query)
            assert await prometheus.until("edgeherd_build_info") == {(__version__,): 1}
            assert await prometheus.until("edgeherd_hub_budget_remaining")
            assert await prometheus.until('sum(controller_runtime_reconcile_total{controller="edgedevice"}) > 0')
            process.terminate()
            if drained is not None:
                await drained


def _documented_queries() -> list[str]:
    """The second column of the last table."""
    page = (pathlib.Path(__file__).parents[2] / "docs/metrics.md").read_text()
    return re.findall(r"^\| [^|`]+ \| `(.+)` \|$", page.partition("## What to look at")[2], re.MULTILINE)
