"""What the environment may say, and what it may not."""

import dataclasses

import pytest

from edgeherd.controller.workqueue import Capacity
from edgeherd.settings import Settings

USUAL = Settings(
    namespace="here",
    kubeconfig=None,
    watch_namespaces=(),
    capacity=Capacity(workers=64, reserved_workers=16, slow_workers=16, per_jump_host=16),
    cluster_networks=(),
    log_level="INFO",
)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, USUAL),
        ({"KUBECONFIG": "", "EDGEHERD_WORKERS": "", "EDGEHERD_WATCH_NAMESPACES": " , "}, USUAL),
        (
            {"EDGEHERD_WATCH_NAMESPACES": "plant-b, plant-a,,plant-b"},
            dataclasses.replace(USUAL, watch_namespaces=("plant-b", "plant-a")),
        ),
        (
            {"EDGEHERD_WORKERS": "20"},
            dataclasses.replace(
                USUAL, capacity=Capacity(workers=20, reserved_workers=5, slow_workers=5, per_jump_host=16)
            ),
        ),
        (
            {"EDGEHERD_WORKERS": "1"},
            dataclasses.replace(
                USUAL, capacity=Capacity(workers=1, reserved_workers=0, slow_workers=1, per_jump_host=16)
            ),
        ),
        (
            {
                "EDGEHERD_WORKERS": "100",
                "EDGEHERD_RESERVED_WORKERS": "99",
                "EDGEHERD_SLOW_WORKERS": "3",
                "EDGEHERD_PASSES_PER_JUMP_HOST": "4",
                "EDGEHERD_LOG_LEVEL": "debug",
                "KUBECONFIG": "/k",
                "EDGEHERD_WATCH_NAMESPACES": "plant-a",
            },
            Settings(
                namespace="here",
                kubeconfig="/k",
                watch_namespaces=("plant-a",),
                capacity=Capacity(workers=100, reserved_workers=99, slow_workers=3, per_jump_host=4),
                cluster_networks=(),
                log_level="DEBUG",
            ),
        ),
    ],
    ids=[
        "nothing is set",
        "an empty value is none",
        "a namespace that is listed twice is one",
        "the other numbers follow the workers",
        "one worker has nothing to reserve",
        "all is set",
    ],
)
def test_what_is_set_is_what_counts(environment: dict[str, str], found: Settings) -> None:
    """And what is not set has a default."""
    assert Settings.from_environment({"EDGEHERD_NAMESPACE": "here", **environment}) == found


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"EDGEHERD_WORKERS": "0"}, "EDGEHERD_WORKERS must be a number from 1 to 512, not '0'"),
        ({"EDGEHERD_WORKERS": "513"}, "EDGEHERD_WORKERS must be a number from 1 to 512, not '513'"),
        ({"EDGEHERD_WORKERS": "many"}, "EDGEHERD_WORKERS must be a number from 1 to 512, not 'many'"),
        ({"EDGEHERD_WORKERS": "²"}, "EDGEHERD_WORKERS must be a number from 1 to 512, not '²'"),
        (
            {"EDGEHERD_WORKERS": "8", "EDGEHERD_RESERVED_WORKERS": "8"},
            "EDGEHERD_RESERVED_WORKERS must be a number from 0 to 7, not '8'",
        ),
        ({"EDGEHERD_SLOW_WORKERS": "0"}, "EDGEHERD_SLOW_WORKERS must be a number from 1 to 512, not '0'"),
        ({"EDGEHERD_PASSES_PER_JUMP_HOST": "-1"}, "EDGEHERD_PASSES_PER_JUMP_HOST must be a number from 1 to 512, not '-1'"),
        ({"EDGEHERD_WATCH_NAMESPACES": "plant-a,plant_b"}, "EDGEHERD_WATCH_NAMESPACES must list names of namespaces with commas between, not 'plant_b'"),
        ({"EDGEHERD_WATCH_NAMESPACES": "*"}, "EDGEHERD_WATCH_NAMESPACES must list names of namespaces with commas between, not '*'"),
        ({"EDGEHERD_WATCH_NAMESPACES": "a" * 64}, f"EDGEHERD_WATCH_NAMESPACES must list names of namespaces with commas between, not '{'a' * 64}'"),
        ({"EDGEHERD_LOG_LEVEL": "LOUD"}, "EDGEHERD_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not 'LOUD'"),
    ],
    ids=["none", "too many", "a word", "a digit of another kind", "none left", "no slow ones", "negative", "not a namespace", "a pattern", "a long name", "a level"],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_its_name(environment: dict[str, str], says: str) -> None:
    """Before anything starts."""
    with pytest.raises(ValueError, match="EDGEHERD") as caught:
        Settings.from_environment(environment)
    assert str(caught.value) == says
