"""Keyed hashes: what is personal or secret is kept only as these."""

import hashlib
import hmac


def keyed_hash(secret: str, value: str) -> bytes:
    """HMAC-SHA-256 of `value` under `secret` (32 bytes); without the secret it tells nothing of the value.

    Any text has one, also what stands for bytes that are no UTF-8 or for half a character.
    """
    return hmac.new(secret.encode(), value.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def derived_secret(secret: str, purpose: str) -> str:
    """A secret for one purpose, derived from the installation's (hex, 64 characters)."""
    return keyed_hash(secret, f"attune {purpose}").hex()
