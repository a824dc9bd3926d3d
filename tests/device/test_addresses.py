"""Where the operator may connect to."""

import dataclasses
import ipaddress

import pytest

from edgeherd.device import addresses
from edgeherd.device.port import AddressNotAllowedError, Limits, Login

LOGIN = Login(host="10.1.2.3", port=22, user="x")
ANY = Limits()

SPECIAL = [
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fe80::a9fe:a9fe",
    "ff02::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fec0::1",
    "feff:ffff::1",
]
WRAPPED = [
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "::169.254.169.254",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::",
    "::ffff:0:127.0.0.1",
    "::ffff:0:a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1::10.1.2.3",
    "2001:0:7f00:1::",
    "2001:0:a01:203::1",
    "::1%lo",
    "::ffff:127.0.0.1%lo",
]
ORDINARY = ["10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "198.51.100.7", "8.8.8.8", "fd12::1", "2a00::1"]


@pytest.mark.parametrize("address", [*SPECIAL, *WRAPPED])
def test_special_addresses_are_refused(address: str) -> None:
    """By themselves, and under networks that are wider, straight or behind a jump host."""
    for limits in (ANY, Limits(networks=("0.0.0.0/0", "::/0")), Limits(networks=("10.0.0.0/8",))):
        with pytest.raises(AddressNotAllowedError):
            addresses.allowed([address], limits)
        with pytest.raises(AddressNotAllowedError):
            addresses.check_remote(dataclasses.replace(LOGIN, host=address, limits=limits))


@pytest.mark.parametrize("address", SPECIAL)
def test_a_special_address_that_is_named_is_allowed(address: str) -> None:
    """By itself, that is by a network that is no wider than what makes it special."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    assert addresses.allowed([address], Limits(networks=(str(ip),))) == [address]


def test_networks_that_are_special_can_be_named() -> None:
    """As a whole, or a part of them; a wider one opens none."""
    loopback = ipaddress.ip_address("127.0.0.1")
    assert addresses.is_allowed(loopback, Limits(networks=("127.0.0.0/8",)))
    assert addresses.is_allowed(loopback, Limits(networks=("127.0.0.0/24",)))
    assert addresses.is_allowed(loopback, Limits(networks=("127.0.0.1/8",)))  # host bits do not matter
    assert not addresses.is_allowed(loopback, Limits(networks=("126.0.0.0/7",)))
    assert not addresses.is_allowed(loopback, Limits(networks=("127.0.1.0/24",)))
    assert addresses.is_allowed(ipaddress.ip_address("::ffff:127.0.0.1"), Limits(networks=("127.0.0.0/8",)))


@pytest.mark.parametrize("address", ORDINARY)
def test_ordinary_addresses(address: str) -> None:
    """All of them without networks; those inside with networks."""
    assert addresses.allowed([address], ANY) == [address]
    assert addresses.allowed([address], Limits(networks=("0.0.0.0/0", "::/0"))) == [address]
    with pytest.raises(AddressNotAllowedError, match="in none of the HubConnection's allowedCIDRs"):
        addresses.allowed([address], Limits(networks=("203.0.113.0/24", "2001:db8::/32")))


@pytest.mark.parametrize("address", ["::ffff:10.1.2.3", "::ffff:0:10.1.2.3", "2002:0a01:0203::1", "64:ff9b::10.1.2.3"])
def test_an_address_that_wraps_another_is_that_other(address: str) -> None:
    """It is inside of its networks, and of no others."""
    assert addresses.allowed([address], Limits(networks=("10.0.0.0/8",))) == [address]
    with pytest.raises(AddressNotAllowedError):
        addresses.allowed([address], Limits(networks=("::/0",)))


CLUSTER = ("10.96.0.0/12", "10.96.0.1/32", "fd00:10:96::/108")


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("10.96.0.1", (), False),
        ("10.111.255.254", (), False),
        ("fd00:10:96::a", (), False),
        ("::ffff:10.96.0.1", (), False),
        ("64:ff9b::10.96.0.1", (), False),
        ("10.112.0.1", (), True),
        ("fd00:10:97::a", (), True),
        ("10.96.0.7", ("10.0.0.0/8",), False),
        ("10.96.0.7", ("10.96.0.0/12",), True),
        ("10.96.0.7", ("10.96.0.0/24",), True),
        ("10.96.0.1", ("10.96.0.0/24",), False),
        ("10.96.0.1", ("10.96.0.0/24", "10.96.0.1/32"), True),
        ("10.97.0.7", ("10.96.0.0/24",), False),
        ("127.0.0.1", (), False),
    ],
)
def test_the_clusters_own_networks_must_be_named(address: str, networks: tuple[str, ...], expected: bool) -> None:
    """As loopback must; an address that is in two of them, by a network that is within both."""
    limits = Limits(networks=networks, cluster_networks=CLUSTER)
    assert addresses.is_allowed(ipaddress.ip_address(address), limits) is expected


def test_of_many_addresses_the_allowed_ones_are_used() -> None:
    """In their order; what is no address is none of them."""
    found = ["127.0.0.1", "10.1.2.3", "::1", "fe80::1%2", "2a00::1", "press-01"]
    assert addresses.allowed(found, ANY) == ["10.1.2.3", "2a00::1"]
    with pytest.raises(AddressNotAllowedError, match="loopback"):
        addresses.allowed(["127.0.0.1", "press-01"], ANY)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost",
        "localhost.",
        "press.localhost",
        "ip6-loopback",
        "127.1",
        "127.1.",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0",
        "169.254.43518",
        "0xa9fea9fe",
    ],
)
def test_names_that_a_jump_host_would_take_for_something_special(host: str) -> None:
    """It has the same C library as we have."""
    with pytest.raises(AddressNotAllowedError):
        addresses.check_remote(dataclasses.replace(LOGIN, host=host))


def test_a_name_behind_a_jump_host() -> None:
    """Only there is it looked up: good where nothing is limited, and nobody knows where there are networks."""
    addresses.check_remote(dataclasses.replace(LOGIN, host="press-01.plant"))
    addresses.check_remote(dataclasses.replace(LOGIN, host="10.257"))
    with pytest.raises(AddressNotAllowedError, match="give its address"):
        addresses.check_remote(
            dataclasses.replace(LOGIN, host="press-01.plant", limits=Limits(networks=("10.0.0.0/8",)))
        )
    addresses.check_remote(dataclasses.replace(LOGIN, limits=Limits(networks=("10.0.0.0/8",))))


def test_ports() -> None:
    """Any, or those that are named."""
    addresses.check_port(LOGIN)
    addresses.check_port(dataclasses.replace(LOGIN, limits=Limits(ports=(2222, 22))))
    with pytest.raises(AddressNotAllowedError, match="port 22 is not among the HubConnection's allowedPorts"):
        addresses.check_port(dataclasses.replace(LOGIN, limits=Limits(ports=(2222,))))
