"""No secret leaves through a log record, whoever logs it and however. What is one: test_masking.py."""

import logging

from edgeherd.telemetry import logs

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def test_messages_arguments_and_tracebacks_are_masked() -> None:
    """The formatter masks the whole line."""
    error = ValueError(f"bad SharedAccessKey={KEY}")
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "said %s", (KEY,), (ValueError, error, None))
    assert logs.MaskingFormatter("%(message)s").format(record) == "said ***\nValueError: bad SharedAccessKey=***"
