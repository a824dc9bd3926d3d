"""The table of all calls."""

from edgeherd.sim.hub import devices, deviceside
from edgeherd.sim.hub.calls import Route

ROUTES: tuple[Route, ...] = (
    *devices.ROUTES,
    *deviceside.ROUTES,
)
"""Everything that the hub answers to, the control API aside."""
