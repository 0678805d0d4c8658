"""What the environment and the files of AWS' tools say about S3: endpoint, region, keys."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import NamedTuple

from ngcore.errors import InputError
from ngcore.storage.objects.settings import check_secret, checked_endpoint

_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_SECRETS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class S3Settings(NamedTuple):
    """What is known of S3 here; the keys are empty where a role gives them."""

    endpoint: str | None
    region: str | None
    key_id: str
    secret: str
    token: str
    is_unsigned: bool


def s3_settings() -> S3Settings:
    """Return what the environment and the files of AWS' tools say."""
    environ = os.environ
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    shared = _section("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", profile)
    name = profile if profile == "default" else f"profile {profile}"
    config = _section("AWS_CONFIG_FILE", "~/.aws/config", name)
    found = {**config, **shared}
    if environ.get("AWS_ACCESS_KEY_ID"):
        found.update(
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY", ""),
            aws_session_token=environ.get("AWS_SESSION_TOKEN", ""),
        )
    for name in _SECRETS:
        check_secret(found.get(name, ""), name.upper())
    has_keys = bool(found.get("aws_access_key_id"))
    has_role = any(environ.get(name) for name in _ROLES) or (not has_keys and _is_on_ec2())
    variable = "AWS_ENDPOINT_URL_S3" if environ.get("AWS_ENDPOINT_URL_S3") else "AWS_ENDPOINT_URL"
    endpoint = environ.get(variable) or found.get("endpoint_url")
    region = (
        environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or found.get("region") or ""
    )
    check_secret(region, "AWS_REGION")
    return S3Settings(
        checked_endpoint(endpoint, variable) if endpoint else None,
        region or None,
        found.get("aws_access_key_id", ""),
        found.get("aws_secret_access_key", ""),
        found.get("aws_session_token", ""),
        not has_keys and not has_role,
    )


def _section(variable: str, usual: str, name: str) -> dict[str, str]:
    path = Path(os.environ.get(variable) or usual).expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {str(error).splitlines()[0]}; fix it") from error
    return dict(parser[name]) if parser.has_section(name) else {}


def _is_on_ec2() -> bool:
    """Whether this machine is one of Amazon's, whose role gives credentials."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    try:
        return "Amazon EC2" in Path("/sys/class/dmi/id/sys_vendor").read_text()
    except OSError:
        return False
