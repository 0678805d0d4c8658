"""Credentials and endpoints, as the services' own tools take them from the environment.

https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html
https://learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import obstore.store
from obstore.exceptions import BaseError

from ngcore.errors import InputError
from ngcore.storage.objects.obstore_bucket import CLIENT, RETRIES, ObstoreBucket
from ngcore.storage.objects.s3_settings import S3Settings, s3_settings
from ngcore.storage.objects.settings import check_secret, checked_endpoint

if TYPE_CHECKING:
    from ngcore.storage.objects.bucket import Bucket


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
    if config.get("endpoint"):
        config["endpoint"] = checked_endpoint(config["endpoint"], "Azure's endpoint")
    for key in ("account_name", "account_key", "sas_key"):
        check_secret(config.get(key, ""), f"the {key.replace('_', ' ')} of Azure")
    has_identity = any(environ.get(name) for name in ("AZURE_CLIENT_ID", "AZURE_STORAGE_TOKEN"))
    is_unsigned = not has_identity and not {"account_key", "sas_key"} & config.keys()
    try:
        store = obstore.store.AzureStore(
            container,
            config={**config, **({"skip_signature": True} if is_unsigned else {})},  # type: ignore[arg-type]
            client_options=CLIENT,
            retry_config=RETRIES,
        )
    except (BaseError, ValueError) as error:
        reason = " ".join(str(error).partition("Debug source")[0].split())
        raise InputError(
            f"az://{container} can't be opened: {reason} Check the variables of Azure"
        ) from error
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
            "AZURE_STORAGE_CONNECTION_STRING has no AccountName; copy it again from Azure"
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
