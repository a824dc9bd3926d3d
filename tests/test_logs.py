"""No secret leaves through a log record, whoever logs it and however."""

import logging

import pytest

from edgeherd import logs

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----"

CASES = (
    ("a connection string", f"HostName=h;DeviceId=d;SharedAccessKey={KEY} tail", "HostName=h;DeviceId=d;SharedAccessKey=*** tail"),
    ("a SAS token", "SharedAccessSignature sr=h&sig=abc%3D&se=1&skn=p", "SharedAccessSignature ***&sig=***&se=1&skn=p"),
    ("a bearer token", "Authorization: Bearer eyJhbGciOi.x.y", "Authorization: Bearer ***"),
    ("a private key", f"read {PEM} from", "read *** from"),
    ("a private key that was cut off", f"read {PEM[:60]}", "read ***"),
    ("a key by itself", f"the key {KEY} is", "the key *** is"),
    ("a key in a repr", f"Keys('{KEY}')", "Keys('***')"),
    ("nothing secret", "press-01: DeviceUnreachable", "press-01: DeviceUnreachable"),
    ("a host key's fingerprint, which is public", "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDYmyGfLDuWBTMDdvo", "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDYmyGfLDuWBTMDdvo"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_looks_like_a_secret_is_masked(text: str, expected: str) -> None:
    """Names stay, values go."""
    assert logs.mask(text) == expected


def test_messages_arguments_and_tracebacks_are_masked() -> None:
    """The formatter masks the whole line."""
    error = ValueError(f"bad SharedAccessKey={KEY}")
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "said %s", (KEY,), (ValueError, error, None))
    assert KEY not in logs.MaskingFormatter("%(message)s").format(record)
