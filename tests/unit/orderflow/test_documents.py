"""Incoming documents: strict parsing, cleaned texts, and a report of every invalid field."""

from __future__ import annotations

import json
import time
import unicodedata
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from orderflow.domain.documents import MOST_LEVELS, Invalid, Malformed, cleaned, encode, parse, read, unreadable

texts = st.text(max_size=20)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


class Item(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=5)]
    count: Annotated[int, Meta(ge=1, le=9)]
    weight: float = 0.0


class Basket(Struct, frozen=True):
    items: Annotated[tuple[Item, ...], Meta(max_length=3)]
    note: str = ""


def errors(document: Any) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        read(json.dumps(document), Basket)
    return refused.value.errors


@given(documents)
def test_valid_json_matches_the_standard_library(document: Any) -> None:
    assert parse(json.dumps(document)) == document


@given(documents)
def test_cleaned_document_is_accepted_by_every_queue(document: Any) -> None:
    clean = cleaned(document)
    assert encode(clean).isascii()
    assert unreadable(clean) == []
    assert cleaned(clean) == clean


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 20_000, '{"a": ' * 20_000, '{"a": 1, "a": 1}', "NaN", "Infinity", "[1] [2]", "1" * 5_000, "1e400", "[-1e400]"]
)
def test_ambiguous_or_incomplete_json_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 500, 1_000, 5_000])
def test_document_nested_beyond_the_limit_is_malformed(levels: int) -> None:
    for text in ("[" * levels + "]" * levels, '{"a": ' * levels + "1" + "}" * levels):
        with pytest.raises(Malformed, match="nested"):
            parse(text)


def test_document_nested_up_to_the_limit_is_read() -> None:
    document = parse('{"a": [' * (MOST_LEVELS // 2) + "]}" * (MOST_LEVELS // 2))
    assert unreadable(cleaned(document)) == []


def test_doubled_key_among_many_is_found_fast() -> None:
    began = time.process_time()
    with pytest.raises(Malformed, match="'z'"):
        parse("{" + ",".join(f'"{number:x}": 1' for number in range(20_000)) + ', "z": 1, "z": 1}')
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("number", ["2", "2.0", "2e0", "20E-1"])
def test_whole_numbers_are_integers_however_written(number: str) -> None:
    basket = read(f'{{"items": [{{"name": "a", "count": {number}, "weight": {number}}}]}}', Basket)
    assert (basket.items[0].count, basket.items[0].weight) == (2, 2.0)


@pytest.mark.parametrize("number", ["2.5", "1e300", "1e30", "true", '"2"'])
def test_other_numbers_are_no_integers(number: str) -> None:
    with pytest.raises(Invalid, match="count"):
        read(f'{{"items": [{{"name": "a", "count": {number}}}]}}', Basket)


@pytest.mark.parametrize("text", [" é ", "\u200bé\ufeff", "\te\u0301\n", "\ufeff é"])
def test_texts_are_trimmed_and_composed(text: str) -> None:
    assert cleaned({"note": [text]}) == {"note": ["é"]}


def test_joiners_and_marks_inside_a_text_stay() -> None:
    text = "a\u200cb\u200dc\u200fd"
    assert cleaned(text) == text


@given(texts)
def test_text_keeps_its_characters(text: str) -> None:
    assert unicodedata.normalize("NFC", text).find(cleaned(text).partition("\ufffd")[0]) >= 0


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x85", "\u202e", "\u2066", "\ud800", "\ufdd0", "\ufffe", "\uffff"])
def test_control_characters_are_reported(character: str) -> None:
    assert errors({"items": [], "note": f"a{character}b"}) == [("$.note", f"U+{ord(character):04X} is not allowed in a text")]
    assert cleaned(f"a{character}b") == "a\ufffdb"


def test_all_invalid_fields_are_reported_together() -> None:
    wrong = {"items": [{"name": " ", "count": 0}, {"count": 1, "colour": "red"}, 7], "note": 5}
    assert errors(wrong) == [
        ("$.items[0].name", "expected `str` of length >= 1"),
        ("$.items[0].count", "expected `int` >= 1"),
        ("$.items[1].name", "this field is missing"),
        ("$.items[1].colour", "there is no such field"),
        ("$.items[2]", "expected `object`, got `int`"),
        ("$.note", "expected `str`, got `int`"),
    ]


def test_too_many_items_are_reported_for_the_list() -> None:
    assert errors({"items": [{"name": "a", "count": 1}] * 4}) == [("$.items", "expected `array` of length <= 3")]


@given(documents)
def test_errors_exist_exactly_for_refused_documents(document: Any) -> None:
    try:
        msgspec.convert(cleaned(document), Basket)
        fits = not unreadable(document)
    except msgspec.ValidationError:
        fits = False
    if fits:
        read(json.dumps(document), Basket)
    else:
        assert errors(document)
