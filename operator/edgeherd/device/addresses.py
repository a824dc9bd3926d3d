"""Where the operator may connect to. Pure.

A tenant's manifest names the host; it must not make the operator knock at itself, at its node, at the cluster or at the
cloud's metadata service.
"""

import ipaddress
import socket

from edgeherd.device.port import AddressNotAllowedError, Limits, Login

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SPECIAL: tuple[_Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata service of most clouds
        "224.0.0.0/3",
        "168.63.129.16/32",  # Azure's platform address
        "100.100.100.200/32",  # Alibaba Cloud's metadata service
        "192.0.0.192/32",  # Oracle Cloud's
        "::/128",
        "::1/128",
        "fe80::/10",
        "fec0::/10",  # site-local, which RFC 3879 took back: nobody can say whose site is meant
        "ff00::/8",
        "fd00:ec2::/32",  # AWS's
        "fd20:ce::254/128",  # Google Cloud's
        "fd00:42::42/128",  # Scaleway's
        "64:ff9b:1::/48",  # NAT64 and Teredo: which IPv4 address is meant is not for us to say
        "2001::/32",
    )
)
"""Refused unless the administrator names one of these, or a part of it; a wider network does not open them."""

_WRAPPERS = tuple(ipaddress.ip_network(network) for network in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96"))
"""NAT64 (RFC 6052), SIIT's IPv4-translated (RFC 7915), and the addresses that were called IPv4-compatible. IPv4-mapped ones and
6to4 are told by `ipaddress`."""
_LOCAL_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}
)


def parsed(host: str) -> _Address | None:
    """The address, if the host is one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _odd(host: str) -> _Address | None:
    """The address that the C library sees in '127.1', '0x7f.1' or '2130706433'."""
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, UnicodeError):
        return None


def _plain(address: _Address) -> _Address:
    """The IPv4 address that is meant by an IPv6 address that wraps one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if int(address) > 1 and any(address in network for network in _WRAPPERS):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _within(network: _Network, wider: _Network) -> bool:
    return network.version == wider.version and network[0] in wider and network[-1] in wider


def is_allowed(address: _Address, limits: Limits) -> bool:
    """Whether the address is inside of the limits."""
    plain = _plain(address)
    named = [ipaddress.ip_network(network, strict=False) for network in limits.networks]
    inside = [network for network in named if plain in network]
    cluster = (ipaddress.ip_network(network) for network in limits.cluster_networks)
    special = [network for network in (*_SPECIAL, *cluster) if plain in network]
    if special:
        return all(any(_within(network, each) for network in inside) for each in special)
    return bool(inside) or not named


def check_port(login: Login) -> None:
    """Raises AddressNotAllowedError for a port that is outside of the limits."""
    if login.limits.ports and login.port not in login.limits.ports:
        raise AddressNotAllowedError(f"port {login.port} is not among the HubConnection's allowedPorts")


def allowed(addresses: list[str], limits: Limits) -> list[str]:
    """Those of a host's addresses that may be connected to.

    Raises:
        AddressNotAllowedError: there are none.
    """
    good = [address for address in addresses if (ip := parsed(address)) is not None and is_allowed(ip, limits)]
    if not good:
        raise AddressNotAllowedError(_refusal(limits))
    return good


def check_remote(login: Login) -> None:
    """What can be said of a host whose name the jump host looks up.

    Raises:
        AddressNotAllowedError: it is outside of the limits, or nobody can tell.
    """
    address = parsed(login.host) or _odd(login.host)
    name = login.host.lower().rstrip(".")
    if address is not None:
        if not is_allowed(address, login.limits):
            raise AddressNotAllowedError(_refusal(login.limits))
    elif name in _LOCAL_NAMES or name.endswith(".localhost"):
        raise AddressNotAllowedError(_refusal(login.limits))
    elif login.limits.networks:
        message = (
            "the jump host looks up its name, so nobody can tell whether it is in the HubConnection's allowedCIDRs; "
            "give its address"
        )
        raise AddressNotAllowedError(message)


def _refusal(limits: Limits) -> str:
    if limits.networks:
        return "its address is in none of the HubConnection's allowedCIDRs"
    return (
        "its address is loopback, link-local, multicast, the cluster's or the cloud's own, which are refused unless the "
        "HubConnection's allowedCIDRs name them"
    )
