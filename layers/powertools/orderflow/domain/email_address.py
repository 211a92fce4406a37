"""Email addresses to which SES can send. No AWS here."""

from __future__ import annotations

import re

# RFC 5321, 4.5.3.1: octets of a local part and of a path without its brackets.
_LOCAL_LENGTH, _LENGTH = 64, 254
# RFC 5322, 3.2.3: a dot-atom. SES accepts neither quoted local parts nor characters beyond ASCII.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)+(?![0-9]+$){_LABEL}")


class Undeliverable(ValueError):
    """SES cannot send to this address. The message gives the reason without the address."""


def for_ses(address: str) -> str:
    """Return an email address in the form that SES accepts: an internationalized domain as Punycode (IDNA 2008, UTS 46).

    Raises:
        Undeliverable: the local part is not an ASCII dot-atom of at most 64 characters, or the domain is not a public domain name.
    """
    local, _, domain = address.rpartition("@")
    if len(local) > _LOCAL_LENGTH or not _LOCAL.fullmatch(local):
        message = "the part before the @ must have at most 64 ASCII letters, digits and signs"
        raise Undeliverable(message)
    domain = domain if domain.isascii() else _punycode(domain)
    if not _DOMAIN.fullmatch(domain) or len(local) + 1 + len(domain) > _LENGTH:
        message = "the part after the @ is not a domain name"
        raise Undeliverable(message)
    return f"{local}@{domain}"


def _punycode(domain: str) -> str:
    import idna  # noqa: PLC0415 - its tables are large, and hardly an address needs them

    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return ""
