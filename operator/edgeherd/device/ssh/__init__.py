"""The one door to asyncssh: pinned host keys, keys in memory only, every wait bounded."""

from edgeherd.device.ssh.connector import SshConnector

__all__ = ["SshConnector"]
