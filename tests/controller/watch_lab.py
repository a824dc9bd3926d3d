"""An API server with our CRDs and a proxy before it, for the tests of the watch."""

import contextlib
import dataclasses
import pathlib
from typing import Any

import yaml_files
from edgeherd.cluster.client import ApiClient, path
from edgeherd.cluster.errors import ApiError
from fault_proxy import FaultProxy
from waiting import until

CRDS = pathlib.Path(__file__).parents[2] / "crds"
CRD_PATH = path("apiextensions.k8s.io", "v1", "customresourcedefinitions")
HUBS = path("edgeherd.io", "v1alpha1", "hubconnections")


@dataclasses.dataclass(slots=True, kw_only=True)
class Cluster:
    """An API server with our CRDs, a proxy before it, and a client of each."""

    direct: ApiClient
    proxy: FaultProxy
    through: ApiClient
    token_file: pathlib.Path

    async def install(self) -> None:
        """Our CRDs, and wait until they are served."""
        for file in ("edgedevice.yaml", "hubconnection.yaml"):
            body = yaml_files.read(CRDS / file)
            with contextlib.suppress(ApiError):  # it is there
                await self.direct.request("POST", CRD_PATH, body=body, content_type="application/json")
        await until(self._served)

    async def _served(self) -> bool:
        try:
            for where in (HUBS, path("edgeherd.io", "v1alpha1", "edgedevices")):
                await self.direct.request("GET", where)
        except ApiError:
            return False
        return True

    async def uninstall(self, name: str) -> None:
        """Delete a CRD, with all objects of it."""
        await self.direct.request("DELETE", f"{CRD_PATH}/{name}")

    async def create(self, name: str) -> dict[str, Any]:
        """A HubConnection."""
        spec = {
            "hostName": f"{name}.azure-devices.net",
            "auth": {"connectionStringSecretRef": {"name": "hub"}},
            "allowedNamespaces": {"from": "All"},
        }
        body = {"apiVersion": "edgeherd.io/v1alpha1", "kind": "HubConnection", "metadata": {"name": name}, "spec": spec}
        return await self.direct.request("POST", HUBS, body=body, content_type="application/json")

    async def delete(self, name: str) -> None:
        """The same one."""
        await self.direct.request("DELETE", f"{HUBS}/{name}")
