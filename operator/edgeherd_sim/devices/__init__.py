"""Simulated IoT Edge devices: a real SSH server, a real shell, real files, and a stand-in for the daemon."""
