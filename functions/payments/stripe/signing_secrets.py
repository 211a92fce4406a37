"""Stripe's signing secrets in the text of PaymentsWebhookSecret."""

PREFIX = "whsec_"


def signing_secrets(text: str) -> list[str]:
    """Return the signing secrets of Stripe in a secret's text, separated by line breaks: two while one replaces the other.

    Anything else is left out, as it must not verify Stripe's events: the sender of webhooks before Stripe knows the generated secret.
    """
    return [one for one in text.split() if one.startswith(PREFIX)]
