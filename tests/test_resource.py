"""No field of a spec is accepted by the API server and then forgotten: each one changes what the operator works with."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeherd import resource
from edgeherd_sim.kube.structural import StructuralSchema

CRDS = Path(__file__).resolve().parent.parent / "crds"
Body = dict[str, Any]

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0mLrC5mYyW3fZ0Xn5n1o0Jm5d3gk0xGm1l2c3d4e5f"
FINGERPRINT = "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDYmyGfLDuWBTMDdvo"
CLIENT, TENANT, OTHER = (f"00000000-0000-0000-0000-{n:012}" for n in range(3))

SMALL = """
hubRef: {name: contoso}
ssh:
  host: 10.0.4.17
  user: edgeops
  credentialsSecretRef: {name: plant-a-ssh}
  jumpHost: {host: 10.0.0.2, user: hop, credentialsSecretRef: {name: hop-ssh}}
"""
FULL = f"""
hubRef: {{name: contoso}}
deviceId: press-07
identity: {{status: Enabled, authentication: SymmetricKey, keyInUse: Primary}}
ssh:
  host: 10.0.4.17
  port: 22
  user: edgeops
  credentialsSecretRef: {{name: plant-a-ssh}}
  hostKeys: [{ED25519}]
  hostKeyPolicy: Pinned
  jumpHost:
    host: 10.0.0.2
    port: 22
    user: hop
    credentialsSecretRef: {{name: hop-ssh}}
    hostKeys: [{ED25519}]
    hostKeyPolicy: Pinned
runtime:
  dialect: ConfigYaml
  operatingSystem: Linux
  configPath: /etc/iotedge/config.yaml
  hostname: press-07
  agent: {{image: agent:1.1, registryAuthSecretRef: {{name: registry}}, env: {{RuntimeLogLevel: debug}}}}
  proxy: {{httpsProxy: 'http://proxy:3128', credentialsSecretRef: {{name: proxy}}, upstreamProtocol: AmqpWs}}
  dynamicReprovisioning: false
connectionSecret: {{name: press-07-connection}}
deletionPolicy: Delete
driftPolicy: Correct
adoptionPolicy: Never
suspend: false
intervalSeconds: 900
"""
PLACED = f"""{SMALL}
identity:
  authentication: SelfSignedX509
  x509: {{certificateSecretRef: {{name: press-07-tls}}, certificatePath: /etc/a.pem, privateKeyPath: /etc/a.key}}
"""
ON_THE_DEVICE = f"""{SMALL}
identity:
  authentication: SelfSignedX509
  x509:
    primaryThumbprint: {"0A" * 20}
    secondaryThumbprint: {"0B" * 20}
    certificatePath: /etc/a.pem
    privateKeyPath: /etc/a.key
"""
WINDOWS = rf"""{SMALL}
runtime:
  operatingSystem: Windows
  windows: {{containerOS: Windows, securityDaemonScriptPath: 'C:\IotEdgeSecurityDaemon.ps1'}}
"""
HUB = """
hostName: contoso.azure-devices.net
port: 443
auth: {connectionStringSecretRef: {name: contoso-hub, key: connectionString}}
budget: {registryOperationsPerMinute: 50}
allowedNamespaces:
  from: Selector
  selector:
    matchLabels: {team: plant-a}
    matchExpressions: [{key: stage, operator: In, values: [test]}]
deviceIdPattern: '{namespace}-*'
allowedCIDRs: [10.0.0.0/16]
allowedPorts: [22]
allowedConfigPaths: [/srv/iotedge/]
adoption: Never
"""
WORKLOAD = f"""
hostName: contoso.azure-devices.net
auth: {{workloadIdentity: {{clientId: {CLIENT}, tenantId: {TENANT}}}}}
allowedNamespaces: {{from: All}}
"""

FIELDS = {
    "EdgeDevice": (
        # What is changed, in which spec, to what; and the one value of the operator that this changes.
        ("hubRef.name", FULL, "fabrikam", "hub_name"),
        ("deviceId", FULL, "press-08", "device_id"),
        ("identity.status", FULL, "Disabled", "enabled"),
        ("identity.authentication", PLACED, "SymmetricKey", "x509"),
        ("identity.keyInUse", FULL, "Secondary", "key_in_use"),
        ("identity.x509.certificateSecretRef.name", PLACED, "other-tls", "x509.secret_name"),
        ("identity.x509.primaryThumbprint", ON_THE_DEVICE, "0C" * 32, "x509.primary_thumbprint"),
        ("identity.x509.secondaryThumbprint", ON_THE_DEVICE, "0C" * 32, "x509.secondary_thumbprint"),
        ("identity.x509.certificatePath", ON_THE_DEVICE, "/etc/b.pem", "x509.certificate_path"),
        ("identity.x509.privateKeyPath", ON_THE_DEVICE, "/etc/b.key", "x509.private_key_path"),
        ("ssh.host", FULL, "10.0.4.18", "ssh.host"),
        ("ssh.port", FULL, 2222, "ssh.port"),
        ("ssh.user", FULL, "root", "ssh.user"),
        ("ssh.credentialsSecretRef.name", FULL, "other-ssh", "ssh.secret_name"),
        ("ssh.hostKeys[]", FULL, FINGERPRINT, "ssh.host_keys"),
        ("ssh.hostKeyPolicy", SMALL, "TrustOnFirstUse", "ssh.trust_on_first_use"),
        ("ssh.jumpHost.host", FULL, "10.0.0.3", "ssh.jump.host"),
        ("ssh.jumpHost.port", FULL, 2222, "ssh.jump.port"),
        ("ssh.jumpHost.user", FULL, "root", "ssh.jump.user"),
        ("ssh.jumpHost.credentialsSecretRef.name", FULL, "other-ssh", "ssh.jump.secret_name"),
        ("ssh.jumpHost.hostKeys[]", FULL, FINGERPRINT, "ssh.jump.host_keys"),
        ("ssh.jumpHost.hostKeyPolicy", SMALL, "TrustOnFirstUse", "ssh.jump.trust_on_first_use"),
        ("runtime.dialect", FULL, "Auto", "runtime.dialect"),
        ("runtime.operatingSystem", SMALL, "Windows", "runtime.operating_system"),
        ("runtime.configPath", FULL, "/etc/other.yaml", "runtime.config_path"),
        ("runtime.hostname", FULL, "press-08", "runtime.hostname"),
        ("runtime.agent.image", FULL, "agent:1.0", "runtime.agent_image"),
        ("runtime.agent.registryAuthSecretRef.name", FULL, "other", "runtime.registry_secret_name"),
        ("runtime.agent.env[]", FULL, "info", "runtime.agent_env.RuntimeLogLevel"),
        ("runtime.proxy.httpsProxy", FULL, "http://other:3128", "runtime.https_proxy"),
        ("runtime.proxy.credentialsSecretRef.name", FULL, "other", "runtime.proxy_secret_name"),
        ("runtime.proxy.upstreamProtocol", FULL, "MqttWs", "runtime.upstream_protocol"),
        ("runtime.windows.containerOS", WINDOWS, "Linux", "runtime.container_os"),
        ("runtime.windows.securityDaemonScriptPath", WINDOWS, "C:\\other.ps1", "runtime.initialize_script"),
        ("runtime.dynamicReprovisioning", FULL, True, "runtime.dynamic_reprovisioning"),
        ("connectionSecret.name", FULL, "other", "secret_name"),
        ("deletionPolicy", FULL, "Retain", "deletion_policy"),
        ("driftPolicy", FULL, "Report", "correct_drift"),
        ("adoptionPolicy", FULL, "IfExists", "may_adopt"),
        ("suspend", FULL, True, "suspend"),
        ("intervalSeconds", FULL, 60, "interval_seconds"),
    ),
    "HubConnection": (
        ("hostName", HUB, "fabrikam.azure-devices.net", "host_name"),
        ("port", HUB, 8443, "port"),
        ("auth.connectionStringSecretRef.name", HUB, "other", "secret_name"),
        ("auth.connectionStringSecretRef.key", HUB, "other", "secret_key"),
        ("auth.workloadIdentity.clientId", WORKLOAD, OTHER, "client_id"),
        ("auth.workloadIdentity.tenantId", WORKLOAD, OTHER, "tenant_id"),
        ("budget.registryOperationsPerMinute", HUB, 60, "registry_operations_per_minute"),
        ("allowedNamespaces.from", HUB, "All", "namespace_selector"),
        ("allowedNamespaces.selector.matchLabels[]", HUB, "plant-b", "namespace_selector.matchLabels.team"),
        ("allowedNamespaces.selector.matchExpressions[].key", HUB, "tier", "namespace_selector.matchExpressions"),
        ("allowedNamespaces.selector.matchExpressions[].operator", HUB, "NotIn", "namespace_selector.matchExpressions"),
        ("allowedNamespaces.selector.matchExpressions[].values[]", HUB, "live", "namespace_selector.matchExpressions"),
        ("deviceIdPattern", HUB, "press-*", "device_id_pattern"),
        ("allowedCIDRs[]", HUB, "10.1.0.0/16", "allowed_cidrs"),
        ("allowedPorts[]", HUB, 2222, "allowed_ports"),
        ("allowedConfigPaths[]", HUB, "/data/config.yaml", "allowed_config_paths"),
        ("adoption", HUB, "Allowed", "adoption_allowed"),
    ),
}
NOT_ALONE = {
    "identity.authentication": "has 'x509' beside it with one value, and must not with the other",
    "allowedNamespaces.from": "has 'selector' beside it with one value, and must not with the other",
}
"""What no API server accepts, because the field beside it must change too; that it is read can be seen all the same."""

SCHEMAS: dict[str, Body] = {
    body["spec"]["names"]["kind"]: body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for body in (yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(CRDS.glob("*.yaml")))
    if body["kind"] == "CustomResourceDefinition"
}
STRUCTURAL = {kind: StructuralSchema(schema) for kind, schema in SCHEMAS.items()}
READ = {"EdgeDevice": resource.edge_device, "HubConnection": resource.hub_connection}


def leaves(schema: Body, path: str = "") -> Iterator[str]:
    """The paths of all values below a schema; `[]` stands for the items of a list or the values of a map."""
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
        return
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from leaves(schema[key], f"{path}[]")
            return
    yield path


def with_value(value: Any, path: list[str], new: Any) -> Any:
    """The value with the one at the path replaced; of a list or map, its first."""
    if not path:
        return new
    name, *below = path
    changed: Any = {} if value is None else copy.copy(value)
    key = name if name != "[]" else 0 if isinstance(changed, list) else next(iter(changed))
    changed[key] = with_value(changed[key] if key == 0 else changed.get(key), below, new)
    return changed


def as_stored(kind: str, spec: Body) -> tuple[Body, list[str]]:
    """The object as the API server stores it, with the defaults; and what it says against it."""
    meta = {"name": "press-07", "namespace": "plant-a", "uid": "u", "generation": 1, "resourceVersion": "1"}
    body: Body = {
        "apiVersion": "edgeherd.io/v1alpha1",
        "kind": kind,
        "metadata": {**meta, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": copy.deepcopy(spec),
    }
    STRUCTURAL[kind].default(body)
    unknown = STRUCTURAL[kind].prune(copy.deepcopy(body))
    return body, [*unknown, *(f"{cause.field}: {cause.message}" for cause in STRUCTURAL[kind].validate(body, None, ""))]


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The paths at which two readings differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from differences(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif old != new:
        yield path


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_of_the_spec_is_in_the_table(kind: str) -> None:
    """A field that is new in the CRD fails here until somebody says what it changes."""
    assert [path for path, *_ in FIELDS[kind]] == list(leaves(SCHEMAS[kind]["properties"]["spec"]))


@pytest.mark.parametrize(
    ("kind", "path", "spec", "value", "field"),
    [pytest.param(kind, *row, id=f"{kind} {row[0]}") for kind, rows in FIELDS.items() for row in rows],
)
def test_a_field_changes_what_the_operator_works_with(kind: str, path: str, spec: str, value: Any, field: str) -> None:
    """That value, and no other: an edit that is accepted has its effect."""
    before = yaml.safe_load(spec)
    after = with_value(before, path.replace("[]", ".[]").split("."), value)
    (old, refused), (new, refused_then) = as_stored(kind, before), as_stored(kind, after)
    assert refused == []
    assert bool(refused_then) is (path in NOT_ALONE), refused_then
    readings = [dataclasses.asdict(READ[kind](body)) for body in (old, new)]
    assert list(differences(*readings)) == [field]
