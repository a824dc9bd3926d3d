"""Logging, with everything that looks like a secret masked on the way out, whoever logs it."""

import logging

from edgeherd.masking import masked


class MaskingFormatter(logging.Formatter):
    """A formatter whose whole output is masked: message, arguments and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return masked(super().format(record))


def configure(level: str) -> None:
    """Log to stderr, masked. Libraries that tell too much at INFO are set to WARNING."""
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("asyncssh", "kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
