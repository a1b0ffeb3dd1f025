"""IP addresses as texts and as what a connect makes of them."""

from ipaddress import IPv4Address, IPv6Address, ip_address


def is_literal(host: str) -> bool:
    """An IP address in its canonical form, rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside ::ffff:a.b.c.d, which is where such a connect goes."""
    return getattr(address, "ipv4_mapped", None) or address
