"""Small things that more than one part of the addon needs."""

import ipaddress


def anonymise(ip):
    """`ip` cut to its network: the first 24 bits of IPv4, the first 48 of IPv6."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False).network_address)
