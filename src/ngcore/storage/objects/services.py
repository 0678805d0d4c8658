"""Credentials and endpoints, as the services' own tools take them from the environment.

https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html
https://learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string
"""

from __future__ import annotations

import configparser
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import obstore.store

from ngcore.errors import InputError
from ngcore.storage.objects.obstore_bucket import CLIENT, RETRIES, ObstoreBucket

if TYPE_CHECKING:
    from ngcore.storage.objects.bucket import Bucket

_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class S3Settings(NamedTuple):
    """What is known of S3 here; the keys are empty where a role gives them."""

    endpoint: str | None
    region: str | None
    key_id: str
    secret: str
    token: str
    is_unsigned: bool


def open_s3(bucket: str) -> Bucket:
    """Return a bucket of S3, or of a service that speaks as it does."""
    return _open_s3(bucket, s3_settings())


@cache
def _open_s3(bucket: str, settings: S3Settings) -> Bucket:
    from ngcore.storage.objects.s3_uploads import abort_uploads, region_of

    region = settings.region or (
        "us-east-1" if settings.endpoint else region_of(bucket) or "us-east-1"
    )
    config: dict[str, str | bool] = {"region": region}
    if settings.endpoint:
        config["endpoint"] = settings.endpoint
    if settings.is_unsigned:
        config["skip_signature"] = True
    elif settings.key_id:
        config["access_key_id"] = settings.key_id
        config["secret_access_key"] = settings.secret
        if settings.token:
            config["session_token"] = settings.token
    store = obstore.store.S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options=CLIENT,
        retry_config=RETRIES,
    )
    return ObstoreBucket(
        f"s3://{bucket}",
        store,
        is_unsigned=settings.is_unsigned,
        abort_uploads=lambda folder: abort_uploads(bucket, folder, region, settings),
    )


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
    has_keys = bool(found.get("aws_access_key_id"))
    has_role = any(environ.get(name) for name in _ROLES) or (not has_keys and _is_on_ec2())
    return S3Settings(
        environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or found.get("endpoint_url")
        or None,
        environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or found.get("region")
        or None,
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


def open_azure(container: str) -> Bucket:
    """Return a container of Azure's blob storage.

    Raises
    ------
    InputError
        No account is named, or the connection string is not one.
    """
    environ = os.environ
    config = _connection(environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    for key, names in {
        "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
        "sas_key": ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN"),
        "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "AZURE_STORAGE_BLOB_ENDPOINT"),
    }.items():
        value = next((environ[name] for name in names if environ.get(name)), None)
        if value is not None:
            config.setdefault(key, value)
    if "account_name" not in config:
        raise InputError(
            f"az://{container} has no account: set AZURE_STORAGE_CONNECTION_STRING, or "
            "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY"
        )
    has_identity = any(environ.get(name) for name in ("AZURE_CLIENT_ID", "AZURE_STORAGE_TOKEN"))
    is_unsigned = not has_identity and not {"account_key", "sas_key"} & config.keys()
    store = obstore.store.AzureStore(
        container,
        config={**config, **({"skip_signature": True} if is_unsigned else {})},  # type: ignore[arg-type]
        client_options=CLIENT,
        retry_config=RETRIES,
    )
    return ObstoreBucket(f"az://{container}", store, is_unsigned=is_unsigned)


def _connection(text: str) -> dict[str, str]:
    if not text:
        return {}
    parts = dict(part.partition("=")[::2] for part in text.strip().strip(";").split(";"))
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        parts = {
            "AccountName": "devstoreaccount1",
            "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
            "K1SZFPTOtr/KBHBeksoGMGw==",
            "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
        }
    if not parts.get("AccountName") and not parts.get("BlobEndpoint"):
        raise InputError(
            "AZURE_STORAGE_CONNECTION_STRING names no AccountName; copy it again from Azure"
        )
    found = {
        "account_name": parts.get("AccountName", ""),
        "account_key": parts.get("AccountKey", ""),
        "sas_key": parts.get("SharedAccessSignature", ""),
        "endpoint": parts.get("BlobEndpoint", "").rstrip("/"),
    }
    if not found["endpoint"] and parts.get("EndpointSuffix"):
        protocol = parts.get("DefaultEndpointsProtocol", "https")
        found["endpoint"] = f"{protocol}://{parts['AccountName']}.blob.{parts['EndpointSuffix']}"
    if not found["account_name"]:
        found["account_name"] = found["endpoint"].partition("://")[2].partition(".")[0]
    return {key: value for key, value in found.items() if value}


@cache
def open_memory(name: str) -> Bucket:
    """Return a bucket in the memory of this process."""
    return ObstoreBucket(f"memory://{name}", obstore.store.MemoryStore())
