"""Which kinds the API has: the built-in ones of this table, and those that CRDs add at run time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeherd_sim.kube.failures import qualified

if TYPE_CHECKING:
    from edgeherd_sim.kube.structural import StructuralSchema
    from edgeherd_sim.kube.typeschema import TypeSchema

_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_NO_COLLECTION = tuple(verb for verb in _ALL_VERBS if verb != "deletecollection")
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """What a CRD's version adds to a kind."""

    schema: Mapping[str, Any]
    structural: "StructuralSchema"
    types: "TypeSchema"
    columns: tuple[Mapping[str, Any], ...] = ()
    selectable: tuple[str, ...] = ()
    deprecation: str = ""
    crd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind in one version, and the resource that serves it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _ALL_VERBS
    status: bool = False
    list_kind: str = ""
    has_generation: bool = False
    unconditional_update: bool = True
    create_on_update: bool = False
    storage: tuple[str, str] = ("", "")
    custom: Custom | None = field(default=None, repr=False)

    @property
    def api_version(self) -> str:
        """As objects write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """As messages write it."""
        return qualified(self.group, self.plural)

    @property
    def stored(self) -> tuple[str, str]:
        """Where the objects are kept: kinds that are views of the same objects share it."""
        return self.storage if self.storage != ("", "") else (self.group, self.plural)


def _built_in(group: str, version: str, kind: str, plural: str, **more: Any) -> Kind:
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        list_kind=f"{kind}List",
        **more,
    )


_RBAC = "rbac.authorization.k8s.io"
CRD_GROUP = "apiextensions.k8s.io"

BUILT_IN: tuple[Kind, ...] = (
    _built_in("", "v1", "ConfigMap", "configmaps", short_names=("cm",)),
    _built_in(
        "", "v1", "Event", "events", short_names=("ev",), create_on_update=True
    ),
    _built_in("", "v1", "LimitRange", "limitranges", short_names=("limits",)),
    _built_in(
        "",
        "v1",
        "Namespace",
        "namespaces",
        namespaced=False,
        short_names=("ns",),
        verbs=_NO_COLLECTION,
        status=True,
    ),
    _built_in("", "v1", "Pod", "pods", short_names=("po",), categories=("all",), status=True, has_generation=True),
    _built_in("", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",), status=True),
    _built_in("", "v1", "Secret", "secrets"),
    _built_in("", "v1", "Service", "services", short_names=("svc",), categories=("all",), status=True),
    _built_in("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",)),
    _built_in(
        CRD_GROUP,
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        status=True,
        has_generation=True,
        unconditional_update=False,
    ),
    _built_in(
        "apps",
        "v1",
        "Deployment",
        "deployments",
        short_names=("deploy",),
        categories=("all",),
        status=True,
        has_generation=True,
    ),
    _built_in(
        "apps",
        "v1",
        "ReplicaSet",
        "replicasets",
        short_names=("rs",),
        categories=("all",),
        status=True,
        has_generation=True,
    ),
    _built_in(
        "coordination.k8s.io", "v1", "Lease", "leases", unconditional_update=False, create_on_update=True
    ),
    _built_in(
        "events.k8s.io",
        "v1",
        "Event",
        "events",
        short_names=("ev",),
        create_on_update=True,
        storage=("", "events"),
    ),
    _built_in(
        "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",), has_generation=True
    ),
    _built_in(
        "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",), status=True,
        has_generation=True,
    ),
    _built_in(_RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
    _built_in(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _built_in(_RBAC, "v1", "Role", "roles"),
    _built_in(_RBAC, "v1", "RoleBinding", "rolebindings"),
)  # fmt: skip


class Kinds:
    """All kinds there are now."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self.changes = 0
        for kind in BUILT_IN:
            self.add(kind)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def add(self, kind: Kind) -> None:
        """Serve a kind, in place of what it was before."""
        self._kinds[kind.group, kind.version, kind.plural] = kind
        self.changes += 1

    def remove_custom(self, crd: str) -> None:
        """Serve the kinds of this CRD no more."""
        gone = [key for key, kind in self._kinds.items() if kind.custom and kind.custom.crd == crd]
        for key in gone:
            del self._kinds[key]
        self.changes += bool(gone)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind behind a path."""
        return self._kinds.get((group, version, plural))

    def built_in(self, group: str, plural: str) -> Kind:
        """A kind that is always there."""
        return next(kind for kind in BUILT_IN if (kind.group, kind.plural) == (group, plural))

    def custom_group(self, group: str) -> bool:
        """Whether a group has no built-in kind, so that a path into it is answered by the web server itself."""
        return all(kind.custom is not None for kind in self if kind.group == group)

    def groups(self) -> dict[str, list[str]]:
        """The versions of each group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for kind in self:
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        return found

    def of_version(self, group: str, version: str) -> list[Kind]:
        """The kinds of one group and version, in the order of their names."""
        return sorted(
            (kind for kind in self if (kind.group, kind.version) == (group, version)), key=lambda kind: kind.plural
        )
