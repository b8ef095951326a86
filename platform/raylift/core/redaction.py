"""Addresses without their secrets, for everything that is printed, logged or stored."""

from __future__ import annotations

import re

HIDDEN = "***"

# A database's password may hold any character but '@'; elsewhere the user part ends before the first slash.
_DATABASE_USER = re.compile(r"(?<=://)[^:/\s@'\"]*:[^@\s'\"]*@")
_IS_DATABASE = re.compile(r"(?:postgres\w*|mysql|mariadb|mssql|oracle)(?:\+\w+)?://[^\s'\"]*")
_USER = re.compile(r"(?<=://)[^/\s'\"]+@")
_SECRET_IN_QUERY = re.compile(r"([?&][^=&\s]*(?:pass|pwd|token|secret|key|cred|sig)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE)
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")


def redacted(text: str) -> str:
    """The text with ``***`` for user names, passwords and tokens of the addresses in it, and for AWS access keys."""
    if "://" in text:
        text = _IS_DATABASE.sub(lambda found: _DATABASE_USER.sub(f"{HIDDEN}@", found[0]), text)
        text = _USER.sub(f"{HIDDEN}@", text)
        text = _SECRET_IN_QUERY.sub(rf"\g<1>{HIDDEN}", text)
    return _ACCESS_KEY.sub(HIDDEN, text)


def holds_secret(address: str) -> bool:
    """Whether an address carries a user name, a password, a token or an access key."""
    return redacted(address) != address
