"""kubectl on the simulator prints what it prints on a real API server.

The scenarios are in `kubectl_cases.yaml`, their transcripts in `golden/`. With a real server at hand
(`KUBEBUILDER_ASSETS`) the same command lines run there as well, and must give the same transcripts;
`EDGEHERD_RECORD=1` writes them anew from there.
"""

import itertools
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kube_lab import KUBECTL, Target, without_log

import processes
import yaml_files

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
RECORD = os.environ.get("EDGEHERD_RECORD") == "1"
_TOKEN = re.compile(r'"[^"]*"(?=\s|$)|\S+')


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Command lines in a namespace of their own."""

    name: str
    namespace: str
    files: dict[str, str]
    steps: tuple[Any, ...]

    @property
    def transcript(self) -> Path:
        """Where its output is kept."""
        return GOLDEN / (re.sub(r"[^a-z]+", "-", self.name.lower()).strip("-") + ".txt")


def scenarios() -> list[Scenario]:
    """All of the file."""
    content = yaml_files.read(HERE / "kubectl_cases.yaml")
    return [
        Scenario(
            name=item["name"],
            namespace=f"case-{number:02d}",
            files={**content["shared"], **item.get("files", {})},
            steps=tuple(item["steps"]),
        )
        for number, item in enumerate(content["scenarios"])
    ]


SCENARIOS = scenarios()

_REPLACED: tuple[tuple[str, str], ...] = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
    (r"(?!2026-01-01T00:00:00)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4}|Z)", "TIME"),
    (r'(resourceVersion"?: *)"?\d+"?', r"\1N"),
    (r"(Resource Version: +)\d+", r"\1N"),
    (r"\b(LIVE|MERGED)-\d+", r"\1"),
    (r"/\S+/(LIVE|MERGED)", r"\1"),
    (r"(?<![\w.=-])\d+[smhdy](\d+[smhd])?(?![\w-])", "AGE"),
    (r"https://127\.0\.0\.1:\d+", "https://SERVER"),
    (r"(?<=\S) {2,}", "  "),
    (r"[ \t]+$", ""),
)


def normalised(text: str) -> str:
    """A transcript without what differs from run to run."""
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return re.sub(r"(^(\* |  \.).*\n)+", _sorted_lines, text, flags=re.MULTILINE)


def _sorted_lines(match: re.Match[str]) -> str:
    """The real server lists what is wrong in random order."""
    return "".join(sorted(match[0].splitlines(keepends=True)))


@dataclass(slots=True)
class Session:
    """A scenario being run."""

    target: Target
    scenario: Scenario
    folder: Path
    kubeconfig: Path
    transcript: list[str] = field(default_factory=list)

    def run(self) -> str:
        """All steps; the transcript."""
        for step in self.scenario.steps:
            if isinstance(step, str):
                self._say(step, self._command(step))
            else:
                self._watch(step)
        return normalised("\n".join(self.transcript))

    def _say(self, line: str, output: str) -> None:
        self.transcript.append(f"$ {self._filled(line)}\n{output}")

    def _filled(self, text: str) -> str:
        return text.replace("{ns}", self.scenario.namespace)

    def _words(self, line: str) -> list[str]:
        return [word.strip('"') if word.startswith('"') else word for word in _TOKEN.findall(self._filled(line))]

    def _command(self, line: str) -> str:
        program, *arguments = self._words(line)
        if program == "kubectl":
            return self.target.kubectl(*arguments, cwd=self.folder, kubeconfig=self.kubeconfig)
        processes.run([program, *arguments], cwd=self.folder, check=True)
        return ""

    def _watch(self, step: dict[str, Any]) -> None:
        """A command that goes on while others run."""
        command = [KUBECTL, *self._words(step["watch"])[1:]]
        environment = self.target.environment(self.kubeconfig)
        with processes.running(command, cwd=self.folder, env=environment, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            overdue = threading.Timer(processes.SECONDS, process.kill)
            overdue.start()
            answers = (line for line in process.stdout if without_log(line))
            lines = [next(answers, "")] if "lines" in step else []
            said = [(line, self._command(line)) for line in step["then"]]
            lines += itertools.islice(answers, step["lines"] - len(lines) if "lines" in step else None)
            overdue.cancel()
        self._say(step["watch"], "".join(lines))
        for line, output in said:
            self._say(line, output)


def _run(target: Target, scenario: Scenario, folder: Path) -> str:
    target.client.namespace(scenario.namespace)
    for name, content in scenario.files.items():
        (folder / name).write_text(content.replace("{ns}", scenario.namespace))
    kubeconfig = json.loads(target.kubeconfig.read_text())
    kubeconfig["contexts"][0]["context"]["namespace"] = scenario.namespace
    own = folder / "kubeconfig"
    own.write_text(json.dumps(kubeconfig))
    return Session(target=target, scenario=scenario, folder=folder, kubeconfig=own).run()


_IN_SENTENCES: dict[str, Any] = {"argvalues": SCENARIOS, "ids": [scenario.name for scenario in SCENARIOS]}


@pytest.mark.parametrize("scenario", **_IN_SENTENCES)
def test_the_simulator_answers_as_recorded(simulator: Target, scenario: Scenario, tmp_path: Path) -> None:
    """Kubectl on the simulator prints the transcript that was recorded on a real server."""
    assert _run(simulator, scenario, tmp_path) == scenario.transcript.read_text(encoding="utf-8")


@pytest.mark.parametrize("scenario", **_IN_SENTENCES)
def test_the_real_server_answers_as_recorded(real_server: Target, scenario: Scenario, tmp_path: Path) -> None:
    """Kubectl on the real server prints the recorded transcript; so both servers answer alike."""
    transcript = _run(real_server, scenario, tmp_path)
    if RECORD:
        GOLDEN.mkdir(exist_ok=True)
        scenario.transcript.write_text(transcript, encoding="utf-8")
    assert transcript == scenario.transcript.read_text(encoding="utf-8")


def test_every_transcript_belongs_to_a_scenario() -> None:
    """No transcript is left over from a scenario that is gone, and the table is as long as it claims to be."""
    assert {path.name for path in GOLDEN.iterdir()} == {scenario.transcript.name for scenario in SCENARIOS}
    assert sum(len(list(_lines(scenario))) for scenario in SCENARIOS) >= 60


def _lines(scenario: Scenario) -> Iterator[str]:
    for step in scenario.steps:
        if isinstance(step, str):
            yield step
        else:
            yield step["watch"]
            yield from step["then"]
