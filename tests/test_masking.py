"""What looks like a secret comes through nowhere: not in a log line, not in what is shown of a file."""

import json
import logging

import pytest

from edgeherd import config
from edgeherd.config.masking import masked_value
from edgeherd.telemetry import logs

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----"
KEY_OF_ALL = "+/MTIzNDU2Nzg5MDEy+/M0NTY3ODkwMTIzNDU2Nzg5M/+="
NET_KEY = KEY_OF_ALL.replace("+", "\\u002B").replace("/", "\\u002F").replace("=", "\\u003D")
FINGERPRINT = "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDYmyGfLDuWBTMDdvo"
PIECES = ("hu", "sh@", "sh&", KEY[:20], PEM[40:55], "eyJ", "abc", "r=h")
"""What is secret in the cases, as far as two of them do not say otherwise."""

CASES = (
    ("a connection string", f"HostName=h;DeviceId=d;SharedAccessKey={KEY} tail", "HostName=h;DeviceId=d;SharedAccessKey=*** tail"),
    ("one with what follows", f"SharedAccessKey={KEY};GatewayHostName=g", "SharedAccessKey=***;GatewayHostName=g"),
    ("one in braces", "{SharedAccessKey=hush}, x", "{SharedAccessKey=***, x"),
    ("one that a person wrote", "sharedaccesskey = hush tail", "sharedaccesskey = *** tail"),
    ("one with a key that holds what a URL may", "SharedAccessKey=hu}sh&hush;x", "SharedAccessKey=***;x"),
    ("one in a URL", f"?cs=SharedAccessKey%3D{KEY[:-1]}%3D&x=1", "?cs=SharedAccessKey%3D***&x=1"),
    ("a key in words", "the SharedAccessKey hush is wrong", "the SharedAccessKey *** is wrong"),
    ("a storage account", "AccountName=a;AccountKey=hush;EndpointSuffix=s", "AccountName=a;AccountKey=***;EndpointSuffix=s"),
    ("a SAS token", "SharedAccessSignature sr=h&sig=abc%3D&se=1&skn=p", "SharedAccessSignature ***&sig=***&se=1&skn=p"),
    ("one in small letters", "sharedaccesssignature sr=h&SIG=abc", "sharedaccesssignature ***&SIG=***"),
    ("one whose signature has commas", "sig=hush;hush,hush&se=1", "sig=***&se=1"),
    ("one as a bearer's token", "Bearer SharedAccessSignature sr=h&sig=abc", "Bearer *** ***&sig=***"),
    ("a signature in a URL", "https://store.example/c?sv=2020&sig=hush&se=1", "https://store.example/c?sv=2020&sig=***&se=1"),
    ("a signature at the end of another word", "mysig=hush tail", "mysig=*** tail"),
    ("a bearer's token", "Authorization: Bearer eyJhbGciOi.x.y", "Authorization: Bearer ***"),
    ("a login in a URL", "to http://reader:hush@host.example:3128 now", "to http://***@host.example:3128 now"),
    ("a password with an @", "http://reader:hu@sh@host.example", "http://***@host.example"),
    ("a password that looks like a signature", "http://reader:husig=sh@host.example", "http://***"),
    ("a signature that looks like a login", "https://host.example/?sig=hu@sh tail", "https://*** tail"),
    ("two URLs, one with a login", "http://a.example/ http://u:hush@b.example/", "http://a.example/ http://***@b.example/"),
    ("a PIN", "pkcs11:token=t;object=o?pin-value=hush&x=1", "pkcs11:token=t;object=o?pin-value=***&x=1"),
    ("a key by itself", f"the key {KEY} is", "the key *** is"),
    ("a key in a repr", f"Keys('{KEY}')", "Keys('***')"),
    ("a key behind a path", f"keys/{KEY}", "***"),
    ("a key in JSON", json.dumps({"k": KEY_OF_ALL}).replace("/", "\\/"), '{"k": "***"}'),
    ("a key in the JSON of .NET", f'"k":"{NET_KEY}"', '"k":"***"'),
    ("a key in JSON in JSON", json.dumps({"k": json.dumps(["\n" + KEY])}), '{"k": "[\\"\\\\***\\"]"}'),
    ("a private key", f"read {PEM} from", "read *** from"),
    ("a private key that was cut off", f"read {PEM[:60]}", "read ***"),
    ("nothing secret", "press-01: DeviceUnreachable", "press-01: DeviceUnreachable"),
    ("a fingerprint, which is public", f"host {FINGERPRINT}", f"host {FINGERPRINT}"),
    ("a digest, which is public", f"agent@sha256:{'0a' * 32}", f"agent@sha256:{'0a' * 32}"),
    ("a URL without a login", "amqps://host.example:5671/a/b", "amqps://host.example:5671/a/b"),
    ("words that only look alike", "signal, design, bearer bonds", "signal, design, bearer bonds"),
)  # fmt: skip
IDS = [case[0] for case in CASES]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=IDS)
def test_what_looks_like_a_secret_is_masked_in_a_log_line(text: str, expected: str) -> None:
    """Names stay, values go."""
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%s", (text,), None)
    assert logs.MaskingFormatter("%(message)s").format(record) == expected


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=IDS)
def test_and_in_what_is_shown_of_a_file(text: str, expected: str) -> None:
    """The same in a value. A line of it may hide more, because there names count too: test_yaml_masking.py."""
    assert masked_value("agent.env.NAME", text) == expected
    diff = config.masked_diff(b"", f"# {text}".encode(), name="f")
    assert [piece for piece in PIECES if piece in diff and piece not in expected] == []


def test_a_private_key_of_several_lines_is_masked_to_its_end() -> None:
    """Its lines are filled with base64 that no line tells from a word; indentation stays."""
    key = PEM.replace("\n", "\n  ")
    text = f"a: |\n  {key} tail\nb: 1\nc: -----BEGIN PRIVATE KEY-----\n  b3Blbg"
    assert config.masked_diff(b"", text.encode(), name="f").splitlines()[4:] == [
        "+a: |",
        "+  ***",
        "+  ***",
        "+  ***",
        "+b: 1",
        "+c: ***",
        "+  ***",
    ]


WORDS = ":// , signal, bearer, sharedaccesskey, accountkey , private key-----, pin-value= ,"
"""Without one of these an expression is not tried."""
RUNS = ("a", "a/", "\\/", "\\u002b", "a\\u002b", "\\a", "a:", "A+", "=", "a=", "://", "://a", "-----BEGIN ", "-----END PRIVATE KEY-----", "sig", "Sig-", "SharedAccessKey",
        "AccountKey ", "?pin-value=&")  # fmt: skip


@pytest.mark.parametrize("run", RUNS, ids=repr)
def test_a_long_value_without_a_secret_comes_back_before_the_time_out(run: str) -> None:
    """A device may write what is masked. An expression that reads on from each character takes minutes for a MiB."""
    text = WORDS + run * (config.MAX_BYTES // len(run))
    assert masked_value("agent.env.https_proxy", text) == text


@pytest.mark.parametrize("run", ["a ", " ", "password", "password ", "_key.", "connection_string"], ids=repr)
def test_so_does_a_long_line(run: str) -> None:
    """The names in it are looked for too, for which a quarter is enough: from each character on, for each end of it."""
    text = "proxy " + WORDS + run * (config.MAX_BYTES // 4 // len(run))
    assert config.masked_diff(b"", text.encode(), name="f").splitlines()[-1] == f"+{text}"
