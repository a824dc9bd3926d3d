"""The daemon's file, and the files beside it: they say what the spec says, and the daemon runs with them."""

from edgeherd import config, fitting
from edgeherd.device.port import Action, Change, DeviceError, Result, Session, UnreachableError
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import EdgeDevice, Key, PlannedChange, Secret
from edgeherd.reconcile import config_paths, desired, device_facts, diagnostics, ownership, secret_use, support
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.reconcile.configurator import Configurator, RejectedError
from edgeherd.reconcile.desired import DesiredState
from edgeherd.reconcile.errors import from_device_error, from_result
from edgeherd.reconcile.requeue import UNREACHABLE
from edgeherd.reconcile.secret_use import Use
from edgeherd.reconcile.step import ConfigurationResult, Context, Dependencies, Done, Step, Undone
from edgeherd.worker import WorkerError

CLEANUP_SECONDS = 60.0
"""How long after the request to delete an unreachable device is tried."""

RETRY_SECONDS = 10.0

CONFIGURATION_REMOVED, CLEANUP_SKIPPED = "ConfigurationRemoved", "DeviceCleanupSkipped"
_TAKEN_OVER = "its identity belongs to another EdgeDevice now, as the twin's tag 'edgeherd' says"
_UNUSABLE = "its login, its path or its file cannot be used"

PATHS_TOLD = 16
PATH_CHARACTERS = 128
"""So many paths of a plan, and so much of each, are in the message; the status has all of it."""


class ConfigurationStep(Step):
    """Makes the device look as the spec says, and runs `iotedge check` when somebody asks for it."""

    condition = "ConfigApplied"
    undone = frozenset({CONFIGURATION_REMOVED, CLEANUP_SKIPPED})

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        self._configurator = Configurator(dependencies.clock, dependencies.editor)

    async def reconcile(self, context: Context) -> Done:
        """The device has what the spec says."""
        device = context.device
        config_paths.require(device, context.hub.connection)
        state = await self._desired_state(context)
        before = device.status.condition("DaemonHealthy")
        if before is not None and before.status == "True":
            self._configurator.healthy(device.key, since=before.last_transition_time)
        context.result = result = await self._configured(context, state)
        known = device.status.device
        context.update(plan=result.plan)
        image = result.facts.agent_image or known.agent_image  # it does not show while the daemon is down
        agent = support.image_version(image)
        context.hints = (support.judge(result.version, agent, now=self.dependencies.clock.now()),)
        context.update_device(
            runtime_version=result.facts.version,
            agent_image=image,
            dialect=result.version.dialect.value,
            config_hash=result.config_hash,
            applied_generation=known.applied_generation if result.plan else device.generation,
            rejected_hash="",
        )
        context.events.extend(result.events)
        if result.plan:
            message = f"The device differs from the spec ({_told(result.plan)}), and spec.driftPolicy is 'Report'."
            raise Stalled("DriftDetected", f"{message} See status.plan{_left_out(result.plan)}.")
        return Done("Applied", "The daemon's file says what the spec says.")

    async def delete(self, context: Context) -> Undone | None:
        """Take our connection string out of the daemon's file: best effort, bounded in time.

        Raises:
            Waiting: the device cannot be reached, and there is time left.
            HubError: the hub does not say whose the identity is.
        """
        device = context.device
        if device.status.device.applied_generation is None:
            return None
        # Who moved to another cluster has the same keys there: the mark alone tells who looks after the device now.
        if ownership.is_marked_by_another(device, await context.hub.hub.twin(device.device_id)):
            return Undone(
                CLEANUP_SKIPPED, f"The device {device.ssh.host} is left as it is: {_TAKEN_OVER}.", leftover=True
            )
        return await self._cleaned(context)

    async def _cleaned(self, context: Context) -> Undone:
        """What came of it; raises Waiting as `delete` does."""
        device, connection = context.device, context.hub.connection
        try:
            config_paths.require(device, connection)
            async with self.dependencies.ssh.session(device, connection, tell=context.event) as session:
                await _retire(session, device, self.dependencies.editor)
        except UnreachableError as exc:
            if self.dependencies.clock.seconds_since(device.deleted_at) < CLEANUP_SECONDS:
                message = (
                    f"{device.ssh.host} cannot be reached to remove its configuration: {exc}. It is tried for a minute."
                )
                raise Waiting(UNREACHABLE, message, retry_after=RETRY_SECONDS) from exc
            return _left(device, "it cannot be reached")
        except ReconcileError as exc:
            return _left(device, f"{_UNUSABLE} ({exc.reason})")
        except DeviceError as exc:
            return _left(device, f"{_UNUSABLE} ({from_device_error(exc, device).reason})")
        except (config.ConfigError, WorkerError, ValueError):
            return _left(device, f"{_UNUSABLE} (ConfigNotEditable)")
        return Undone(CONFIGURATION_REMOVED, f"{device.ssh.host} does not have the connection string any more.")

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._configurator.forget(key)

    async def _configured(self, context: Context, state: DesiredState) -> ConfigurationResult:
        """What was asked for, and `iotedge check` where it was asked for: also, or just, where that fails."""
        session, device = context.session, context.device
        applied_before = device.status.device.applied_generation is not None
        try:
            result = await self._configurator.apply(
                session,
                state,
                applied_before=applied_before,
                require_free=lambda found: self.dependencies.claims.require_own_machine(
                    device, found, session.fingerprint
                ),
            )
        except ReconcileError as exc:
            if isinstance(exc, RejectedError):
                context.update_device(rejected_hash=f"sha256:{exc.content_hash}")
            await _check(context, session)
            raise
        if not result.restarted:
            await _check(context, session)
        return result

    async def _desired_state(self, context: Context) -> DesiredState:
        device, runtime = context.device, context.device.runtime
        proxy = await self._secret(device, runtime.proxy_secret_name, secret_use.PROXY_LOGIN)
        login = await self._secret(device, runtime.registry_secret_name, secret_use.REGISTRY_LOGIN)
        return DesiredState(
            device=device,
            host_name=context.hub.connection.host_name,
            connection_string=context.connection_string,
            certificate=context.claim.certificate,
            registry=desired.registry_auth(device, login) if login is not None else None,
            proxy=desired.proxy_url(device, proxy),
        )

    async def _secret(self, device: EdgeDevice, name: str | None, use: Use) -> Secret | None:
        """The Secret that a field names; None where it names none."""
        if name is None:
            return None
        secret = await self.dependencies.cluster.secret(device.namespace, name)
        if secret is None:
            message = f"There is no Secret '{name}' ({use.field}). Create it."
            raise Waiting("RuntimeSecretNotFound", message, retry_after=30)
        secret_use.require(secret, use)
        return secret


def _told(plan: tuple[PlannedChange, ...]) -> str:
    """What would change, in brief."""
    paths = [fitting.cut(change.path, PATH_CHARACTERS) for change in plan[:PATHS_TOLD]]
    more = len(plan) - len(paths)
    return ", ".join(paths) + (f" and {more} more" if more else "")


def _left_out(plan: tuple[PlannedChange, ...]) -> str:
    """The status has room for so many."""
    most = fitting.LISTS["plan"].most
    return f", which has the first {most} of {len(plan)} changes" if len(plan) > most else ""


async def _check(context: Context, session: Session) -> None:
    asked, last = context.device.check_requested, context.status.check
    if asked and (last is None or last.handled_at != asked):
        context.update(check=diagnostics.report(await session.check(), handled_at=asked))


def _left(device: EdgeDevice, why: str) -> Undone:
    text = f"The device {device.ssh.host} still has its configuration: {why}. Its identity is deleted all the same."
    return Undone(CLEANUP_SKIPPED, text, leftover=True)


async def _retire(session: Session, device: EdgeDevice, editor: ConfigEditor) -> None:
    query = desired.query(device)
    facts = await session.observe(query)
    device_facts.require_tools(device, facts)
    version = config.Version.parse(facts.version)
    host_name = device.status.identity.hub_host_name
    edit = await editor.retire(facts.content or b"", device.device_id, host_name, version=version)
    if edit is None:
        return
    # The services of 1.2 and later refuse to be without provisioning; what they hold is worth nothing from now on.
    is_yaml = version.dialect is config.Dialect.YAML
    change = Change(
        path=facts.path,
        before=facts.sha256,
        content=edit.content if edit.changes else None,
        # Where the daemon is somebody else's by now, it and what it uses are left alone.
        others=desired.leftovers(device, query.found(facts)) if edit.restarts else (),
        unit=desired.daemon_unit(device, version.dialect),
        action=Action.RETIRE if is_yaml and edit.restarts else Action.NONE,
    )
    result = await session.apply(change)
    if result is not Result.APPLIED:
        raise from_result(result, facts.path)
