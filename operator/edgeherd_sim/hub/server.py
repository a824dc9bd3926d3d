"""The Python door: `async with serve() as hub:` is a listening IoT Hub, until the block ends."""

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import pathlib
import tempfile
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from edgeherd_sim.hub import control, persist, tls
from edgeherd_sim.hub.auth import BUILT_IN, Authenticator
from edgeherd_sim.hub.deployer import Deployer
from edgeherd_sim.hub.faults import Faults
from edgeherd_sim.hub.index import Index
from edgeherd_sim.hub.journal import Journal
from edgeherd_sim.hub.news import News
from edgeherd_sim.hub.store import Store
from edgeherd_sim.hub.throttle import Throttle
from edgeherd_sim.hub.wire import Wire

_BODY_LIMIT = 16 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A listening hub: where it is, and the handles to look into it and to make it fail."""

    host_name: str
    port: int
    policy_name: str
    policies: Mapping[str, str] = dataclasses.field(repr=False)
    """The key of each shared access policy."""
    ca_file: str
    store: Store = dataclasses.field(repr=False)
    faults: Faults = dataclasses.field(repr=False)
    requests: Journal = dataclasses.field(repr=False)
    throttle: Throttle = dataclasses.field(repr=False)
    index: Index = dataclasses.field(repr=False)
    news: News = dataclasses.field(repr=False)

    @property
    def authority(self) -> str:
        """Host name and port, as clients write them; without the port where it is that of HTTPS."""
        return self.host_name if self.port == 443 else f"{self.host_name}:{self.port}"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://{self.authority}"

    @property
    def connection_string(self) -> str:
        """For service clients, by the policy that was chosen."""
        return self.connection_string_of(self.policy_name)

    def connection_string_of(self, policy: str) -> str:
        """For service clients, by any policy: `registryRead`, `registryReadWrite`, `service`, `device` and so on."""
        return f"HostName={self.authority};SharedAccessKeyName={policy};SharedAccessKey={self.policies[policy]}"

    def facts(self) -> dict[str, str | int]:
        """What a program that started the hub has to know."""
        return {
            "connectionString": self.connection_string,
            "hostName": self.host_name,
            "port": self.port,
            "caFile": self.ca_file,
            "url": self.url,
        }


@contextlib.asynccontextmanager
async def serve(
    *,
    bind: str = "127.0.0.1",
    port: int = 0,
    host_names: tuple[str, ...] = ("localhost",),
    policy_name: str = "iothubowner",
    policy_key: str | None = None,
    tls_dir: pathlib.Path | None = None,
    ca_file: pathlib.Path | None = None,
    state: pathlib.Path | None = None,
    bearer_token: str | None = None,
    control_token: str | None = None,
    units: int = 0,
    idle_after: float = 300,
) -> AsyncIterator[Hub]:
    """Listen until the block ends.

    Args:
        bind: the address to listen on.
        port: the port; 0 takes any that is free.
        host_names: the names that clients may use; the first one is in the connection string.
        policy_name: the shared access policy of the connection string.
        policy_key: its key, base64; a new one (or that of `state`) when None.
        tls_dir: where authority and certificate are kept; a directory that goes with the block when None.
        ca_file: where else to write the authority's certificate.
        state: the file that remembers everything; nothing is remembered when None.
        bearer_token: the only bearer token to accept; any JWT that has not expired when None.
        control_token: what the control API demands in the header `x-sim-token`; when None it demands a loopback peer.
        units: the size of the hub for traffic shaping; 0 never throttles.
        idle_after: seconds of silence after which a device counts as disconnected.
    """
    async with contextlib.AsyncExitStack() as stack:
        store = Store(idle_after=idle_after)
        saver = persist.Saver(store, state, policy_key)
        directory = tls_dir or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeherd-hub-")))
        certificates = tls.prepare(directory, host_names)
        if ca_file is not None:
            tls.write(ca_file, certificates.ca_file.read_bytes())
        policies = _policies(policy_name, saver.policy_key)
        Deployer(store)
        index, journal, faults, throttle = Index(store), Journal(), Faults(), Throttle(units)
        authenticator = Authenticator(
            store, hosts=(*host_names, *tls.ALWAYS), policies=policies, bearer_token=bearer_token
        )
        news = News(store)
        wire = Wire(
            store=store,
            index=index,
            authenticator=authenticator,
            faults=faults,
            throttle=throttle,
            journal=journal,
            news=news,
            save=saver.save,
        )
        application = web.Application(client_max_size=_BODY_LIMIT)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        panel = control.Control(wire=wire, token=control_token)
        application.router.add_route("*", r"/{any:[\s\S]*}", panel.dispatch)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(news.close)
        site = web.TCPSite(runner, bind, port, ssl_context=certificates.context)
        await site.start()
        await saver.save()
        yield Hub(
            host_name=host_names[0],
            port=runner.addresses[0][1],
            policy_name=policy_name,
            policies=policies,
            ca_file=str(ca_file or certificates.ca_file),
            store=store,
            faults=faults,
            requests=journal,
            throttle=throttle,
            index=index,
            news=news,
        )
        await saver.save()


def _policies(name: str, key: str) -> dict[str, str]:
    """The chosen policy and the built-in ones, whose keys follow from the chosen one: they outlive a restart."""
    derived = {
        other: base64.b64encode(hmac.digest(base64.b64decode(key), other.encode(), hashlib.sha256)).decode()
        for other in BUILT_IN
    }
    return {**derived, name: key}
