"""The operator's ports in memory, for tests: what was done is counted, and every side effect can go wrong."""

from edgeherd_sim.memory.cluster import Event, MemoryCluster
from edgeherd_sim.memory.device import MemoryDevice, MemoryNetwork
from edgeherd_sim.memory.hub import MemoryHub, MemoryHubClient
from edgeherd_sim.memory.steps import CrashError, Steps
from edgeherd_sim.memory.worker import run_here

__all__ = [
    "CrashError",
    "Event",
    "MemoryCluster",
    "MemoryDevice",
    "MemoryHub",
    "MemoryHubClient",
    "MemoryNetwork",
    "Steps",
    "run_here",
]
