"""Ask SES to verify the address from which a stack sends emails."""

from argparse import Namespace

from devtools import target as targets
from devtools import ui
from devtools.target import Target
from devtools.trial.users import checked_address


def verified(target: Target, email: str) -> bool:
    """Return whether SES has verified an address."""
    answer = target.client("ses").get_identity_verification_attributes(Identities=[email])["VerificationAttributes"]
    return answer.get(email, {}).get("VerificationStatus") == "Success"


def main(arguments: Namespace) -> None:
    """Have SES email a link to the address, unless it is verified."""
    target, email = targets.chosen(arguments.stack), checked_address(arguments.email)
    if not verified(target, email):
        target.client("ses").verify_email_identity(EmailAddress=email)
    if verified(target, email):
        ui.done(email, f"verified; deploy with EmailFrom={email}")
    else:
        ui.done(email, f"SES has emailed a link to it; open the link, then deploy with EmailFrom={email}")
