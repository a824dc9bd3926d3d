"""The operator's ServiceAccount, with the rights that the manifests give it, under names of this run."""

import dataclasses
import json
import pathlib

import kustomize
import rights
from edgeherd_sim.demo.stage import Kubectl
from kustomize import Body

_TOKEN_LASTS = "24h"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who the operator is, and what it was granted."""

    user: str
    kubeconfig: pathlib.Path
    granted: frozenset[str]
    bodies: tuple[Body, ...]


async def install(
    kubectl: Kubectl,
    folder: pathlib.Path,
    *,
    namespace: str,
    run: str,
    mode: str = "base",
    watched: tuple[str, ...] = (),
) -> Account:
    """Apply the rights of `manifests/base`, or those of `manifests/namespaced` with its part for each watched namespace.

    All other namespaces are those of the manifests; that of the operator is given.
    """
    bodies = _authority(_overlaid(folder / "account", f"manifests/{mode}", namespace, run))
    for name in watched:
        part = _overlaid(folder / f"account-{name}", "manifests/namespaced/watched-namespace", name, run)
        bodies += [_of(body, f"edgeherd-{run}", namespace) for body in _authority(part)]
    await kubectl.apply(*bodies)
    name = f"edgeherd-{run}"
    issued = await kubectl("create", "token", name, "-n", namespace, f"--duration={_TOKEN_LASTS}")
    token = _private(folder / f"{name}.token", issued)
    return Account(
        user=f"system:serviceaccount:{namespace}:{name}",
        kubeconfig=await _kubeconfig(kubectl, folder / f"{name}.kubeconfig", token),
        granted=frozenset(rights.granted(bodies)),
        bodies=tuple(bodies),
    )


async def remove(kubectl: Kubectl, account: Account) -> None:
    """Leave no roles behind."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(account.bodies)}
    await kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(listed))


def _overlaid(folder: pathlib.Path, part: str, namespace: str, run: str) -> list[Body]:
    """As a user's kustomization gives them another namespace and other names; Events of hubs stay in `default`."""
    bodies = kustomize.built(kustomize.overlay(folder, [part], namespace=namespace, nameSuffix=f"-{run}"))
    for body in bodies:
        if body["metadata"]["name"] == f"edgeherd-hub-events-{run}":
            body["metadata"]["namespace"] = "default"
    return bodies


def _authority(bodies: list[Body]) -> list[Body]:
    """The account, and the roles that are bound to it; not those for people."""
    bindings = [body for body in bodies if body["kind"].endswith("Binding")]
    bound = [(body["roleRef"]["kind"], body["roleRef"]["name"]) for body in bindings]
    roles = [body for body in bodies if (body["kind"], body["metadata"]["name"]) in bound]
    return [*kustomize.of_kind(bodies, "ServiceAccount"), *roles, *bindings]


def _of(body: Body, account: str, namespace: str) -> Body:
    """A binding of the account of this run: kustomize renames only what is in the same kustomization."""
    if "subjects" not in body:
        return body
    return {**body, "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]}


async def _kubeconfig(kubectl: Kubectl, file: pathlib.Path, token: pathlib.Path) -> pathlib.Path:
    """The same API server for the owner of a token, which is read from its file."""
    config = json.loads(await kubectl("config", "view", "--minify", "--flatten", "--raw", "-o", "json"))
    config["users"] = [{"name": "operator", "user": {"tokenFile": str(token)}}]
    config["contexts"][0]["context"]["user"] = "operator"
    return _private(file, json.dumps(config))


def _private(file: pathlib.Path, content: str) -> pathlib.Path:
    file.touch(mode=0o600)
    file.write_text(content)
    return file
