"""Redaction and shortening of everything an execution lets out. One `Redactor` per execution; `context` calls it.

Known limits: a secret that is split over two texts, reversed, hashed, encrypted or compressed is not recognised.
"""

from runlane.redaction.names import MASK, is_secret_name
from runlane.redaction.redactor import Redacted, Redactor, Sanitized, masked_names

__all__ = ["MASK", "Redacted", "Redactor", "Sanitized", "is_secret_name", "masked_names"]
