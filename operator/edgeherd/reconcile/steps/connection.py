"""The connection: an SSH session with the device, whose host key is pinned."""

from edgeherd.model import Key
from edgeherd.reconcile.errors import REACHABLE
from edgeherd.reconcile.step import Context, Done, Step


class ConnectionStep(Step):
    """Opens the one session of the pass."""

    condition = REACHABLE

    async def reconcile(self, context: Context) -> Done:
        """A session works."""
        device = context.device
        opened = self.dependencies.ssh.session(device, context.hub.connection)
        context.session = session = await context.resources.enter_async_context(opened)
        context.update_device(
            host_key_fingerprint=session.fingerprint, jump_host_key_fingerprint=session.jump_fingerprint
        )
        return Done("Connected", f"An SSH session with {device.ssh.host} works; its host key is pinned.")

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self.dependencies.ssh.forget(key)
