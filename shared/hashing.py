"""Keyed hashes: what is personal or secret is kept only as these."""

import hashlib
import hmac


def keyed_hash(secret: str, value: str) -> bytes:
    """HMAC-SHA-256 of `value` under `secret` (32 bytes); without the secret it tells nothing of the value."""
    return hmac.new(secret.encode(), value.encode(), hashlib.sha256).digest()


def derived_secret(secret: str, purpose: str) -> str:
    """A secret for one purpose, derived from the installation's (hex, 64 characters)."""
    return keyed_hash(secret, f"attune {purpose}").hex()
