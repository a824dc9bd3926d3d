"""Logging, with everything that looks like a secret masked on the way out, whoever logs it."""

import logging
import re

_SECRETS = re.compile(
    r"(?P<name>(?:SharedAccessKey|SharedAccessSignature|sig|Bearer)(?:=|%3D|\s+))[^\s;&'\",]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    # Begun once in a run of such characters and never gone back on: a text without an '=' would take for ever.
    r"|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}+={1,2}",
    re.DOTALL,
)


def mask(text: str) -> str:
    """The text without connection-string keys, SAS signatures, tokens, private keys and long base64."""
    return _SECRETS.sub(lambda match: f"{match['name'] or ''}***", text)


class MaskingFormatter(logging.Formatter):
    """A formatter whose whole output is masked: message, arguments and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return mask(super().format(record))


def configure(level: str) -> None:
    """Log to stderr, masked. Libraries that tell too much at INFO are set to WARNING."""
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("asyncssh", "kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
