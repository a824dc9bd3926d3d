"""Who may do what, as a real API server judges it, with the manifests applied to it."""

import dataclasses
import pathlib
from collections.abc import Iterable

import pytest
from cluster_lab import Cluster

import waiting
from kustomize import Body, built, of_kind, overlay

WATCHED, OTHER = "plant-a", "plant-b"
OPERATOR = "system:serviceaccount:edgeherd-system:edgeherd"
WRITE = ("create", "update", "patch", "delete", "deletecollection")
READ = ("get", "list", "watch")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whether somebody may do something; without a namespace, in all of them."""

    who: str
    verb: str
    resource: str
    namespace: str = ""
    name: str = ""

    def review(self) -> Body:
        """As `kubectl auth can-i --as` asks it."""
        path, _, subresource = (
            self.resource.rpartition("/") if self.resource.count("/") == 2 else (self.resource, "", "")
        )
        group, _, plural = path.rpartition("/")
        attributes = {
            "verb": self.verb,
            "group": group,
            "resource": plural,
            "subresource": subresource,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self.who, "resourceAttributes": attributes},
        }


def questions(who: str, verbs: Iterable[str], *resources: str, namespace: str = "", name: str = "") -> set[Question]:
    """One for each verb and resource."""
    return {
        Question(who=who, verb=verb, resource=resource, namespace=namespace, name=name)
        for verb in verbs
        for resource in resources
    }


def allowed(cluster: Cluster, asked: set[Question]) -> set[Question]:
    """Those that the server answers with yes, all asked in one call of kubectl."""
    order = sorted(asked, key=str)
    answers = cluster.objects("create", "-f", "-", send=[question.review() for question in order])
    assert len(answers) == len(order)
    return {question for question, answer in zip(order, answers, strict=True) if answer["status"]["allowed"]}


DEVICES, HUBS, SECRETS = "edgeherd.io/edgedevices", "edgeherd.io/hubconnections", "secrets"
OF_A_NAMESPACE = {
    "yes": (
        *((verb, DEVICES) for verb in (*READ, "patch")),
        ("patch", f"{DEVICES}/status"),
        ("update", f"{DEVICES}/finalizers"),
        *((verb, SECRETS) for verb in ("get", "create", "patch", "delete")),
        ("create", "events"),
        ("patch", "events"),
    ),
    "no": (
        *((verb, DEVICES) for verb in ("create", "update", "delete", "deletecollection")),
        *((verb, SECRETS) for verb in ("list", "watch", "update", "deletecollection")),
        ("get", "pods"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("create", "serviceaccounts/token"),
        ("get", "configmaps"),
        ("create", "rbac.authorization.k8s.io/rolebindings"),
    ),
}


def of_the_operator(answer: str, namespace: str) -> set[Question]:
    """What the operator may, or may not, in a namespace that it serves."""
    return {
        Question(who=OPERATOR, verb=verb, resource=resource, namespace=namespace)
        for verb, resource in OF_A_NAMESPACE[answer]
    }


LEASES = "coordination.k8s.io/leases"


def on_leases() -> tuple[set[Question], set[Question]]:
    """What the operator may with its Lease, and may not with others."""
    own = {"namespace": "edgeherd-system", "name": "edgeherd"}
    yes = questions(OPERATOR, ("get", "update"), LEASES, **own)
    no = questions(OPERATOR, ("delete", "patch", "list", "watch"), LEASES, **own)
    no |= questions(OPERATOR, ("get", "create", "update"), LEASES, namespace="kube-system", name="kube-scheduler")
    return yes, no


def test_the_operator_s_rights_in_the_whole_cluster(real_cluster: Cluster) -> None:
    """In every namespace what it needs, and nothing else."""
    yes = of_the_operator("yes", WATCHED) | of_the_operator("yes", "kube-system")
    yes |= questions(OPERATOR, (*READ, "patch"), HUBS) | questions(OPERATOR, ("list", "watch"), DEVICES)
    yes |= questions(OPERATOR, ("get",), "namespaces", namespace=WATCHED, name=WATCHED)
    no = of_the_operator("no", WATCHED) | questions(OPERATOR, WRITE[:2], HUBS) | questions(OPERATOR, READ[1:], SECRETS)
    no |= questions(OPERATOR, ("list", "watch", "create", "patch", "delete"), "namespaces")
    leases, no_leases = on_leases()
    with real_cluster.applied(authority("manifests/base")):
        assert allowed(real_cluster, yes | no | leases | no_leases) == yes | leases


def test_the_operator_s_rights_in_the_namespaces_that_it_is_given(real_cluster: Cluster) -> None:
    """None anywhere else, but on the hubs, their Secrets and their Events."""
    yes = of_the_operator("yes", WATCHED) | questions(OPERATOR, (*READ, "patch"), HUBS)
    yes |= questions(OPERATOR, ("get",), "namespaces", namespace=WATCHED, name=WATCHED)
    yes |= questions(OPERATOR, ("get",), SECRETS, namespace="edgeherd-system")
    yes |= questions(OPERATOR, ("create", "patch"), "events", namespace="default")
    no = of_the_operator("no", WATCHED)
    no |= of_the_operator("yes", OTHER) | of_the_operator("yes", "kube-system") | of_the_operator("yes", "")
    no |= questions(OPERATOR, ("create", "patch", "delete", "list"), SECRETS, namespace="edgeherd-system")
    no |= questions(OPERATOR, ("get",), "namespaces", namespace=OTHER, name=OTHER)
    no |= questions(OPERATOR, ("get", "create"), SECRETS, namespace="default")
    watched = in_namespace(built("manifests/namespaced/watched-namespace"), WATCHED)
    bodies = [*authority("manifests/namespaced"), namespace(WATCHED), *watched]
    leases, no_leases = on_leases()
    with real_cluster.applied(bodies):
        assert allowed(real_cluster, yes | no | leases | no_leases) == yes | leases


def authority(folder: str | pathlib.Path) -> list[Body]:
    """Of what a folder builds, that which says who may do what."""
    return [
        body
        for body in built(folder)
        if body["kind"] in {"Namespace", "ServiceAccount"} or "rbac" in body["apiVersion"]
    ]


def namespace(name: str) -> Body:
    """An empty namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def in_namespace(bodies: list[Body], name: str) -> list[Body]:
    """As `kubectl -n NAME apply` takes them."""
    return [{**body, "metadata": {"namespace": name, **body["metadata"]}} for body in bodies]


def binding(user: str, role: str, where: str = "") -> Body:
    """A user who has a ClusterRole, in one namespace or in the cluster."""
    kind = "RoleBinding" if where else "ClusterRoleBinding"
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": user, **({"namespace": where} if where else {})},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def test_teams_have_the_edgedevices_of_their_namespace(real_cluster: Cluster) -> None:
    """By the roles that they have: who may view sees, who may edit writes, nobody writes a status; hubs are apart."""
    people = {"viewer": "view", "editor": "edit", "owner": "admin"}
    writers = [user for user in people if user != "viewer"]
    yes = {one for user in people for one in questions(user, READ, DEVICES, namespace=WATCHED)}
    yes |= {one for user in writers for one in questions(user, WRITE, DEVICES, namespace=WATCHED)}
    yes |= questions("hub-admin", (*READ, *WRITE), HUBS)
    no = questions("viewer", WRITE, DEVICES, namespace=WATCHED)
    no |= {one for user in people for one in questions(user, READ, DEVICES, namespace=OTHER)}
    no |= {
        one for user in (*people, "hub-admin") for one in questions(user, WRITE, f"{DEVICES}/status", namespace=WATCHED)
    }
    no |= {one for user in people for one in questions(user, (*READ, *WRITE), HUBS)}
    no |= questions("hub-admin", WRITE, f"{HUBS}/status")
    bindings = [binding(user, role, WATCHED) for user, role in people.items()]
    bindings.append(binding("hub-admin", "edgeherd-hubconnection-admin"))
    with real_cluster.applied([*authority("manifests/base"), namespace(WATCHED), *bindings]):
        waiting.wait_until(lambda: allowed(real_cluster, yes) == yes)  # a controller adds them to the cluster's roles
        assert allowed(real_cluster, no) == set()


@pytest.mark.parametrize("component", ["watch-secrets", "watch-secrets-namespaced"])
def test_the_operator_lists_secrets_where_it_may(real_cluster: Cluster, tmp_path: pathlib.Path, component: str) -> None:
    """Everywhere, or in the watched namespace."""
    part = f"manifests/components/{component}"
    if component == "watch-secrets":
        bodies = authority(overlay(tmp_path, ["manifests/base"], [part]))
        yes, no = questions(OPERATOR, ("list",), SECRETS), questions(OPERATOR, ("watch",), SECRETS)
    else:
        own = built(overlay(tmp_path, ["manifests/namespaced/watched-namespace"], [part], namespace=WATCHED))
        bodies = [*authority("manifests/namespaced"), namespace(WATCHED), *own]
        yes, no = questions(OPERATOR, ("list",), SECRETS, namespace=WATCHED), questions(OPERATOR, ("list",), SECRETS)
    with real_cluster.applied(bodies):
        assert allowed(real_cluster, yes | no) == yes


@pytest.mark.parametrize(
    ("without", "refusal"),
    [
        ("edgedevices/finalizers", "cannot set blockOwnerDeletion"),
        ("delete", "cannot set an ownerRef on a resource you can't delete"),
    ],
)
def test_rights_that_only_admission_asks_for(real_cluster: Cluster, without: str, refusal: str) -> None:
    """An ownerless connection Secret can be taken over with the manifests' rights, and not without either of these two."""
    bodies = [*built("crds"), *authority("manifests/base"), namespace(WATCHED)]
    device = {
        "apiVersion": "edgeherd.io/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": "press-01", "namespace": WATCHED},
        "spec": of_kind(built("manifests/samples"), "EdgeDevice")[0]["spec"],
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken-over", "namespace": WATCHED}}
    with real_cluster.applied(bodies), real_cluster.applied([device, secret]):
        (stored,) = real_cluster.objects("get", "-f", "-", send=[device])
        owner = {
            "apiVersion": "edgeherd.io/v1alpha1",
            "kind": "EdgeDevice",
            "name": "press-01",
            "uid": stored["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        owned = {**secret, "metadata": {**secret["metadata"], "ownerReferences": [owner]}}
        take_over = (
            "apply",
            "--server-side",
            "--field-manager=edgeherd",
            f"--as={OPERATOR}",
            "--dry-run=server",
            "-f",
            "-",
        )
        assert "taken-over" in real_cluster.kubectl(*take_over, send=[owned])
        (role,) = [body for body in of_kind(bodies, "ClusterRole") if body["metadata"]["name"] == "edgeherd"]
        real_cluster.kubectl("apply", "-f", "-", send=[lacking(role, without)])
        waiting.wait_until(lambda: refusal in real_cluster.run(*take_over, send=[owned]).stderr.decode())


def lacking(role: Body, what: str) -> Body:
    """A role without a resource or a verb."""
    rules = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != what]}
        for rule in role["rules"]
        if rule["resources"] != [what]
    ]
    return {**role, "rules": rules}
