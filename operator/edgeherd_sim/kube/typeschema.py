"""What merges and field managers must know of a kind: which lists are maps or sets, and what is taken as a whole."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

Schema = Mapping[str, Any]


class Shape(enum.Enum):
    """What a value is, as far as merges care."""

    SCALAR = enum.auto()
    LIST = enum.auto()
    MAP = enum.auto()


class Relation(enum.Enum):
    """How the parts of a list or map belong together."""

    ATOMIC = enum.auto()
    ASSOCIATIVE = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSchema:
    """The type of one place. Without a shape it is what the value is: maps merge, lists are replaced."""

    shape: Shape | None = None
    scalar: str = ""
    """`string`, `boolean` or `numeric`; empty for any."""
    relation: Relation = Relation.ASSOCIATIVE
    fields: Mapping[str, "TypeSchema"] = field(default_factory=dict)
    inner: "TypeSchema | None" = None
    """The type of the items of a list, and of the values of a map beyond its fields."""
    keys: tuple[str, ...] = ()
    """What tells the items of a list apart; a list without keys is a set."""
    default: Any = None
    """What a key is when it is left out."""
    open: bool = False
    """Whether there are fields that are not listed here."""
    has_status: bool = True
    """Whether writes to the object itself leave its status alone."""
    blank: Mapping[str, Any] = field(default_factory=dict)
    """What is there before anything is set: Go's structures are never absent, so nobody comes to own them."""

    @property
    def is_any(self) -> bool:
        """Whether nothing is known."""
        return self.shape is None

    def shape_of(self, value: Any) -> Shape:
        """How a value of this type is walked."""
        if self.shape is not None:
            return self.shape
        if isinstance(value, list):
            return Shape.LIST
        return Shape.MAP if value is None or isinstance(value, dict) else Shape.SCALAR

    def child(self, name: str) -> "TypeSchema | None":
        """The type of a field; None when there is no such field."""
        if self.is_any:
            return ANY
        return self.fields.get(name) or self.inner or (ANY if self.open else None)

    def names(self, name: str) -> bool:
        """Whether the type itself names the field, and not the user."""
        return name in self.fields or (self.open and self.inner is None)


ANY: Final = TypeSchema()
_STRING: Final = TypeSchema(shape=Shape.SCALAR, scalar="string")
_NUMBER: Final = TypeSchema(shape=Shape.SCALAR, scalar="numeric")
_BOOLEAN: Final = TypeSchema(shape=Shape.SCALAR, scalar="boolean")
_UNTYPED: Final = TypeSchema(shape=Shape.SCALAR)


def _struct(*, is_open: bool = False, **fields: TypeSchema) -> TypeSchema:
    return TypeSchema(shape=Shape.MAP, fields=fields, open=is_open)


def _map_of(inner: TypeSchema) -> TypeSchema:
    return TypeSchema(shape=Shape.MAP, inner=inner)


def _list_of(inner: TypeSchema, *keys: str) -> TypeSchema:
    """A list whose items have keys; without keys a set."""
    return TypeSchema(shape=Shape.LIST, inner=inner, keys=keys)


def _atomic(inner: TypeSchema = ANY) -> TypeSchema:
    return TypeSchema(shape=Shape.LIST, inner=inner, relation=Relation.ATOMIC)


def _keyed(*keys: str, **fields: TypeSchema) -> TypeSchema:
    """A list of structures whose keys are strings, where the fields do not say otherwise."""
    return _list_of(_struct(is_open=True, **(dict.fromkeys(keys, _STRING) | fields)), *keys)


_LABELS: Final = _map_of(_STRING)
_ATOMIC_MAP: Final = TypeSchema(shape=Shape.MAP, inner=ANY, relation=Relation.ATOMIC)
_METADATA: Final = _struct(
    annotations=_LABELS,
    creationTimestamp=_STRING,
    deletionGracePeriodSeconds=_NUMBER,
    deletionTimestamp=_STRING,
    finalizers=_list_of(_STRING),
    generateName=_STRING,
    generation=_NUMBER,
    labels=_LABELS,
    managedFields=_atomic(),
    name=_STRING,
    namespace=_STRING,
    ownerReferences=_list_of(
        TypeSchema(
            shape=Shape.MAP,
            relation=Relation.ATOMIC,
            fields={"apiVersion": _STRING, "kind": _STRING, "name": _STRING, "uid": _STRING}
            | {"controller": _BOOLEAN, "blockOwnerDeletion": _BOOLEAN},
        ),
        "uid",
    ),
    resourceVersion=_STRING,
    selfLink=_STRING,
    uid=_STRING,
)
_CONDITIONS: Final = _keyed("type")
_SELECTOR: Final = TypeSchema(shape=Shape.MAP, inner=ANY, relation=Relation.ATOMIC)
_PORT: Final = _keyed(
    "containerPort",
    "protocol",
    containerPort=_NUMBER,
    protocol=TypeSchema(shape=Shape.SCALAR, scalar="string", default="TCP"),
)
_CONTAINERS: Final = _keyed(
    "name",
    args=_atomic(_STRING),
    command=_atomic(_STRING),
    env=_keyed("name", valueFrom=ANY),
    envFrom=_atomic(),
    image=_STRING,
    ports=_PORT,
    resources=_struct(is_open=True, limits=_map_of(_UNTYPED), requests=_map_of(_UNTYPED), claims=_keyed("name")),
    volumeDevices=_keyed("devicePath"),
    volumeMounts=_keyed("mountPath"),
)
_POD_SPEC: Final = _struct(
    is_open=True,
    containers=_CONTAINERS,
    ephemeralContainers=_CONTAINERS,
    hostAliases=_keyed("ip"),
    imagePullSecrets=_keyed("name"),
    initContainers=_CONTAINERS,
    nodeSelector=_ATOMIC_MAP,
    securityContext=_struct(is_open=True, sysctls=_atomic()),
    tolerations=_atomic(),
    topologySpreadConstraints=_keyed("topologyKey", "whenUnsatisfiable"),
    volumes=_keyed("name"),
)
_TEMPLATE: Final = _struct(metadata=_METADATA, spec=_POD_SPEC)
_WORKLOAD: Final = _struct(
    is_open=True,
    replicas=_NUMBER,
    selector=_SELECTOR,
    strategy=_struct(is_open=True, rollingUpdate=_struct(is_open=True)),
    template=_TEMPLATE,
    volumeClaimTemplates=_atomic(),
)
_STATUS: Final = _struct(is_open=True, conditions=_CONDITIONS)
_SERVICE: Final = _struct(
    is_open=True,
    clusterIPs=_atomic(_STRING),
    externalIPs=_atomic(_STRING),
    ports=_keyed("port", "protocol", port=_NUMBER, protocol=_PORT.inner.fields["protocol"] if _PORT.inner else _STRING),
    selector=_ATOMIC_MAP,
)
_REFERENCE: Final = TypeSchema(shape=Shape.MAP, inner=ANY, relation=Relation.ATOMIC)
_RULES: Final = _atomic()

_KINDS: Final[Mapping[tuple[str, str], Mapping[str, TypeSchema]]] = {
    ("v1", "ConfigMap"): {"data": _LABELS, "binaryData": _LABELS, "immutable": _BOOLEAN},
    ("v1", "Secret"): {"data": _LABELS, "stringData": _LABELS, "type": _STRING, "immutable": _BOOLEAN},
    ("v1", "Namespace"): {"spec": _struct(finalizers=_atomic(_STRING)), "status": _STATUS},
    ("v1", "Pod"): {"spec": _POD_SPEC, "status": _STATUS},
    ("v1", "Service"): {"spec": _SERVICE, "status": _STATUS},
    ("v1", "ServiceAccount"): {
        "automountServiceAccountToken": _BOOLEAN,
        "imagePullSecrets": _atomic(),
        "secrets": _keyed("name"),
    },
    ("apps/v1", "Deployment"): {"spec": _WORKLOAD, "status": _STATUS},
    ("apps/v1", "StatefulSet"): {"spec": _WORKLOAD, "status": _STATUS},
    ("apps/v1", "DaemonSet"): {"spec": _WORKLOAD, "status": _STATUS},
    ("apps/v1", "ReplicaSet"): {"spec": _WORKLOAD, "status": _STATUS},
    ("coordination.k8s.io/v1", "Lease"): {
        "spec": _struct(
            acquireTime=_STRING,
            holderIdentity=_STRING,
            leaseDurationSeconds=_NUMBER,
            leaseTransitions=_NUMBER,
            preferredHolder=_STRING,
            renewTime=_STRING,
            strategy=_STRING,
        )
    },
    ("rbac.authorization.k8s.io/v1", "Role"): {"rules": _RULES},
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): {"rules": _RULES, "aggregationRule": ANY},
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): {"roleRef": _REFERENCE, "subjects": _RULES},
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): {"roleRef": _REFERENCE, "subjects": _RULES},
}
_OPEN: Final[Mapping[tuple[str, str], Mapping[str, TypeSchema]]] = {
    ("v1", "Event"): {
        "involvedObject": _REFERENCE,
        "source": _struct(is_open=True),
        "series": _struct(is_open=True),
    },
    ("events.k8s.io/v1", "Event"): {"regarding": _REFERENCE, "related": _REFERENCE, "series": _struct(is_open=True)},
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): {
        "spec": _struct(
            is_open=True,
            names=_struct(is_open=True, categories=_atomic(), shortNames=_atomic()),
            versions=_keyed("name"),
        ),
        "status": _STATUS,
    },
}


_WORKLOAD_BLANK: Final[Mapping[str, Any]] = {
    "spec": {"template": {"metadata": {}, "spec": {}}, "strategy": {}, "updateStrategy": {}},
    "status": {},
}
_BLANK: Final[Mapping[str, Mapping[str, Any]]] = {
    "Namespace": {"spec": {}, "status": {}},
    "Pod": {"spec": {}, "status": {}},
    "Service": {"spec": {}, "status": {"loadBalancer": {}}},
    "Lease": {"spec": {}},
    "Deployment": _WORKLOAD_BLANK,
    "StatefulSet": _WORKLOAD_BLANK,
    "DaemonSet": _WORKLOAD_BLANK,
    "ReplicaSet": _WORKLOAD_BLANK,
    "CustomResourceDefinition": {"spec": {"names": {}}, "status": {"acceptedNames": {}}},
    "Event": {"involvedObject": {}, "regarding": {}, "source": {}, "deprecatedSource": {}},
    "RoleBinding": {"roleRef": {}},
    "ClusterRoleBinding": {"roleRef": {}},
}


def schema_for(api_version: str, kind: str) -> TypeSchema:
    """The type of a built-in kind; of one that is not in the table only the metadata is known."""
    known = _KINDS.get((api_version, kind))
    fields = known or _OPEN.get((api_version, kind), {})
    common = {"apiVersion": _STRING, "kind": _STRING, "metadata": _METADATA}
    blank = _BLANK.get(kind, {}) if fields else {}
    return replace(_struct(is_open=known is None, **(common | dict(fields))), blank=blank)


def from_crd(schema: Schema, *, has_status: bool = True) -> TypeSchema:
    """The type of a custom resource, from its version's `openAPIV3Schema`."""
    found = _from(schema)
    fields = dict(found.fields) | {"apiVersion": _STRING, "kind": _STRING, "metadata": _METADATA}
    return TypeSchema(shape=Shape.MAP, fields=fields, inner=found.inner, open=found.open, has_status=has_status)


_SCALARS: Final = {"string": "string", "integer": "numeric", "number": "numeric", "boolean": "boolean"}


def _from(schema: Schema) -> TypeSchema:
    default = schema.get("default")
    if schema.get("x-kubernetes-int-or-string"):
        return TypeSchema(shape=Shape.SCALAR, default=default)
    kind = schema.get("type", "")
    if kind == "object":
        return _from_object(schema)
    if kind == "array":
        found = schema.get("x-kubernetes-list-type", "atomic")
        relation = Relation.ATOMIC if found == "atomic" else Relation.ASSOCIATIVE
        keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        return TypeSchema(shape=Shape.LIST, inner=_from(schema.get("items", {})), relation=relation, keys=keys)
    if kind in _SCALARS:
        return TypeSchema(shape=Shape.SCALAR, scalar=_SCALARS[kind], default=default)
    return ANY


def _from_object(schema: Schema) -> TypeSchema:
    fields = {name: _from(item) for name, item in schema.get("properties", {}).items()}
    additional = schema.get("additionalProperties")
    inner = _from(additional) if isinstance(additional, Mapping) else None
    keeps = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if (keeps or additional is True) and not fields and inner is None:
        return ANY
    relation = Relation.ATOMIC if schema.get("x-kubernetes-map-type") == "atomic" else Relation.ASSOCIATIVE
    return TypeSchema(
        shape=Shape.MAP, fields=fields, inner=inner or (ANY if keeps else None), relation=relation, open=False
    )
