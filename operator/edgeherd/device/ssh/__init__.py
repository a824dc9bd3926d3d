"""The one door to asyncssh: pinned host keys, keys in memory only, every wait bounded."""

from edgeherd.device.ssh.connector import KEY_PROCESSES, KEY_SECONDS, SshConnector

__all__ = ["KEY_PROCESSES", "KEY_SECONDS", "SshConnector"]
