"""Email addresses in the form that SES accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain.email_address import Undeliverable, for_ses


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann.O'Neil+shop@mail.example.co.uk", "Ann.O'Neil+shop@mail.example.co.uk"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
    ],
)
def test_domains_go_to_ses_as_punycode(address: str, accepted: str) -> None:
    assert for_ses(address) == accepted


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@localhost",
        "ann@example..com",
        "ann@-example.com",
        "ann@example.com.",
        "ann@127.0.0.1",
        "ann@[127.0.0.1]",
        "ann@exa mple.com",
        "änn@example.com",
        '"ann"@example.com',
        ".ann@example.com",
        "ann.@example.com",
        "a..n@example.com",
        "ann\n@example.com",
        "ann@example.com\n",
        "ann@\u200b.com",
        "Ann <ann@example.com>",
        f"{'a' * 65}@example.com",
        f"ann@{'a' * 64}.com",
        f"ann@{'a.' * 125}com",
    ],
)
def test_address_that_ses_refuses_is_undeliverable(address: str) -> None:
    with pytest.raises(Undeliverable) as refused:
        for_ses(address)
    assert not address or address not in str(refused.value)


@given(st.text(max_size=40) | st.text(max_size=20).map(lambda domain: f"ann@{domain}"))
def test_accepted_address_is_ascii_and_unchanged(address: str) -> None:
    try:
        accepted = for_ses(address)
    except Undeliverable:
        return
    assert accepted.isascii()
    assert for_ses(accepted) == accepted
