"""From a device's own file, and its identity in the hub, to what its manifest must say to leave both as they are. Pure."""

from edgeherd import config
from edgeherd.device.facts import Facts
from edgeherd.hub.port import Identity
from edgeherd.hubtool.manifests import Certificate, Found, usable_id
from edgeherd.model import Keys, Thumbprints


class NotImportableError(ValueError):
    """No EdgeDevice would leave the device as it is; the text says why, and what to do."""


def content(facts: Facts) -> tuple[bytes, config.Version]:
    """The daemon's file, and the version that reads it.

    Raises:
        NotImportableError: there is no runtime, or no file.
    """
    if not facts.version:
        raise NotImportableError("it has no IoT Edge runtime ('iotedge version' fails)")
    if facts.kind != "file" or facts.content is None:
        raise NotImportableError(
            f"its file {facts.path} is not there or cannot be read; a device that was never set up needs no import"
        )
    return facts.content[: config.MAX_BYTES + 1], config.Version.parse(facts.version)


def loaded(said: bytes, version: config.Version) -> config.Settings:
    """What the daemon understands of its file. Runs in a worker.

    Raises:
        ConfigError: the daemon would refuse it.
    """
    return config.load(said, version=version)


def device_id(settings: config.Settings, host_name: str) -> str:
    """Who the device is, in the hub of that name.

    Raises:
        NotImportableError: it is of another hub, or set up in a way that an EdgeDevice has no word for.
    """
    if settings.x509 is not None:
        host, found = settings.x509.iothub_hostname, settings.x509.device_id
    elif settings.connection_string:
        try:
            parsed = config.parse_connection_string(settings.connection_string)
        except config.ConnectionStringError as exc:
            raise NotImportableError(f"in its file: {exc}") from None
        host, found = parsed.host_name, parsed.device_id
    else:
        how = settings.source or "nothing"
        raise NotImportableError(
            f"it is provisioned by '{how}'; an EdgeDevice knows keys and certificates in files, with source 'manual'"
        )
    if host.lower() != host_name.lower():
        raise NotImportableError(f"its file is for hub '{host}'; the HubConnection is to '{host_name}'")
    if not usable_id(found):
        raise NotImportableError(f"its id {found!r} has a character that an EdgeDevice cannot have")
    return found


def found(settings: config.Settings, identity: Identity, *, config_path: str = "") -> Found:
    """What the manifest must say.

    Raises:
        NotImportableError: hub and file do not agree.
    """
    certificate, key_in_use = None, ""
    if settings.x509 is not None:
        certificate = _certificate(settings.x509, identity)
    else:
        key_in_use = _key_in_use(config.parse_connection_string(settings.connection_string), identity)
    return Found(
        device_id=identity.device_id,
        enabled=identity.enabled,
        certificate=certificate,
        key_in_use=key_in_use,
        config_path=config_path,
    )


def _key_in_use(connection: config.ConnectionString, identity: Identity) -> str:
    keys = identity.credentials
    if not isinstance(keys, Keys):
        raise NotImportableError(f"its file has a key, but in the hub it authenticates by '{identity.authentication}'")
    # The daemon does not need the padding, and takes a connection string apart without it.
    primary, secondary, said = (key.rstrip("=") for key in (keys.primary, keys.secondary, connection.shared_access_key))
    if said == primary:
        return ""
    if said == secondary:
        return "Secondary"
    raise NotImportableError(
        "the key in its file is none of the hub's, so it cannot connect; 'edgeherd hub import' writes a manifest that gives "
        "it the hub's key"
    )


def _certificate(x509: config.X509, identity: Identity) -> Certificate:
    thumbprints = identity.credentials
    if not isinstance(thumbprints, Thumbprints) or not thumbprints.primary:
        raise NotImportableError(
            f"its file has a certificate, but in the hub it authenticates by '{identity.authentication}', without thumbprints"
        )
    paths = [uri.removeprefix("file://") for uri in (x509.identity_cert, x509.identity_pk)]
    if any(not path.startswith("/") for path in paths):
        raise NotImportableError("its certificate or private key is not in a file (file:///...)")
    return Certificate(thumbprints=thumbprints, path=paths[0], key_path=paths[1])


def restart_is_due(facts: Facts) -> bool:
    """Whether the operator's first look starts the daemon again: its file is newer than its process.

    Two seconds of slack: the device's clocks are read in whole seconds, one after the other.
    """
    if facts.modified is None or facts.started is None or facts.now is None:
        return False
    return facts.started + 2 < facts.modified <= facts.now
