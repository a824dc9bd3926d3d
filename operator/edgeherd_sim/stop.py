"""What ends `edgeherd sim hub`, `sim devices` and `sim kube`."""

import asyncio
import signal


def on_signal() -> asyncio.Event:
    """Set by SIGTERM or SIGINT, which end nothing by themselves any more. To be called in the event loop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
