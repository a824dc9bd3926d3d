"""Every case of `crd_cases.yaml` over HTTP, on the simulator and on the real server: the same answer, word for word."""

import re
from typing import Any

import cases
import pytest
from cases import Body, Case
from kube_lab import Target
from wire import MERGE, Answer

CASES = cases.read()
_PLURALS = {"EdgeDevice": "edgedevices", "HubConnection": "hubconnections"}


def _collection(case: Case, namespace: str) -> str:
    kind = case.manifest["kind"]
    where = f"/namespaces/{namespace}" if kind == "EdgeDevice" else ""
    return f"/apis/edgeherd.io/v1alpha1{where}/{_PLURALS[kind]}"


def _asked(target: Target, case: Case, namespace: str) -> tuple[Answer, Body]:
    """The answer to the last request of a case, and what is stored afterwards. The object is gone again."""
    folder, name = _collection(case, namespace), case.manifest["metadata"]["name"]
    target.client.send("DELETE", f"{folder}/{name}")
    answers: list[Answer] = []
    try:
        for step in case.steps:
            assert all(answer.status < 300 for answer in answers), answers[-1].body
            if step.verb == "create":
                body = {**step.body, "metadata": {**step.body["metadata"], "namespace": namespace}}
                if case.manifest["kind"] != "EdgeDevice":
                    del body["metadata"]["namespace"]
                answers.append(target.client.send("POST", f"{folder}?fieldValidation=Strict", body))
            else:
                path = f"{folder}/{name}" + (f"/{step.subresource}" if step.subresource else "")
                answers.append(target.client.send("PATCH", f"{path}?fieldValidation=Strict", step.body, media=MERGE))
        return answers[-1], target.client.send("GET", f"{folder}/{name}").body
    finally:
        target.client.send("DELETE", f"{folder}/{name}")


def _sentences(answer: Answer, case: Case) -> set[str]:
    """What the refusal complains of, without the words around it."""
    causes = (answer.body.get("details") or {}).get("causes")
    message = answer.body["message"]
    if not causes:
        return set(re.findall(r'unknown field "[^"]*"', message)) or {message}
    assert message.startswith(f'{case.manifest["kind"]}.edgeherd.io "')
    return {f"{cause['field']}: {cause['message']}" for cause in causes}


def _check(target: Target, case: Case) -> None:
    answer, stored = _asked(target, case, target.client.namespace("cases"))
    if case.accepted:
        assert answer.status in {200, 201}, answer.body
        assert cases.holds(stored, case.stored)
    else:
        assert answer.status in {400, 422}, answer.body
        assert _sentences(answer, case) == {case.message, *case.also}


_NAMED: dict[str, Any] = {"argvalues": CASES, "ids": [case.name for case in CASES]}


@pytest.mark.parametrize("case", **_NAMED)
def test_the_simulator_answers_as_the_case_says(simulator: Target, case: Case) -> None:
    """Accepted and stored with these fields, or refused with these sentences and no others."""
    _check(simulator, case)


@pytest.mark.parametrize("case", **_NAMED)
def test_the_real_server_answers_as_the_case_says(real_server: Target, case: Case) -> None:
    """So neither is kinder than the other."""
    _check(real_server, case)
