"""The whole of config.toml, by the rules of each version: what `config apply` takes, and the line that it stops at."""

import dataclasses

import pytest

from edgeherd import config

KEY = "bm90LWEtcmVhbC1rZXk="
STRING = f"HostName=northmill.azure-devices.net;DeviceId=press-07;SharedAccessKey={KEY}"
SECTION = f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING}"\n'
PARTS = (
    '[provisioning]\nsource = "manual"\niothub_hostname = "h"\ndevice_id = "d"\n[provisioning.authentication]\n'
    'method = "sas"\ndevice_id_pk = { value = "KEY" }\n'
)
X509 = (
    '[provisioning]\nsource = "manual"\niothub_hostname = "h"\ndevice_id = "d"\n[provisioning.authentication]\n'
    'method = "x509"\nidentity_cert = "file:///c"\nidentity_pk = "PLACE"\n'
)
DPS = '[provisioning]\nsource = "dps"\nglobal_endpoint = "https://dps.example"\nid_scope = "s"\n'
TPM = '[provisioning.attestation]\nmethod = "tpm"\nregistration_id = "r"\n'
AGENT = '[agent]\nname = "edgeAgent"\ntype = "docker"\n[agent.config]\nimage = "i"\n'
RENEW = 'rotate_key = true\nthreshold = "80%"\nretry = "4%"\n'
QUICK = "[edge_ca]\nauto_generated_edge_ca_expiry_days = 90\n"
EVERY = ("1.2.0", "1.2.10", "1.3.0", "1.4.0", "1.4.9", "1.4.43", "1.5.44", "1.6.1")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file; the rules and lines that versions refuse it for, from one version on and up to another."""

    sentence: str
    text: str
    refused: tuple[tuple[str, int | None], ...] = ()
    since: str = "1.2.0"
    until: str = "1.99"
    earlier: tuple[tuple[str, int | None], ...] = ()
    """What versions before `since` refuse."""

    def expected(self, version: config.Version) -> tuple[tuple[str, int | None], ...]:
        """What that version refuses."""
        if version < config.Version.parse(self.since):
            return self.earlier
        concerned = version < config.Version.parse(self.until)
        return self.refused if concerned else ()


CASES = (
    Case(sentence="nothing but a connection string", text=SECTION),
    Case(sentence="a byte order mark, which every version skips", text="\ufeff" + SECTION),
    # Keys and their padding.
    Case(sentence="a key without its padding: 1.4.9 alone insists on it", text=PARTS.replace("KEY", KEY.rstrip("=")), refused=(("base64", 7),), since="1.4.9", until="1.4.10"),
    Case(sentence="half of the padding", text=PARTS.replace("KEY", "QQ="), refused=(("base64", 7),)),
    Case(sentence="too much padding", text=PARTS.replace("KEY", "QQ==="), refused=(("base64", 7),)),
    Case(sentence="padding where none belongs", text=PARTS.replace("KEY", "QUJD="), refused=(("base64", 7),)),
    Case(sentence="padding in the middle", text=PARTS.replace("KEY", "QQ==QQ=="), refused=(("base64", 7),)),
    Case(sentence="bits that are left over", text=PARTS.replace("KEY", "QR=="), refused=(("base64", 7),)),
    Case(sentence="an empty key", text=PARTS.replace("KEY", "")),
    Case(sentence="too much padding in a string, of which 1.2 sees nothing", text=SECTION.replace(KEY, "QQ==="), refused=(("connection-string-malformed", 3),), since="1.3"),
    Case(sentence="a semicolon at the end of a string", text=SECTION.replace(KEY, f"{KEY};")),
    Case(sentence="a bad string beside good parts, which 1.2 reads first", text=PARTS.replace("KEY", KEY).replace("[provisioning.a", 'connection_string = "x"\n[provisioning.a'), refused=(("connection-string-malformed", 5),), until="1.3"),
    Case(sentence="a key's file on another host", text=PARTS.replace('value = "KEY"', 'uri = "file://host/key"'), refused=(("uri", 7),)),
    Case(sentence="a key in a vault", text=PARTS.replace('value = "KEY"', 'uri = "https://vault.example/key"'), refused=(("uri", 7),)),
    Case(sentence="a private key in a token", text=X509.replace("PLACE", "pkcs11:token=t;object=o?pin-value=1")),
    Case(sentence="a private key in a slot", text=X509.replace("PLACE", "pkcs11:slot-id=0;object=o")),
    Case(sentence="a private key in no token", text=X509.replace("PLACE", "pkcs11:object=o"), refused=(("uri", 8),)),
    Case(sentence="a private key in a slot that is no number", text=X509.replace("PLACE", "pkcs11:slot-id=one"), refused=(("uri", 8),)),
    Case(sentence="a private key behind a scheme that nobody knows", text=X509.replace("PLACE", "keystore://k"), refused=(("uri", 8),)),
    # The grammar.
    Case(sentence="an inline table over two lines is TOML 1.1", text=f"{SECTION}[x]\na = {{\n  b = 1,\n}}\n", refused=(("syntax", 5),), until="1.6"),
    Case(sentence="an escape for the escape character is TOML 1.1", text=f'mine = "\\e"\n{SECTION}', refused=(("syntax", 1),), until="1.6"),
    Case(sentence="an escape of two digits is TOML 1.1", text=f'mine = "\\x41"\n{SECTION}', refused=(("syntax", 1),), until="1.6"),
    Case(sentence="a time without seconds is TOML 1.1", text=f"mine = 07:32\n{SECTION}", refused=(("syntax", 1),), until="1.6"),
    Case(sentence="the 31st of February, which 1.6 is the first to look at", text=f"mine = 2020-02-31\n{SECTION}", refused=(("syntax", 1),), since="1.6"),
    Case(sentence="the 32nd of January", text=f"mine = 2020-01-32\n{SECTION}", refused=(("syntax", 1),)),
    Case(sentence="a number beyond 64 bits in a key that is ignored", text=f"mine = 9223372036854775808\n{SECTION}", refused=(("syntax", 1),)),
    Case(sentence="not-a-number in a key that is ignored", text=f"mine = nan\n{SECTION}"),
    Case(sentence="a header within a table made by dots, which the older parser closes", text=PARTS.replace('[provisioning.authentication]\nmethod = "sas"\ndevice_id_pk = { value = "KEY" }\n', f'authentication.method = "sas"\n[provisioning.authentication.device_id_pk]\nvalue = "{KEY}"\n'), refused=(("syntax", 6),), until="1.4.9"),
    # Keys of the root.
    Case(sentence="a time-out that is too short, known since 1.2.2", text=f"cloud_timeout_sec = 69\n{SECTION}", refused=(("value", 1),), since="1.2.2"),
    Case(sentence="the shortest time-out", text=f"cloud_timeout_sec = 70\n{SECTION}"),
    Case(sentence="a negative number of retries", text=f"cloud_retries = -1\n{SECTION}", refused=(("value", 1),), since="1.2.2"),
    Case(sentence="both names of the parent", text=f'parent_hostname = "a"\nlocal_gateway_hostname = "b"\n{SECTION}', refused=(("duplicate-key", 2),)),
    Case(sentence="a parent and DPS", text=f'parent_hostname = "a"\n{DPS}{TPM}', refused=(("provisioning", 1),)),
    Case(sentence="a parent by its other name and DPS", text=f'local_gateway_hostname = "a"\n{DPS}{TPM}', refused=(("provisioning", 1),)),
    Case(sentence="a trust bundle that is a path", text=f'trust_bundle_cert = "/etc/ca.pem"\n{SECTION}', refused=(("uri", 1),)),
    Case(sentence="a URL with a host that is none", text=f'trust_bundle_cert = "https://a b/ca.pem"\n{SECTION}', refused=(("uri", 1),)),
    Case(sentence="a URL with a port that is none", text=DPS.replace("dps.example", "dps.example:x") + TPM, refused=(("uri", 3),)),
    Case(sentence="a text for a boolean, known since 1.4.20", text=f'prefer_module_identity_cache = "true"\n{SECTION}', refused=(("type", 1),), since="1.4.20"),
    # Tables that must be whole.
    Case(sentence="half of the services' requests, known since 1.4", text=f"{SECTION}[aziot_max_requests]\nkeyd = 5\n", refused=(("missing", 4), ("missing", 4), ("missing", 4)), since="1.4"),
    Case(sentence="half of the daemon's requests, known since 1.4", text=f"{SECTION}[iotedge_max_requests]\nmanagement = 5\n", refused=(("missing", 4),), since="1.4"),
    Case(sentence="a runtime without its network", text=f'{SECTION}[moby_runtime]\nuri = "unix:///s"\n', refused=(("missing", 4),)),
    Case(sentence="a socket that is not named", text=f'{SECTION}[connect]\nworkload_uri = "unix:///s"\n', refused=(("missing", 4),)),
    Case(sentence="sockets that are no URIs", text=f'{SECTION}[listen]\nworkload_uri = "/s"\nmanagement_uri = "unix:///s"\n', refused=(("uri", 5),)),
    Case(sentence="a TLS that nobody knows, up to 1.4", text=f'{SECTION}[listen]\nworkload_uri = "unix:///s"\nmanagement_uri = "unix:///s"\nmin_tls_version = "ssl3"\n', refused=(("value", 7),), until="1.5"),
    Case(sentence="a certificate of a registry that is a path", text=f'{SECTION}[moby_runtime]\nuri = "unix:///s"\nnetwork = "n"\n[moby_runtime.content_trust.ca_certs]\n"a.example" = "/ca"\n', refused=(("uri", 8),)),
    Case(sentence="a local identity without its domain", text=f"{SECTION}[localid]\n", refused=(("missing", 4),)),
    Case(sentence="preloaded certificates that are a list of names", text=f'{SECTION}[preloaded_certs]\na = ["b", "c"]\n'),
    Case(sentence="a preloaded certificate that is a path", text=f'{SECTION}[preloaded_certs]\na = "/c"\n', refused=(("uri", 5),)),
    Case(sentence="a preloaded key that is a web page", text=f'{SECTION}[preloaded_keys]\na = "https://k"\n', refused=(("uri", 5),)),
    Case(sentence="a number among the names of keys", text=f"{SECTION}[aziot_keys]\na = 1\n", refused=(("type", 5),)),
    Case(sentence="retries without end, in any case", text=f'{SECTION}[watchdog]\nmax_retries = "InFinite"\n'),
    Case(sentence="retries in quotation marks", text=f'{SECTION}[watchdog]\nmax_retries = "3"\n', refused=(("value", 5),)),
    # The TPM, known since 1.4.
    Case(sentence="the template's own index, uncommented", text=f'{SECTION}[tpm]\nauth_key_index = "0x00_01_00"\n', refused=(("type", 5),), since="1.4"),
    Case(sentence="an index as a number", text=f"{SECTION}[tpm]\nauth_key_index = 0x00_01_00\n"),
    Case(sentence="an index that is too large", text=f"{SECTION}[tpm]\nauth_key_index = 0x80_00_00\n", refused=(("value", 5),), since="1.4"),
    # Certificates.
    Case(sentence="a CA for no day", text=f'{SECTION}[edge_ca]\nmethod = "self_signed"\nexpiry_days = 0\n', refused=(("value", 6),), since="1.2.4", earlier=(("variant", 4),)),
    Case(sentence="a CA that is renewed", text=f"{SECTION}{QUICK}[edge_ca.auto_renew]\n{RENEW}"),
    Case(sentence="a CA whose key nobody says whether to rotate, known since 1.3", text=f"{SECTION}{QUICK}[edge_ca.auto_renew]\n" + RENEW.partition("\n")[2], refused=(("missing", 6),), since="1.3"),
    Case(sentence="a CA that is renewed at the very end", text=f"{SECTION}{QUICK}[edge_ca.auto_renew]\n" + RENEW.replace("80%", "100%"), refused=(("value", 8),), since="1.3"),
    Case(sentence="a CA that is renewed after hours", text=f"{SECTION}{QUICK}[edge_ca.auto_renew]\n" + RENEW.replace("4%", "4hours"), refused=(("value", 9),), since="1.3"),
    Case(sentence="a CA that is renewed days before its end", text=f"{SECTION}{QUICK}[edge_ca.auto_renew]\n" + RENEW.replace("80%", "10day").replace("4%", "30min")),
    Case(sentence="an EST server that is none, known since 1.2.4", text=f'{SECTION}[edge_ca]\nmethod = "est"\nurl = "est.example"\n', refused=(("uri", 6),), since="1.2.4", earlier=(("variant", 4),)),
    Case(sentence="an authority without its key", text=f'{SECTION}[cert_issuance.local_ca]\ncert = "file:///c"\n', refused=(("missing", 4),)),
    Case(sentence="a certificate of an EST server that is a path", text=f'{SECTION}[cert_issuance.est]\ntrusted_certs = ["/c"]\n[cert_issuance.est.auth]\n[cert_issuance.est.urls]\n', refused=(("uri", 5),)),
    Case(sentence="DPS with a certificate and no name, which it may have since 1.2.4", text=f'{DPS}[provisioning.attestation]\nmethod = "x509"\nidentity_cert = "file:///c"\nidentity_pk = "file:///k"\n', refused=(("missing", 5),), until="1.2.4"),
    # The agent.
    Case(sentence="a date in the environment", text=f"{SECTION}{AGENT}[agent.env]\nA = 2020-01-01\n", refused=(("type", 10),)),
    Case(sentence="binds that are a text", text=f'{SECTION}{AGENT}createOptions = {{ HostConfig = {{ Binds = "/a:/b" }} }}\n', refused=(("type", 9),)),
    Case(sentence="options that nobody knows", text=f"{SECTION}{AGENT}createOptions = {{ Mine = {{ a = [1, 2.5] }} }}\n"),
    Case(sentence="not-a-number among the options, which JSON cannot say", text=f"{SECTION}{AGENT}createOptions = {{ Mine = nan }}\n", refused=(("value", 9),)),
    Case(sentence="ports that are numbers", text=f'{SECTION}{AGENT}createOptions = {{ HostConfig = {{ PortBindings = {{ "80/tcp" = [{{ HostPort = 80 }}] }} }} }}\n', refused=(("type", 9),)),
    Case(sentence="a configuration without an agent", text=f'{SECTION}[agent.config]\nimage = "i"\n', refused=(("missing", 4), ("missing", 4))),
    # Images, known since 1.4.
    Case(sentence="images cleaned twice a day", text=f'{SECTION}[image_garbage_collection]\ncleanup_recurrence = "12h"\n', refused=(("value", 5),), since="1.4"),
    Case(sentence="images cleaned every other day", text=f'{SECTION}[image_garbage_collection]\ncleanup_recurrence = "1day 24h"\ncleanup_time = "9:30"\nimage_age_cleanup_threshold = "90m"\nenabled = false\n'),
    Case(sentence="images cleaned at an hour that no day has", text=f'{SECTION}[image_garbage_collection]\ncleanup_time = "25:00"\n', refused=(("value", 5),), since="1.4"),
    Case(sentence="images cleaned at a number", text=f'{SECTION}[image_garbage_collection]\nimage_age_cleanup_threshold = "7"\n', refused=(("value", 5),), since="1.4"),
    Case(sentence="images cleaned perhaps", text=f'{SECTION}[image_garbage_collection]\nenabled = "true"\n', refused=(("type", 5),), since="1.4"),
    Case(sentence="half a day more, which 1.6 is the first to read", text=f'{SECTION}[image_garbage_collection]\nimage_age_cleanup_threshold = "1.5d"\n', refused=(("value", 5),), since="1.4", until="1.6"),
)  # fmt: skip


@pytest.mark.parametrize("text", EVERY)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_a_version_refuses_by_its_own_rules(case: Case, text: str) -> None:
    """With these rules and lines; where nothing is refused the file is valid."""
    version = config.Version.parse(text)
    verdict = config.check(case.text.encode(), version=version)
    found = tuple((problem.rule, problem.line) for problem in verdict.problems if problem.severity == "error")
    assert (found, verdict.valid) == (case.expected(version), not case.expected(version))


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ('additional_info = "file:///etc/aziot/more.toml"', "1.2.9"),
        ('imported_master_encryption_key = "/var/lib/key"', "1.2.0"),
    ],
)
def test_what_hangs_on_another_file_is_not_judged(line: str, version: str) -> None:
    """It is not called valid; the line is told, and an edit leaves it to the daemon."""
    text = f"{line}\n{SECTION}".encode()
    verdict = config.check(text, version=config.Version.parse(version))
    told = [(problem.line, problem.severity, problem.rule) for problem in verdict.problems]
    assert (verdict.valid, verdict.editable, told) == (None, True, [(1, "unjudged", "unjudged")])
    assert (
        config.edit(text, config.Wanted(connection_string=STRING), version=config.Version.parse(version)).changes == ()
    )


@pytest.mark.parametrize("wanted", ["QQ", "QQ=", "QQ==", "QQ===", "QUJD="])
@pytest.mark.parametrize("text", ["", SECTION, PARTS.replace("KEY", KEY)], ids=["no file", "a string", "its parts"])
@pytest.mark.parametrize("version", EVERY)
def test_what_is_written_every_version_takes(text: str, wanted: str, version: str) -> None:
    """A key is padded as it should be, whatever its padding was, and a semicolon at the end is no obstacle."""
    judge = config.Version.parse(version)
    string = f"HostName=h;DeviceId=d;SharedAccessKey={wanted};"
    edit = config.edit(text.encode(), config.Wanted(connection_string=string), version=judge)
    assert config.check(edit.content, version=judge) == config.Verdict(valid=True, editable=True, problems=())
    assert ("QUJD" if "QUJD" in wanted else "QQ==") in edit.content.decode()
    assert config.edit(edit.content, config.Wanted(connection_string=string), version=judge).content == edit.content
