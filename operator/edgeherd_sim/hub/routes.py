"""The table of all calls."""

from edgeherd_sim.hub import bulk, configurations, devices, deviceside, keys, modules, query, twins
from edgeherd_sim.hub.calls import Route

ROUTES: tuple[Route, ...] = (
    *devices.ROUTES,
    *bulk.ROUTES,
    *keys.ROUTES,
    *modules.ROUTES,
    *twins.ROUTES,
    *query.ROUTES,
    *configurations.ROUTES,
    *deviceside.ROUTES,
)
"""Everything that the hub answers to, the control API aside."""
