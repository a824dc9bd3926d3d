"""API servers to apply manifests to, each started once."""

from collections.abc import Iterator

import pytest
from cluster_lab import Cluster

import simulator
from edgeherd_sim.kube import envtest
from kustomize import built


@pytest.fixture(scope="session")
def simulated_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The simulator, which has no rights, no Pods and no controllers but that of garbage."""
    folder = tmp_path_factory.mktemp("simulator")
    with simulator.running(folder) as server:
        yield Cluster(kubeconfig=server.kubeconfig, cache=folder, has_controllers=False)


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """kube-apiserver and kube-controller-manager, with our CRDs; skips where they are not."""
    if not envtest.has_controllers():
        pytest.skip(f"{envtest.ASSETS} names no folder with kube-apiserver and kube-controller-manager")
    with envtest.start(controllers=True) as server:
        cluster = Cluster(kubeconfig=server.kubeconfig, cache=tmp_path_factory.mktemp("real"), has_controllers=True)
        cluster.kubectl("apply", "-f", "-", send=built("crds"))
        with envtest.managed(server):
            yield cluster
