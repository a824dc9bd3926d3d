"""The identity through its whole life: certificates, renewed keys, another way to authenticate, drift."""

import datetime as dt
import os
import pathlib
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from world import Managed, Team, World, assert_whole, because, is_ready, settings_of

import processes
from edgeherd_sim.demo import scene
from edgeherd_sim.devices.device import Device

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def certificate(name: str) -> tuple[str, str, str]:
    """A self-signed certificate and its key in PEM, and its thumbprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    made = builder.not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    return public.decode(), private.decode(), made.fingerprint(hashes.SHA256()).hex().upper()


def put_by_hand(device: Device, path: str, content: str) -> None:
    """As an administrator did."""
    file = pathlib.Path(f"{device.root}{path}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


async def put_certificate(team: Team, name: str, public: str, private: str) -> None:
    """The Secret with a certificate, new or in the place of an older one."""
    await team.world.kubectl("delete", "secret", name, "-n", team.namespace, "--ignore-not-found")
    await team.world.put_secret(team.namespace, name, "kubernetes.io/tls", {"tls.crt": public, "tls.key": private})


async def test_a_certificate_that_is_on_the_device(world: World) -> None:
    """The hub gets the thumbprints, the daemon's file the paths; no private key comes near the operator."""
    async with world.team() as team:
        device = world.device()
        public, private, thumbprint = certificate("press")
        put_by_hand(device, "/etc/certs/press.pem", public)
        put_by_hand(device, "/etc/certs/press.key", private)
        wanted = {
            "primaryThumbprint": thumbprint.lower(),
            "secondaryThumbprint": "AB" * 32,
            "certificatePath": "/etc/certs/press.pem",
            "privateKeyPath": "/etc/certs/press.key",
        }
        managed = await team.ready(device, identity={"authentication": "SelfSignedX509", "x509": wanted})
        identity = world.hub.store.device(managed.device_id)
        authentication = identity.authentication
        assert (authentication.type, identity.edge) == ("selfSigned", True)
        assert (authentication.primary_thumbprint, authentication.secondary_thumbprint) == (thumbprint, "AB" * 32)
        settings = settings_of(device)
        assert settings.x509 is not None
        assert (settings.x509.identity_cert, settings.x509.identity_pk) == (
            "file:///etc/certs/press.pem",
            "file:///etc/certs/press.key",
        )
        assert await managed.secret() == {
            "connectionString": f"HostName={world.hub.host_name};DeviceId={managed.device_id};x509=true",
            "primaryThumbprint": thumbprint,
            "secondaryThumbprint": "AB" * 32,
            "hostName": world.hub.host_name,
            "deviceId": managed.device_id,
        }
        assert device.restarts == 1
        await managed.delete()
        await managed.until_gone()
        assert managed.device_id not in {identity.device_id for identity in world.hub.store.devices()}


async def test_a_certificate_from_a_secret_is_placed_and_replaced(world: World) -> None:
    """A new one in the Secret reaches hub and device, with one restart."""
    async with world.team() as team:
        device = world.device()
        first, second = certificate("press"), certificate("press")
        await put_certificate(team, "certificate", *first[:2])
        wanted = {"certificateSecretRef": {"name": "certificate"}}
        managed = await team.ready(device, identity={"authentication": "SelfSignedX509", "x509": wanted})
        placed = pathlib.Path(f"{device.root}/etc/iotedge/edgeherd")
        assert (placed / "identity.pem").read_text() == first[0]
        assert (placed / "identity.key.pem").read_text() == first[1]
        assert (placed / "identity.key.pem").stat().st_mode & 0o7777 == 0o400
        restarts = device.restarts
        await put_certificate(team, "certificate", *second[:2])
        await managed.look_now()
        await managed.until(is_ready)
        assert world.hub.store.device(managed.device_id).authentication.primary_thumbprint == second[2]
        assert (placed / "identity.pem").read_text() == second[0]
        assert (restarts, device.restarts) == (1, 2)
        assert "PRIVATE KEY" not in str(await managed.get())


async def test_a_certificate_secret_that_is_none(world: World) -> None:
    """It is said, and nothing is registered."""
    async with world.team() as team:
        device = world.device()
        await world.put_secret(team.namespace, "bad", "kubernetes.io/tls", {"tls.crt": "x", "tls.key": "y"})
        wanted = {"certificateSecretRef": {"name": "bad"}}
        manifest = team.manifest(device, identity={"authentication": "SelfSignedX509", "x509": wanted})
        managed = await team.apply(manifest)
        await managed.until(because("CertificateSecretInvalid"))
        assert managed.device_id not in {identity.device_id for identity in world.hub.store.devices()}


async def test_an_identity_may_change_how_it_authenticates(world: World) -> None:
    """From keys to a certificate and back; the same identity, and a Secret without what is obsolete."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        generation = world.hub.store.device(managed.device_id).generation_id
        public, private, thumbprint = certificate("press")
        await put_certificate(team, "certificate", public, private)
        wanted = {"certificateSecretRef": {"name": "certificate"}}
        await managed.patch(identity={"authentication": "SelfSignedX509", "x509": wanted})
        await managed.until(is_ready)
        identity = world.hub.store.device(managed.device_id)
        assert (identity.generation_id, identity.authentication.primary_thumbprint) == (generation, thumbprint)
        assert set(await managed.secret() or {}) == {"connectionString", "primaryThumbprint", "hostName", "deviceId"}
        await managed.patch(identity={"authentication": "SymmetricKey", "x509": None})
        await managed.until(is_ready)
        assert world.hub.store.device(managed.device_id).generation_id == generation
        assert device.restarts == 3
        await assert_whole(managed, device)


async def test_the_key_that_is_not_in_use_is_renewed_on_request(world: World) -> None:
    """The device does not notice; the request is taken away when it was heard."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        before = await managed.secret()
        await managed.annotate("edgeherd.io/renew-key", "Secondary")
        await managed.until(lambda body: "edgeherd.io/renew-key" not in body["metadata"].get("annotations", {}))
        await managed.look_now()
        after = await managed.secret()
        assert before is not None
        assert after is not None
        assert (after["primaryKey"], after["secondaryKey"] != before["secondaryKey"]) == (before["primaryKey"], True)
        assert device.restarts == 1
        await assert_whole(managed, device)


async def test_the_key_in_use_is_not_renewed(world: World) -> None:
    """It would lock the device out until its file is written."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        before = await managed.secret()
        await managed.annotate("edgeherd.io/renew-key", "Primary")
        await managed.until(lambda body: "edgeherd.io/renew-key" not in body["metadata"].get("annotations", {}))
        assert await managed.secret() == before


async def test_an_edge_flag_that_was_turned_off_is_turned_on_again(world: World) -> None:
    """With keys and everything else as they were."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        before = world.hub.store.device(managed.device_id)
        keys = {"primaryKey": before.authentication.primary_key, "secondaryKey": before.authentication.secondary_key}
        body = {"authentication": {"symmetricKey": keys}, "deviceScope": before.device_scope}
        world.hub.store.put_device(managed.device_id, body, "*")
        await managed.look_now()
        await managed.until(is_ready)
        await assert_whole(managed, device)
        assert device.restarts == 1


async def test_a_credential_that_may_not_read_twins_costs_a_registry_read(world: World) -> None:
    """And works all the same."""
    async with world.team() as team:
        device = world.device()
        await world.put_hub_secret(f"registry-{team.namespace}", world.hub.connection_string_of("registryReadWrite"))
        hub = f"registry-{team.namespace}"
        await world.kubectl.apply(world.hub_connection(hub, hub))
        managed = await team.ready(device, hubRef={"name": hub})
        world.hub.requests.clear()
        await managed.look_now()
        paths = {entry.path for entry in world.hub.requests if managed.device_id in entry.path}
        assert f"/devices/{managed.device_id}" in paths
        await assert_whole(managed, device)


async def edgeherd(world: World, *arguments: str) -> tuple[int, str, str]:
    """Run the command line as an administrator would."""
    told = scene.operator_environment(world.kubectl.kubeconfig, world.hub.facts(), namespace=world.namespace)
    done = await processes.finished(sys.executable, "-m", "edgeherd", *arguments, env={**os.environ, **told})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_the_hub_s_list_says_who_manages_what(world: World) -> None:
    """And unmanaged devices can be imported."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        stranger = f"{team.namespace}.stranger"
        world.hub.store.put_device(stranger, {"capabilities": {"iotEdge": True}}, None)
        status, out, err = await edgeherd(world, "hub", "devices", "--hub", world.hub_name)
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert lines[0].split("   ")[0] == "DEVICE ID"
        rows = {line.split()[0]: line.split() for line in lines[1:]}
        assert rows[managed.device_id][1:3] == ["Enabled", "sas"]
        assert rows[managed.device_id][-2:] == ["2", f"{team.namespace}/{managed.name}"]
        assert rows[stranger][-2:] == ["2", "<none>"]
        status, out, err = await edgeherd(world, "hub", "import", "--hub", world.hub_name, "-n", team.namespace)
        assert status == 0
        assert f"deviceId: {stranger}\n" in out
        assert managed.device_id not in out
        await world.kubectl("apply", "--dry-run=server", "-f", "-", stdin=out)
        world.hub.store.remove(stranger)


async def test_a_hub_that_is_not_there_is_said_in_one_line(world: World) -> None:
    """By the command line too."""
    status, out, err = await edgeherd(world, "hub", "devices", "--hub", "nowhere")
    assert (status, out) == (1, "")
    assert err == "Error: There is no HubConnection 'nowhere'. Ask the platform's administrator, or fix spec.hubRef.\n"


async def test_what_a_device_costs_the_hub(world: World) -> None:
    """Two registry operations for its creation, a twin read for each look, two operations and two twin reads for its end."""
    async with world.team() as team:
        device = world.device()

        def asked(managed: Managed) -> list[tuple[str, str]]:
            mine = [
                entry
                for entry in world.hub.requests
                if managed.device_id in entry.path and entry.caller == "iothubowner"
            ]
            world.hub.requests.clear()
            return [(entry.method, entry.path.split("/")[1]) for entry in mine]

        world.hub.requests.clear()
        managed = await team.ready(device)
        created = asked(managed)
        assert [call for call in created if call[1] == "devices"] == [("GET", "devices"), ("PUT", "devices")]
        for _ in range(3):
            await managed.look_now()
        assert asked(managed) == [("GET", "twins")] * 3
        await managed.delete()
        await managed.until_gone()
        # Whose it is decides whether the device is cleaned, and again, a minute later perhaps, whether the identity goes.
        twin, identity = ("GET", "twins"), ("GET", "devices")
        assert asked(managed) == [twin, identity, twin, ("DELETE", "devices")]
