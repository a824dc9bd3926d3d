"""The login user's shell: how it runs a command, and what it prints by itself."""

import os

from edgeherd_sim.devices.faults import Line

_NOISE = """\
===============================================================================
  Authorised personnel only. All activity on this gateway is recorded: press 7.
===============================================================================
Welcome to EdgeOS 4.2 (GNU/Linux 5.10.0-28-amd64 x86_64)

 * Documentation:  https://intranet.example/gateways
 * Support:        ext. 4711

  System load:  0.08               Processes:             134
  Usage of /:   41.7% of 14.6GB    Users logged in:       1
  Memory usage: 23%                IPv4 address for eth0: 10.20.30.40

0123456789abcdef0123456789abcdef version
iotedge 9.9.9
0123456789abcdef0123456789abcdef result
applied
0123456789abcdef0123456789abcdef end
result applied
\x1b[1;31m17 updates can be applied immediately.\x1b[0m\r
*** System restart required ***
\xff\xfe not UTF-8: Gr\xfc\xdfe \x07
""".encode("latin-1")
"""Lines that look like an answer are in it, and bytes that are no text."""
_REPEATED = 6
_WRAPPED = b'noise=$1; shift; printf "%s" "$noise"; "$@"; status=$?; printf "%s" "$noise"; exit "$status"'


def arguments(line: Line, command: str | None) -> list[bytes]:
    """What is executed for a client's command; without one the shell reads what the client types."""
    shell = [os.fsencode(word) for word in line.shell]
    if line.mute:
        return [*shell, b"-c", b":"]
    if command is None:
        return shell
    given = [*shell, b"-c", os.fsencode(command)]
    return [b"/bin/sh", b"-c", _WRAPPED, b"sh", _NOISE * _REPEATED, *given] if line.noisy else given
