"""What the daemon's file shall say, from the spec. Pure."""

from edgeherd import config
from edgeherd.errors import Stalled
from edgeherd.model import EdgeDevice

CERTIFICATE_PATH = "/etc/iotedge/edgeherd/identity.pem"
PRIVATE_KEY_PATH = "/etc/iotedge/edgeherd/identity.key.pem"
"""Where a certificate from a Secret is placed, unless the spec says where."""


def certificate_paths(device: EdgeDevice) -> tuple[str, str]:
    """Where the certificate and the private key of an X.509 device are."""
    x509 = device.x509
    if x509 is None or x509.certificate_path is None or x509.private_key_path is None:
        return CERTIFICATE_PATH, PRIVATE_KEY_PATH
    return x509.certificate_path, x509.private_key_path


def wanted(device: EdgeDevice, host_name: str, connection_string: str) -> config.Wanted:
    """What the daemon's file shall say.

    Raises:
        Stalled: the spec asks for what this version cannot do yet.
    """
    runtime = device.runtime
    unsupported = {
        "spec.runtime.operatingSystem 'Windows'": runtime.operating_system == "Windows",
        "spec.runtime.dialect 'ConfigToml'": runtime.dialect == "ConfigToml",
        "spec.runtime.proxy.httpsProxy": runtime.https_proxy is not None,
        "spec.runtime.agent.registryAuthSecretRef": runtime.registry_secret_name is not None,
    }
    for what, is_set in unsupported.items():
        if is_set:
            raise Stalled("NotSupported", f"{what} is not supported by this version yet. Remove it.")
    env = dict(runtime.agent_env)
    if runtime.upstream_protocol is not None:
        env["UpstreamProtocol"] = runtime.upstream_protocol
    x509 = None
    if device.x509 is not None:
        certificate, private_key = certificate_paths(device)
        x509 = config.X509(
            iothub_hostname=host_name,
            device_id=device.device_id,
            identity_cert=f"file://{certificate}",
            identity_pk=f"file://{private_key}",
        )
    return config.Wanted(
        connection_string=connection_string if x509 is None else None,
        x509=x509,
        dynamic_reprovisioning=runtime.dynamic_reprovisioning,
        hostname=runtime.hostname,
        agent_image=runtime.agent_image,
        agent_env=env,
    )
