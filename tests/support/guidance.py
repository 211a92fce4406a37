"""Failures of tests that guide a change: what to add to which file, in words."""

from collections.abc import Iterable


def require_same(listed: Iterable[str], needed: Iterable[str], where: str, why: str) -> None:
    """Fail where a list in a file differs from what it must have; the message names what to add or remove, where, and `why`."""
    has, must_have = set(listed), set(needed)
    advice = [
        f"{verb} {', '.join(sorted(names))} {preposition} {where}"
        for verb, names, preposition in (("add", must_have - has, "to"), ("remove", has - must_have, "from"))
        if names
    ]
    assert not advice, f"{' and '.join(advice)}: {why}"
