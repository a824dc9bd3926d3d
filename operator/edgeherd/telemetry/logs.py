"""Logging: JSON lines, or text on a terminal, with everything that looks like a secret masked on the way out.

A record may have an object (`extra={"key": Key(...)}`) and a reason (`extra={"reason": "..."}`). Fields of the JSON are
controller-runtime's where it has them: controller, controllerKind, namespace, name.
"""

import copy
import datetime as dt
import logging
import sys
import threading
from types import TracebackType
from typing import Any

from pythonjsonlogger import json

from edgeherd.masking import masked
from edgeherd.model import Key

_log = logging.getLogger(__name__)


class MaskingFormatter(logging.Formatter):
    """Text, whose whole output is masked: message, arguments and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return masked(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the overridden one
        """See `logging.Formatter.formatMessage`. The object and the reason come before the message."""
        key, reason = _key(record), _reason(record)
        where = [f"{key.kind} {f'{key.namespace}/' if key.namespace else ''}{key.name}"] if key is not None else []
        shown = copy.copy(record)
        shown.message = ": ".join([*where, *([reason] if reason else []), record.message])
        return super().formatMessage(shown)


class JsonFormatter(json.JsonFormatter):
    """A JSON object on one line, with every value masked before it is escaped.

    Afterwards would be too late: an escape tears apart what looks like a secret, and a mask may cut an escape in two. Of
    what other libraries hang on their records nothing is shown: it may be anything.
    """

    def __init__(self) -> None:
        super().__init__(["message"])

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """See `BaseJsonFormatter.add_fields`."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        log_data |= {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": str(record.msg) if isinstance(record.msg, dict) else record.message,
        }
        key = _key(record)
        if key is not None:
            log_data |= {"controller": key.kind.lower(), "controllerKind": key.kind}
            log_data |= {"namespace": key.namespace} if key.namespace else {}
            log_data |= {"name": key.name}
        if reason := _reason(record):
            log_data["reason"] = reason
        trace = [str(message_dict[name]) for name in ("exc_info", "stack_info") if message_dict.get(name)]
        if trace:
            log_data["stacktrace"] = "\n".join(trace)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """See `BaseJsonFormatter.process_log_record`."""
        return {name: masked(_whole(value)) for name, value in log_data.items()}


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can escape and not every reader takes."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _key(record: logging.LogRecord) -> Key | None:
    key = getattr(record, "key", None)
    return key if isinstance(key, Key) else None


def _reason(record: logging.LogRecord) -> str:
    reason = getattr(record, "reason", "")
    return reason if isinstance(reason, str) else ""


def configure(level: str, log_format: str = "") -> None:
    """Log to stderr, masked. Libraries that tell too much at INFO are set to WARNING.

    Args:
        level: the name of the level.
        log_format: 'json' or 'text'; empty for text on a terminal and JSON elsewhere.
    """
    chosen = log_format or ("text" if sys.stderr.isatty() else "json")
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter() if chosen == "json" else MaskingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("asyncssh", "kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    logging.captureWarnings(capture=True)
    # What nobody catches would go to stderr as it is.
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    _log.critical(
        "an error in edgeherd itself that nothing caught; please report it",
        exc_info=(kind, error or kind(), traceback),
    )
