"""The border to the Kubernetes API: dicts of objects become values here, and values become dicts.

No other module sees a raw object.
"""

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

from edgeherd import fitting
from edgeherd.model import (
    FORCE_DELETE,
    RENEW_KEY,
    REQUESTED_AT,
    RUN_CHECK,
    CheckReport,
    Condition,
    DeviceStatus,
    EdgeDevice,
    Finding,
    HubConnection,
    IdentityStatus,
    Origin,
    PlannedChange,
    RuntimeSpec,
    Secret,
    SshTarget,
    Status,
    X509Spec,
)

Body = Mapping[str, Any]


def edge_device(body: Body) -> EdgeDevice:
    """An EdgeDevice from its body. The schema has defaulted and checked it, so required fields are there."""
    meta, spec = body["metadata"], body["spec"]
    identity, annotations = spec.get("identity", {}), meta.get("annotations") or {}
    return EdgeDevice(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        resource_version=meta["resourceVersion"],
        creation=meta["creationTimestamp"],
        deleted_at=meta.get("deletionTimestamp", ""),
        force_delete=annotations.get(FORCE_DELETE, ""),
        finalizers=tuple(meta.get("finalizers", ())),
        requested_at=fitting.request(annotations.get(REQUESTED_AT, "")),
        hub_name=spec["hubRef"]["name"],
        device_id=spec.get("deviceId", meta["name"]),
        enabled=identity.get("status", "Enabled") == "Enabled",
        x509=_x509(identity["x509"]) if identity.get("authentication") == "SelfSignedX509" else None,
        key_in_use=identity.get("keyInUse", "Primary"),
        renew_key=annotations.get(RENEW_KEY, ""),
        check_requested=fitting.request(annotations.get(RUN_CHECK, "")),
        ssh=_ssh_target(spec["ssh"]),
        runtime=_runtime(spec.get("runtime", {})),
        secret_name=spec.get("connectionSecret", {}).get("name", f"{meta['name']}-connection"),
        deletion_policy=spec.get("deletionPolicy"),
        correct_drift=spec.get("driftPolicy", "Correct") == "Correct",
        may_adopt=spec.get("adoptionPolicy", "Never") == "IfExists",
        suspend=spec.get("suspend", False),
        interval_seconds=spec.get("intervalSeconds", 900),
        status=_status(body.get("status", {})),
    )


def _x509(x509: Body) -> X509Spec:
    first, second = x509.get("primaryThumbprint"), x509.get("secondaryThumbprint")
    return X509Spec(
        secret_name=x509.get("certificateSecretRef", {}).get("name"),
        primary_thumbprint=first.upper() if first else None,
        secondary_thumbprint=second.upper() if second else None,
        certificate_path=x509.get("certificatePath"),
        private_key_path=x509.get("privateKeyPath"),
    )


def _ssh_target(ssh: Body) -> SshTarget:
    return SshTarget(
        host=ssh["host"],
        port=ssh.get("port", 22),
        user=ssh["user"],
        secret_name=ssh["credentialsSecretRef"]["name"],
        host_keys=tuple(ssh.get("hostKeys", ())),
        trust_on_first_use=ssh.get("hostKeyPolicy") == "TrustOnFirstUse",
        jump=_ssh_target(ssh["jumpHost"]) if "jumpHost" in ssh else None,
    )


def _runtime(runtime: Body) -> RuntimeSpec:
    agent, proxy, windows = runtime.get("agent", {}), runtime.get("proxy", {}), runtime.get("windows", {})
    return RuntimeSpec(
        dialect=runtime.get("dialect", "Auto"),
        operating_system=runtime.get("operatingSystem", "Linux"),
        config_path=runtime.get("configPath"),
        hostname=runtime.get("hostname"),
        agent_image=agent.get("image"),
        registry_secret_name=agent.get("registryAuthSecretRef", {}).get("name"),
        agent_env=dict(agent.get("env", {})),
        https_proxy=proxy.get("httpsProxy"),
        proxy_secret_name=proxy.get("credentialsSecretRef", {}).get("name"),
        upstream_protocol=proxy.get("upstreamProtocol"),
        dynamic_reprovisioning=runtime.get("dynamicReprovisioning"),
        container_os=windows.get("containerOS", "Windows"),
        initialize_script=windows.get("securityDaemonScriptPath"),
    )


def _condition(item: Body) -> Condition:
    return Condition(
        type=item["type"],
        status=item["status"],
        reason=item["reason"],
        message=item["message"],
        observed_generation=item.get("observedGeneration", 0),
        last_transition_time=item["lastTransitionTime"],
    )


def _status(status: Body) -> Status:
    identity, device = status.get("identity", {}), status.get("device", {})
    return Status(
        observed_generation=status.get("observedGeneration", -1),
        conditions=tuple(_condition(item) for item in status.get("conditions", ())),
        identity=IdentityStatus(
            hub_host_name=identity.get("hubHostName", ""),
            device_id=identity.get("deviceId", ""),
            generation_id=identity.get("generationId", ""),
            etag=identity.get("etag", ""),
            origin=Origin(identity["origin"]) if "origin" in identity else None,
            status=identity.get("status", ""),
        ),
        secret_name=status.get("secretName", ""),
        device=DeviceStatus(
            runtime_version=device.get("runtimeVersion", ""),
            agent_image_version=device.get("agentImageVersion", ""),
            dialect=device.get("dialect", ""),
            config_hash=device.get("configHash", ""),
            applied_generation=device.get("appliedGeneration"),
            host_key_fingerprint=device.get("hostKeyFingerprint", ""),
            jump_host_key_fingerprint=device.get("jumpHostKeyFingerprint", ""),
            rejected_hash=device.get("rejectedHash", ""),
        ),
        check=_check(status["check"]) if "check" in status else None,
        plan=tuple(PlannedChange(**item) for item in status.get("plan", ())),
        last_handled_reconcile_at=status.get("lastHandledReconcileAt", ""),
    )


def _check(check: Body) -> CheckReport:
    return CheckReport(
        handled_at=check["handledAt"],
        verdict=check["verdict"],
        errors=tuple(Finding(id=item["id"], message=item["message"]) for item in check.get("errors", ())),
        warnings=tuple(check.get("warnings", ())),
    )


def hub_connection(body: Body) -> HubConnection:
    """A HubConnection from its body."""
    meta, spec, status = body["metadata"], body["spec"], body.get("status", {})
    secret = spec["auth"].get("connectionStringSecretRef")
    allowed = spec["allowedNamespaces"]
    return HubConnection(
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        host_name=spec["hostName"],
        port=spec.get("port", 443),
        secret_name=secret["name"] if secret else None,
        secret_key=secret.get("key", "connectionString") if secret else "connectionString",
        client_id=spec["auth"].get("workloadIdentity", {}).get("clientId"),
        tenant_id=spec["auth"].get("workloadIdentity", {}).get("tenantId"),
        registry_operations_per_minute=spec.get("budget", {}).get("registryOperationsPerMinute", 50),
        namespace_selector=None if allowed["from"] == "All" else allowed["selector"],
        device_id_pattern=spec.get("deviceIdPattern"),
        allowed_cidrs=tuple(spec.get("allowedCIDRs", ())),
        allowed_ports=tuple(spec.get("allowedPorts", ())),
        allowed_config_paths=tuple(spec.get("allowedConfigPaths", ())),
        adoption_allowed=spec.get("adoption") == "Allowed",
        observed_generation=status.get("observedGeneration", -1),
        conditions=tuple(_condition(item) for item in status.get("conditions", ())),
    )


def secret(body: Body) -> Secret:
    """A Secret from its body."""
    meta = body["metadata"]
    return Secret(
        namespace=meta["namespace"],
        name=meta["name"],
        type=body.get("type", "Opaque"),
        data={key: base64.b64decode(value) for key, value in (body.get("data") or {}).items()},
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        owner_uids=tuple(ref["uid"] for ref in meta.get("ownerReferences", ())),
        resource_version=meta["resourceVersion"],
    )


def condition_bodies(conditions: tuple[Condition, ...]) -> list[dict[str, object]]:
    """Conditions as the API has them, and takes them."""
    return [
        {
            "type": c.type,
            "status": c.status,
            "observedGeneration": c.observed_generation,
            "lastTransitionTime": c.last_transition_time,
            "reason": c.reason,
            "message": c.message,
        }
        for c in fitting.fit_conditions(conditions)
    ]


def _without_blanks(body: dict[str, object]) -> dict[str, object]:
    """Fields that are not known are left out, never written empty."""
    return {key: value for key, value in body.items() if value not in ("", None, {}, [])}


def _check_body(check: CheckReport) -> dict[str, object]:
    return {
        "handledAt": check.handled_at,
        "verdict": check.verdict,
        "errors": [dataclasses.asdict(finding) for finding in check.errors],
        "warnings": list(check.warnings),
    }


def status_body(status: Status) -> dict[str, object]:
    """The status of an EdgeDevice as the API has it, and takes it."""
    status = fitting.fit(status)
    identity, device = status.identity, status.device
    return {
        "conditions": condition_bodies(status.conditions),
        "observedGeneration": status.observed_generation,
        **_without_blanks(
            {
                "identity": _without_blanks(
                    {
                        "hubHostName": identity.hub_host_name,
                        "deviceId": identity.device_id,
                        "generationId": identity.generation_id,
                        "etag": identity.etag,
                        "origin": identity.origin.value if identity.origin else None,
                        "status": identity.status,
                    }
                ),
                "secretName": status.secret_name,
                "device": _without_blanks(
                    {
                        "runtimeVersion": device.runtime_version,
                        "agentImageVersion": device.agent_image_version,
                        "dialect": device.dialect,
                        "configHash": device.config_hash,
                        "appliedGeneration": device.applied_generation,
                        "hostKeyFingerprint": device.host_key_fingerprint,
                        "jumpHostKeyFingerprint": device.jump_host_key_fingerprint,
                        "rejectedHash": device.rejected_hash,
                    }
                ),
                "plan": [_without_blanks(dataclasses.asdict(change)) for change in status.plan],
                "check": _check_body(status.check) if status.check else None,
                "lastHandledReconcileAt": status.last_handled_reconcile_at,
            }
        ),
    }
