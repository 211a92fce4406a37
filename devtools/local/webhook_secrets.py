"""Replace the webhook secrets of a local target, whose CloudFormation generates them with the punctuation that the template excludes."""

import re
import secrets
from string import ascii_letters, digits

from devtools.target import Target

SECRETS = ("CarrierWebhookSecret", "PaymentsWebhookSecret")
LENGTH = 64
# GenerateSecretString on AWS, without punctuation: valid Base64 at this length. Or signing secrets of Stripe.
_USABLE = re.compile(rf"[A-Za-z0-9]{{{LENGTH}}}|(whsec_[A-Za-z0-9]+\s*)+")


def ensure(target: Target) -> None:
    """Replace secrets that neither Standard Webhooks nor Stripe signs with."""
    client = target.client("secretsmanager")
    for secret in SECRETS:
        name = target.resources[secret]
        if not _USABLE.fullmatch(client.get_secret_value(SecretId=name)["SecretString"]):
            client.put_secret_value(SecretId=name, SecretString="".join(secrets.choice(ascii_letters + digits) for _ in range(LENGTH)))
