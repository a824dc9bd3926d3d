"""`edgeherd sim hub` as a program."""

import asyncio
import contextlib
import json
import pathlib
import signal
import socket
import ssl
import sys
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from hub_client import PRIMARY, token

import processes
from edgeherd_sim.hub.command import command


def started(*arguments: str) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """The program, which is gone when the block ends."""
    return processes.started(pathlib.Path(sys.executable).parent / "edgeherd", "sim", "hub", *arguments)


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode()


async def ask(url: str, ca_file: str, authorization: str) -> tuple[int, Any]:
    """The list of devices."""
    context = ssl.create_default_context(cafile=ca_file)
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{url}/devices?api-version=2021-04-12", headers={"Authorization": authorization}, ssl=context
        ) as response,
    ):
        return response.status, await response.json()


def modes_below(folder: pathlib.Path) -> dict[str, int]:
    """Who may read which file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in files}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_program(tmp_path: pathlib.Path, number: signal.Signals) -> None:
    """It says in one line where it is, answers over TLS, keeps its secrets to its owner, and ends when it is told to."""
    key_file = tmp_path / "key"
    key_file.write_text(f"{PRIMARY}\n")
    arguments = {
        "--policy-name": "registryReadWrite",
        "--policy-key-file": str(key_file),
        "--host-name": "localhost",
        "--tls-dir": str(tmp_path / "tls"),
        "--ca-file": str(tmp_path / "out" / "ca.pem"),
        "--state": str(tmp_path / "state"),
        "--connection-string-file": str(tmp_path / "out" / "connection"),
        "--output": "json",
    }
    async with started(*(word for pair in arguments.items() for word in pair)) as process:
        facts = json.loads(await line(process))
        authority = f"localhost:{facts['port']}"
        assert facts == {
            "connectionString": f"HostName={authority};SharedAccessKeyName=registryReadWrite;SharedAccessKey={PRIMARY}",
            "hostName": "localhost",
            "port": facts["port"],
            "caFile": str(tmp_path / "out" / "ca.pem"),
            "url": f"https://{authority}",
        }
        answer = await ask(facts["url"], facts["caFile"], token(authority, PRIMARY, policy="registryReadWrite"))
        assert answer == (200, [])
        process.send_signal(number)
        rest = await asyncio.wait_for(process.communicate(), 60)
        assert (process.returncode, rest) == (0, (b"", b""))
    assert (tmp_path / "out" / "connection").read_text() == facts["connectionString"]
    modes = modes_below(tmp_path)
    del modes["key"]
    assert modes == {
        "state": 0o600,
        "out/connection": 0o600,
        "out/ca.pem": 0o644,
        "tls/ca.pem": 0o644,
        "tls/ca-key.pem": 0o600,
        "tls/hub.pem": 0o644,
        "tls/hub-key.pem": 0o600,
    }


async def test_words_for_people() -> None:
    """Without --output it says the same in a few lines, and how to stop it."""
    async with started() as process:
        lines = [await line(process) for _ in range(4)]
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    url = lines[0].removeprefix("IoT Hub emulator at ").strip()
    host = url.removeprefix("https://")
    assert [text.split(":")[0] for text in lines[1:]] == ["connection string", "trust", "stop"]
    assert lines[1].split()[2].startswith(f"HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey=")


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        pytest.param(["--policy-key", "~"], 2, "The policy key is not base64.", id="a key that is not base64"),
        pytest.param(["--policy-key", "é"], 2, "The policy key is not base64.", id="a key beyond ASCII"),
        pytest.param(["--port", "70000"], 2, "70000 is not in the range 0<=x<=65535.", id="a port that is none"),
        pytest.param(["--units", "-1"], 2, "-1 is not in the range x>=0.", id="a hub of negative size"),
        pytest.param(
            ["--policy-key-file", "absent"], 2, "File 'absent' does not exist.", id="a key file that is not there"
        ),
        pytest.param(["--bind", "192.0.2.1"], 1, "Error:", id="an address that is not this machine's"),
    ],
)
def test_starts_that_are_refused(arguments: list[str], status: int, sentence: str) -> None:
    """A start that cannot work ends at once with a sentence, not with a traceback."""
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, sentence in result.output, "Traceback" in result.output) == (status, True, False)


def test_two_keys(tmp_path: pathlib.Path) -> None:
    """The key comes from one place."""
    key_file = tmp_path / "key"
    key_file.write_text(PRIMARY)
    result = CliRunner().invoke(command, ["--policy-key", PRIMARY, "--policy-key-file", str(key_file)])
    assert (result.exit_code, "exclude each other" in result.output, PRIMARY in result.output) == (2, True, False)


def test_a_port_that_is_taken() -> None:
    """Somebody else's port is not ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = CliRunner().invoke(command, ["--port", str(taken.getsockname()[1])])
    assert (result.exit_code, "address already in use" in result.output) == (1, True)


def test_a_broken_state(tmp_path: pathlib.Path) -> None:
    """A state file that is none ends the start with its name."""
    state = tmp_path / "state"
    state.write_text("hello")
    result = CliRunner().invoke(command, ["--state", str(state)])
    assert (result.exit_code, f"Error: {state}: not a state file of this hub" in result.output) == (1, True)


def test_help_says_what_is_not_there() -> None:
    """Whoever misses jobs, methods or digital twins finds out before a 404 does."""
    shown = CliRunner().invoke(command, ["--help"])
    text = " ".join(shown.output.split())
    assert shown.exit_code == 0
    assert (
        "Not there: jobs (scheduled ones, import and export by a storage account), direct methods, digital twins, telemetry, "
        "cloud-to-device messages and file uploads. Requests for them are answered with 404."
    ) in text
