"""What the operator tells about itself and its objects, on a real API server: Events, log, probes, metrics."""

import asyncio
import contextlib
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from world import World, is_ready

import processes
from edgeherd import __version__
from edgeherd.cluster.client import path
from edgeherd.cluster.errors import ApiError
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def get(url: str) -> tuple[int, str]:
    """Status and text."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_events_and_log_of_a_life(world: World) -> None:
    """In the order in which it happened, for the API and for kubectl; what is repeated is counted; at rest not a line."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"hostname": "a"})
        for hostname in ("b", "c"):
            await managed.patch(runtime={"hostname": hostname})
            await managed.until(is_ready)

        def lines() -> list[str]:
            """What the daemon does on its way takes more or fewer looks."""
            said = [line["reason"] for line in world.log_of(team.namespace, managed.name)]
            return [reason for reason in said if not reason.startswith(("EdgeAgent", "Daemon"))]

        await until(lambda: lines().count("Ready") == 3)
        assert lines() == ["IdentityCreated", *["ConfigApplied", "Ready"] * 3]
        told = [
            event for event in await world.events(team.namespace) if event["involvedObject"]["name"] == managed.name
        ]
        told.sort(key=lambda event: event["eventTime"])
        assert [(event["type"], event["reason"], event["count"]) for event in told] == [
            ("Normal", "IdentityCreated", 1),
            ("Normal", "ConfigApplied", 1),
            ("Normal", "Ready", 3),
            ("Normal", "ConfigApplied", 2),
            ("Normal", "DaemonRestarted", 2),
        ]
        assert told == sorted(told, key=lambda event: event["metadata"]["name"])
        shown = (await world.kubectl("-n", team.namespace, "describe", "edgedevice", managed.name)).partition(
            "Events:"
        )[2]
        assert re.findall(r"Normal +(\w+) ", shown)[0] == "IdentityCreated"
        assert "(x3 over" in shown

        before = len(world.log())
        for _ in range(3):
            await managed.look_now()
        after = [line for line in world.log()[before:] if line.get("name") == managed.name]
        assert after == []


async def test_who_wrote_what_is_on_record(world: World) -> None:
    """Every field that the operator wrote has its name, the finalizer's too."""
    async with world.team() as team:
        managed = await team.ready(world.device())
        body = (await managed.get()) or {}
        of_operator = [entry for entry in body["metadata"]["managedFields"] if "edgeherd" in str(entry.get("fieldsV1"))]
        assert {entry["manager"] for entry in of_operator if "f:finalizers" in str(entry["fieldsV1"])} == {"edgeherd"}
        (event, *_) = await world.events(team.namespace)
        assert {entry["manager"] for entry in event["metadata"]["managedFields"]} == {"edgeherd"}


async def test_an_event_that_is_refused_is_in_the_log(world: World) -> None:
    """A namespace that is being deleted takes none: the log has its words all the same."""
    async with world.team() as team:
        managed = await team.ready(world.device())
        await world.cluster.request("DELETE", path("", "v1", "namespaces", name=team.namespace))
        with contextlib.suppress(ApiError):  # who has controllers deletes what is in it
            await managed.delete()
        await managed.until_gone()
        lines = [line for line in world.log_of(team.namespace, managed.name) if line["reason"] == "IdentityReleased"]
        words = f"The identity '{managed.device_id}' was deleted from the hub."
        assert [line["level"] for line in lines] == ["info", "warning"]
        assert lines[0]["message"] == words
        assert re.fullmatch(
            rf"the API server refuses the Event \(403: .*being terminated.*\): {words}", lines[1]["message"]
        )


async def test_a_hub_connection_has_events(world: World) -> None:
    """In the namespace 'default', as all that has no namespace; `kubectl describe` shows them."""
    name, secret = f"{world.hub_name}-told", "told"
    await world.put_hub_secret(secret, world.hub.connection_string.replace("SharedAccessKey=", "SharedAccessKey=AAAA"))
    await world.kubectl.apply(world.hub_connection(name, secret))

    async def told() -> list[tuple[str, str]]:
        events = [event for event in await world.events("default") if event["involvedObject"]["name"] == name]
        return [(event["type"], event["reason"]) for event in events]

    async def is_told() -> bool:
        return bool(await told())

    await until(is_told)
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
        where = f"{self._url}/api/v1/query"
        async with aiohttp.ClientSession() as session, session.get(where, params={"query": expression}) as answer:
            body: Mapping[str, Any] = await answer.json()
        assert body["status"] == "success", body
        return {
            tuple(value for name, value in one["metric"].items() if name not in {"__name__", "instance", "job"}): float(
                one["value"][1]
            )
            for one in body["data"]["result"]
        }

    async def is_ready(self) -> bool:
        """Whether it answers queries."""
        return (await get(f"{self._url}/-/ready"))[0] == 200

    async def until(self, expression: str) -> dict[tuple[str, ...], float]:
        """The same, as soon as there is any."""
        found: dict[tuple[str, ...], float] = {}

        async def is_there() -> bool:
            found.update(await self.query(expression))
            return bool(found)

        await until(is_there, every=0.2)
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
            await until(prometheus.is_ready)
            assert (await prometheus.until('up{job="edgeherd"} == 1')) == {(): 1}
            healthy = await prometheus.until('edgeherd_devices{condition="Ready",status="True",reason="Ready"}')
            assert min(healthy.values()) >= 1
            queries = _documented_queries()
            assert len(queries) >= 9
            for query in queries:
                await prometheus.query(query)
            assert await prometheus.until("edgeherd_build_info") == {(__version__,): 1}
            assert await prometheus.until("edgeherd_hub_budget_remaining")
            assert await prometheus.until('edgeherd_devices_by_runtime{runtime!="",agent_version!~"|other"}')
            assert await prometheus.until('sum(controller_runtime_reconcile_total{controller="edgedevice"}) > 0')


def _documented_queries() -> list[str]:
    """The second column of the last table."""
    page = (pathlib.Path(__file__).parents[2] / "docs/metrics.md").read_text()
    return re.findall(r"^\| [^|`]+ \| `(.+)` \|$", page.partition("## What to look at")[2], re.MULTILINE)
