"""What went wrong with a storage: one classification of the errors of boto3, pyarrow and the operating system.

Reasons name neither endpoints nor hosts, which belong to the machine and not in logs that are shared.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "passing", "missing", "no bucket", "denied", "credentials", "expired", "clock", "region", "full", "open files",
    "exists", "other",
]  # fmt: skip

REMEDIES: dict[Kind, str] = {
    "passing": "check the network and the storage, then rerun the same command to resume",
    "missing": "check the path",
    "no bucket": "create the bucket, or correct its name, AWS_ENDPOINT_URL or AWS_DEFAULT_REGION",
    "denied": "check the permissions of the folder, or give these credentials s3:ListBucket, GetObject, PutObject,"
    " DeleteObject and AbortMultipartUpload on the bucket",
    "credentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the machine",
    "expired": "renew the credentials (AWS_SESSION_TOKEN or the profile's login) and rerun the same command to resume",
    "clock": "set the machine's clock (NTP): S3 refuses requests that are more than 15 minutes off",
    "region": "set AWS_DEFAULT_REGION to the region of the bucket",
    "full": "free some space and rerun the same command to resume",
    "open files": "raise the limit of open files: ulimit -n 65536",
    "exists": "use another name",
    "other": "check the path and its storage",
}

# Codes are compared in lower case without underscores: boto3 says SlowDown, pyarrow SLOW_DOWN.
_CODES: dict[str, Kind] = {
    **dict.fromkeys(
        ("slowdown", "serviceunavailable", "internalerror", "internalfailure", "requesttimeout", "throttling",
         "throttlingexception", "throttled", "toomanyrequests", "requestlimitexceeded", "bandwidthlimitexceeded",
         "requestthrottled", "requestthrottledexception", "requesttimeoutexception", "networkconnection",
         "conditionalrequestconflict", "operationaborted", "priorrequestnotcomplete", "badgateway", "gatewaytimeout",
         "incompletebody", "nosuchupload"),
        "passing",
    ),
    **dict.fromkeys(("nosuchkey", "notfound", "resourcenotfound", "404"), "missing"),
    "nosuchbucket": "no bucket",
    "invalidbucketname": "no bucket",
    **dict.fromkeys(("accessdenied", "accessdeniedexception", "allaccessdisabled", "forbidden", "403"), "denied"),
    **dict.fromkeys(
        ("invalidaccesskeyid", "signaturedoesnotmatch", "invalidclienttokenid", "unrecognizedclient",
         "unrecognizedclientexception", "missingauthenticationtoken", "incompletesignature", "invalidtoken"),
        "credentials",
    ),
    **dict.fromkeys(("expiredtoken", "expiredtokenexception", "tokenrefreshrequired", "requestexpired"), "expired"),
    **dict.fromkeys(("requesttimetooskewed",), "clock"),
    **dict.fromkeys(
        ("permanentredirect", "temporaryredirect", "authorizationheadermalformed",
         "illegallocationconstraintexception", "movedpermanently", "301"),
        "region",
    ),
    **dict.fromkeys(("preconditionfailed", "412"), "exists"),
    **dict.fromkeys(("xminiostoragefull", "quotaexceeded", "507", "insufficientstorage"), "full"),
}  # fmt: skip
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_ERRNO: dict[int, Kind] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "full"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "open files"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "denied"),
    errno.ENOENT: "missing",
    errno.EEXIST: "exists",
    # Of network file systems.
    **dict.fromkeys(
        (errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.EHOSTUNREACH,
         errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ENOTCONN, errno.ESTALE,
         errno.EAGAIN, errno.EINTR),
        "passing",
    ),
}  # fmt: skip
_ARROW = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))?")
_UNPARSED = re.compile(r"Unable to parse ExceptionName: (\w+)")
_NETWORK_WORDS = re.compile(r"curlCode|timed? ?out|connection (was )?(reset|closed|refused|aborted)", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """A classified error.

    Attributes:
        kind: "passing" may be gone at the next attempt; the others last until somebody acts.
        reason: short text without addresses.
    """

    kind: Kind
    reason: str

    @property
    def remedy(self) -> str:
        return REMEDIES[self.kind]


def fault_of(error: BaseException) -> Fault | None:
    """The fault behind an exception; None if it is not of a storage."""
    if type(error).__module__.partition(".")[0] in ("botocore", "boto3", "s3transfer", "urllib3"):
        return _of_boto(error)
    if isinstance(error, OSError):
        return _of_system(error)
    return None


def _of_boto(error: BaseException) -> Fault:
    from botocore import exceptions as boto

    name = type(error).__name__
    if isinstance(error, boto.ClientError):
        about = error.response.get("Error", {})
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(about.get("Code", ""))
        message = str(about.get("Message", ""))
        return Fault(_kind(code, status), f"{code}{f', {message}' if message else ''}" or f"HTTP status {status}")
    if isinstance(error, boto.SSLError):
        return Fault("other", "the storage's certificate is refused (see AWS_CA_BUNDLE)")
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
        return Fault("credentials", str(error))
    if isinstance(error, boto.TokenRetrievalError | boto.UnauthorizedSSOTokenError):
        return Fault("expired", name)
    if isinstance(error, boto.NoRegionError):
        return Fault("region", "no region is set")
    if isinstance(error, boto.ParamValidationError | boto.InvalidEndpointConfigurationError):
        return Fault("other", name)
    # What is left are connections that were refused, reset, cut or slow: the texts name the endpoint.
    return Fault("passing", name)


def _of_system(error: OSError) -> Fault:
    text = str(error)
    if found := _ARROW.search(text):
        unparsed = _UNPARSED.search(text)
        code = unparsed[1] if unparsed else found[1]
        status = int(found[2] or 0)
        shown = f"HTTP status {status}" if code == "UNKNOWN" else code
        return Fault(_kind(code, status), shown)
    if error.errno is None:
        if "No space left" in text:
            return Fault("full", text)
        if _NETWORK_WORDS.search(text):
            return Fault("passing", "the network failed")
        return Fault("other", text)
    return Fault(_ERRNO.get(error.errno, "other"), text)


def _kind(code: str, status: int) -> Kind:
    plain = code.replace("_", "").lower()
    if plain in _CODES:
        return _CODES[plain]
    if status in _PASSING_STATUS or plain in {str(one) for one in _PASSING_STATUS}:
        return "passing"
    return _CODES.get(str(status), "other")
