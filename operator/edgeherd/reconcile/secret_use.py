"""Which Secrets a manifest may use for what. Pure.

Whoever may write an EdgeDevice need not be one who may read the Secrets of its namespace, but names both the Secret and the host
where it is used. So a Secret must say itself what it is for: by its type, or by a label that somebody put on it who may
write Secrets.
"""

import dataclasses

from edgeherd.errors import Stalled
from edgeherd.model import Secret

ALLOW_USE = "edgeherd.io/allow-use"
"""The label. 'true' allows a Secret of any type; with any other value a Secret is not used, whatever its type."""

_SSH_AUTH = "kubernetes.io/ssh-auth"
_BASIC_AUTH = "kubernetes.io/basic-auth"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a field uses a Secret for: the types that say so, and the reason of a refusal."""

    field: str
    types: tuple[str, ...]
    reason: str


DEVICE_LOGIN = Use(field="spec.ssh.credentialsSecretRef", types=(_SSH_AUTH, _BASIC_AUTH), reason="SshSecretInvalid")
JUMP_HOST_LOGIN = dataclasses.replace(DEVICE_LOGIN, field="spec.ssh.jumpHost.credentialsSecretRef")
CERTIFICATE = Use(
    field="spec.identity.x509.certificateSecretRef", types=("kubernetes.io/tls",), reason="CertificateSecretInvalid"
)
PROXY_LOGIN = Use(field="spec.runtime.proxy.credentialsSecretRef", types=(_BASIC_AUTH,), reason="ProxySecretInvalid")
REGISTRY_LOGIN = Use(
    field="spec.runtime.agent.registryAuthSecretRef",
    types=("kubernetes.io/dockerconfigjson",),
    reason="RegistrySecretInvalid",
)


def require(secret: Secret, use: Use) -> None:
    """Nothing of a Secret may be used before this. The type that it has is not told: it may be nobody's business.

    Raises:
        Stalled: neither its type nor its label says that it may be used for this.
    """
    label = secret.labels.get(ALLOW_USE)
    if label == "true" or (label is None and secret.type in use.types):
        return
    command = f"kubectl -n {secret.namespace} label secret {secret.name} {ALLOW_USE}=true --overwrite"
    types = " or ".join(f"'{type_}'" for type_ in use.types)
    why = f"is not of type {types}" if label is None else f"has the label '{ALLOW_USE}' with another value than 'true'"
    where = f"Secret '{secret.name}' ({use.field})"
    raise Stalled(use.reason, f"{where} {why}, so it is not used. If it is meant for this, run '{command}'.")


def line(secret: Secret, key: str) -> bytes:
    """A value that is one line, without the line break at its end that `kubectl create secret --from-file` takes along."""
    value = secret.data.get(key, b"")
    return value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value
