"""The values that flow through the operator: frozen, and free of any library's types.

Dicts of the Kubernetes API stop in `resource.py`; replies of the hub in `hub/azure.py`; output of devices in
`device/facts.py`.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import NamedTuple

GROUP = "edgeherd.io"
VERSION = "v1alpha1"
FINALIZER = "edgeherd.io/identity"
FORCE_DELETE = "edgeherd.io/force-delete"
REQUESTED_AT = "reconcile.edgeherd.io/requestedAt"
RENEW_KEY = "edgeherd.io/renew-key"
RUN_CHECK = "edgeherd.io/run-check"
SECRET_TYPE = "edgeherd.io/device-connection"  # noqa: S105 - the type of a Secret, not its content
KNOWN_HOSTS_TYPE = "edgeherd.io/known-hosts"


class Key(NamedTuple):
    """Which object a pass is about. `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str


class Priority(enum.IntEnum):
    """What goes first in the work queue: deletions, then what a user changed, then looking for drift."""

    DELETE = 0
    CHANGE = 1
    DRIFT = 2


class Origin(enum.StrEnum):
    """Where an identity came from: it decides what deletion does by default."""

    CREATED = "Created"
    ADOPTED = "Adopted"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One aspect of the state, as metav1.Condition has it. `status` is 'True', 'False' or 'Unknown'."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int = 0
    last_transition_time: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """How a device, or its jump host, is reached: `spec.ssh`, `spec.ssh.jumpHost`."""

    host: str
    port: int
    user: str
    secret_name: str
    host_keys: tuple[str, ...]
    trust_on_first_use: bool
    jump: "SshTarget | None" = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """What the daemon's file shall say: `spec.runtime`. None means that the device's own value stays."""

    dialect: str
    operating_system: str
    config_path: str | None
    hostname: str | None
    agent_image: str | None
    registry_secret_name: str | None
    agent_env: Mapping[str, str]
    https_proxy: str | None
    proxy_secret_name: str | None
    upstream_protocol: str | None
    dynamic_reprovisioning: bool | None
    container_os: str
    """What a fresh Windows device is initialised for: 'Windows' or 'Linux' containers."""
    initialize_script: str | None
    """Where IotEdgeSecurityDaemon.ps1 is on a Windows device without the module."""

    @property
    def on_windows(self) -> bool:
        """Whether the device runs Windows."""
        return self.operating_system == "Windows"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class X509Spec:
    """A self-signed certificate: `spec.identity.x509`. Either a Secret with it, or thumbprints of one on the device."""

    secret_name: str | None
    primary_thumbprint: str | None
    secondary_thumbprint: str | None
    certificate_path: str | None
    private_key_path: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IdentityStatus:
    """What is known of the identity in the hub: `status.identity`."""

    hub_host_name: str = ""
    device_id: str = ""
    generation_id: str = ""
    etag: str = ""
    origin: Origin | None = None
    status: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that `iotedge check` found, in our own words."""

    id: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What `iotedge check` said when it was last asked for: `status.check`. Nothing of it is the device's own text."""

    handled_at: str
    """The annotation's value that it answers."""
    verdict: str
    """'Passed', 'Failed', or 'Unavailable' where the device's runtime has no check."""
    errors: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """What was found on the device: `status.device`."""

    runtime_version: str = ""
    agent_image_version: str = ""
    """As the tag of the image has it that edgeAgent runs with; empty where nobody can tell."""
    dialect: str = ""
    config_hash: str = ""
    applied_generation: int | None = None
    host_key_fingerprint: str = ""
    jump_host_key_fingerprint: str = ""
    rejected_hash: str = ""
    """The hash of a file that the daemon refused; it is not tried again."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """One change that is held back by `driftPolicy: Report`: an item of `status.plan`. Secrets in values are masked."""

    path: str
    action: str
    restart: str
    before: str = ""
    after: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole status of an EdgeDevice. It can be rebuilt from hub, Secret and device."""

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()
    identity: IdentityStatus = IdentityStatus()
    secret_name: str = ""
    device: DeviceStatus = DeviceStatus()
    plan: tuple[PlannedChange, ...] = ()
    check: CheckReport | None = None
    last_handled_reconcile_at: str = ""

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if there is one."""
        return next((c for c in self.conditions if c.type == type_), None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EdgeDevice:
    """One EdgeDevice as the API server has it now."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    creation: str
    deleted_at: str
    """When deletion was asked for; empty while the object is to stay."""
    force_delete: str
    finalizers: tuple[str, ...]
    requested_at: str
    hub_name: str
    device_id: str
    enabled: bool
    x509: X509Spec | None
    """None: the device authenticates with symmetric keys."""
    key_in_use: str
    renew_key: str
    """Which key somebody asked to renew: 'Primary', 'Secondary', or empty."""
    check_requested: str
    """The annotation that asks for `iotedge check`; another value asks again."""
    ssh: SshTarget
    runtime: RuntimeSpec
    secret_name: str
    deletion_policy: str | None
    correct_drift: bool
    may_adopt: bool
    suspend: bool
    interval_seconds: int
    status: Status

    @property
    def key(self) -> Key:
        """The work queue's name of this object."""
        return Key("EdgeDevice", self.namespace, self.name)

    @property
    def deleting(self) -> bool:
        """Whether deletion was asked for."""
        return bool(self.deleted_at)

    @property
    def known_hosts_name(self) -> str:
        """The Secret that remembers host keys of first use."""
        return f"{self.name}-known-hosts"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubConnection:
    """One HubConnection: which hub, whose credential, and what it may be used for."""

    name: str
    uid: str
    generation: int
    host_name: str
    port: int
    secret_name: str | None
    secret_key: str
    client_id: str | None
    """Of the workload identity, if another than that of the environment; only without `secret_name`."""
    tenant_id: str | None
    registry_operations_per_minute: int
    namespace_selector: Mapping[str, object] | None
    device_id_pattern: str | None
    allowed_cidrs: tuple[str, ...]
    allowed_ports: tuple[int, ...]
    allowed_config_paths: tuple[str, ...]
    adoption_allowed: bool
    observed_generation: int
    conditions: tuple[Condition, ...]

    @property
    def key(self) -> Key:
        """The work queue's name of this object."""
        return Key("HubConnection", "", self.name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret of the cluster. Its data never shows in a repr."""

    namespace: str
    name: str
    type: str
    data: Mapping[str, bytes] = dataclasses.field(repr=False)
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_uids: tuple[str, ...]
    resource_version: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The two symmetric keys of an identity, base64. They never show in a repr."""

    primary: str = dataclasses.field(repr=False)
    secondary: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thumbprints:
    """The SHA-1 or SHA-256 thumbprints of one or two certificates: 40 or 64 hex digits, upper case."""

    primary: str
    secondary: str | None


Credentials = Keys | Thumbprints
"""How an identity proves itself to the hub."""
