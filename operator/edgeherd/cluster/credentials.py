"""Where the API server is and how to log in there: the one door to `kubernetes.aio`, which reads the configuration.

A login does not last: the kubelet writes a new token into the Pod about every hour (Kubernetes: "Configure Service
Accounts for Pods"), and the API server refuses the old ones after a rotation of its keys. `kubernetes.aio` 37.0.2 reads
the Pod's token again after a minute, whether it was refused or not, and a kubeconfig never.
"""

import asyncio
import logging
import os
import pathlib
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.config import incluster_config, kube_config

from edgeherd.cluster.errors import ApiError

SERVICE_ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts `token` and `ca.crt`."""

RELOAD_SECONDS = 2.0
"""A kubeconfig is read again at most so often: it may name a program that fetches the token."""

LOAD_SECONDS = 30.0
"""How long that program may take."""

_log = logging.getLogger(__name__)

Load = Callable[[], Coroutine[Any, Any, Any]]
"""Reads the configuration anew: a `kubernetes.aio.client.Configuration`, or an ApiError."""


class Credentials:
    """The API server's address and a login there, as it is now. May be used by several event loops at the same time."""

    def __init__(self, configuration: Any, *, load: Load | None = None, token_file: pathlib.Path | None = None) -> None:
        """`load` reads a kubeconfig again; `token_file` is where the kubelet writes the Pod's token."""
        self._configuration = configuration
        self._load = load
        self._token_file = token_file
        self._version: object = None
        self._authorization = _authorization(configuration)
        self._lock = threading.Lock()
        self._loaded_at = time.monotonic() - RELOAD_SECONDS

    @classmethod
    async def find(cls, kubeconfig: str | None, *, service_account: pathlib.Path = SERVICE_ACCOUNT) -> Self:
        """From the Pod's ServiceAccount where there is one, else from a kubeconfig file.

        Raises:
            ApiError: neither can be read.
        """
        token_file = service_account / "token"
        configuration = _of_pod(service_account, token_file) if kubeconfig is None else None
        if configuration is not None:
            return cls(configuration, token_file=token_file)
        where = kubeconfig or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
        if not _is_there(where):
            if kubeconfig is not None:
                raise ApiError(0, f"There is no kubeconfig {where}, which KUBECONFIG names.")
            places = f"the files in {service_account} as in a Pod, nor a kubeconfig {where}"
            raise ApiError(0, f"There is no way to the API server: neither {places}. KUBECONFIG may name one.")

        async def load() -> Any:
            return await _of_kubeconfig(where)

        return cls(await load(), load=load)

    @property
    def server(self) -> str:
        """The API server's URL, without a path."""
        return str(self._configuration.host)

    @property
    def server_name(self) -> str | None:
        """The name that its certificate is to have, where that is not the URL's."""
        return self._configuration.tls_server_name or None

    @property
    def proxy(self) -> str | None:
        """The HTTP proxy on the way to it."""
        return self._configuration.proxy or None

    def tls(self) -> ssl.SSLContext:
        """Its certificate authority, and the client certificate where there is one.

        Raises:
            ApiError: they cannot be used.
        """
        try:
            context: ssl.SSLContext = kubernetes_client.rest.RESTClientObject(self._configuration).ssl_context
        except (OSError, ValueError) as exc:
            raise ApiError(0, f"The certificates of the Kubernetes configuration cannot be used: {exc}") from exc
        return context

    def authorization(self) -> str:
        """The value of the Authorization header; empty where the client certificate is all there is. Costs a `stat`."""
        if self._token_file is not None:
            self._read_token(self._token_file, always=False)
        return self._authorization

    async def renew(self, rejected: str) -> bool:
        """Look for another login, because the API server refused this one. Whether there is one."""
        if self._token_file is not None:
            self._read_token(self._token_file, always=True)
        elif self._authorization == rejected:
            await asyncio.to_thread(self._reload, rejected)  # in a loop of its own, whose loop ever asks
        return self._authorization != rejected

    def _read_token(self, file: pathlib.Path, *, always: bool) -> None:
        """Take what the kubelet wrote, if it is new. A file that cannot be read, or is empty, leaves all as it was."""
        try:
            found = file.stat()
            version = (found.st_mtime_ns, found.st_ino, found.st_size)
            if version == self._version and not always:
                return
            token = file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as exc:
            _log.debug("the ServiceAccount's token cannot be read: %s", type(exc).__name__)
            return
        if token:
            self._authorization, self._version = f"Bearer {token}", version

    def _reload(self, rejected: str) -> None:
        """Read the kubeconfig again, which also runs the program that it names. Once for all who were refused."""
        load = self._load
        with self._lock:
            if load is None or self._authorization != rejected or time.monotonic() < self._loaded_at + RELOAD_SECONDS:
                return
            try:
                configuration = asyncio.run(load())
            except ApiError as exc:
                _log.warning("the API server refuses the login, and there is no other: %s", exc)
            else:
                # A program that fails gives none, and the library goes on without.
                self._authorization = _authorization(configuration) or self._authorization
            finally:
                self._loaded_at = time.monotonic()


def _of_pod(service_account: pathlib.Path, token_file: pathlib.Path) -> Any:
    """The configuration of a Pod; None outside of one."""
    configuration = kubernetes_client.Configuration()
    loader = incluster_config.InClusterConfigLoader(
        token_filename=str(token_file), cert_filename=str(service_account / "ca.crt"), try_refresh_token=False
    )
    try:
        loader.load_and_set(configuration)
    except kubernetes_config.ConfigException:
        return None
    except OSError as exc:
        raise ApiError(0, f"The Pod's ServiceAccount cannot be used: {exc}") from exc
    return configuration


def _is_there(kubeconfig: str) -> bool:
    """Whether one of the files is: there may be several, with colons between."""
    return any(pathlib.Path(part).expanduser().exists() for part in kubeconfig.split(os.pathsep) if part)


async def _of_kubeconfig(where: str) -> Any:
    """What a kubeconfig says, after the program was run that it may name.

    Raises:
        ApiError: it cannot be used. The library's own errors may quote lines of the file, so they are only named.
    """
    configuration = kubernetes_client.Configuration()
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            await kubernetes_config.load_kube_config(config_file=where, client_configuration=configuration)
    except TimeoutError:
        raise ApiError(
            0, f"The program that the kubeconfig {where} names took longer than {LOAD_SECONDS:.0f} s"
        ) from None
    except (kubernetes_config.ConfigException, OSError) as exc:
        raise ApiError(0, f"The kubeconfig {where} cannot be used: {exc}") from exc
    except Exception as exc:
        raise ApiError(0, f"The kubeconfig {where} cannot be read: {type(exc).__name__}") from exc
    return configuration


def _authorization(configuration: Any) -> str:
    """The header's value, of what was loaded: with `Bearer`, `bearer` or `Basic` before it, and perhaps a line's end."""
    scheme, _, value = str(configuration.api_key.get("BearerToken", "")).strip().partition(" ")
    return f"{scheme.capitalize()} {value.strip()}" if value else ""
