"""What is left of uploads in parts when a process is killed, which costs until it is aborted.

obstore neither lists nor aborts what it has not begun itself, so the two requests are made here.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import xml.etree.ElementTree as ET
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import urllib3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.storage.objects.s3_settings import S3Settings

logger = logging.getLogger(__name__)
_NO_BODY = hashlib.sha256(b"").hexdigest()
_MAX_PAGES = 10_000


def abort_uploads(bucket: str, folder: str, region: str, settings: S3Settings) -> None:
    """Abort every upload in parts to keys below a folder, where its owner allows that.

    Parameters
    ----------
    bucket, folder : str
    region : str
    settings : S3Settings
    """
    if not settings.key_id and not settings.is_unsigned:
        return  # a role's keys are not known here; docs/publish.md shows a rule of the bucket's
    try:
        for key, upload in list(_uploads(bucket, folder, region, settings)):
            _ask("DELETE", bucket, key, {"uploadId": upload}, region, settings)
    except (urllib3.exceptions.HTTPError, ET.ParseError, OSError) as error:
        logger.warning(
            "unfinished uploads to s3://%s/%s can't be aborted: %s", bucket, folder, error
        )


def region_of(bucket: str) -> str | None:
    """Return the region that a bucket of Amazon's lies in, None where that is not told."""
    with suppress(urllib3.exceptions.HTTPError):
        answer = urllib3.request(
            "HEAD", f"https://s3.amazonaws.com/{bucket}", redirect=False, retries=1, timeout=10
        )
        return answer.headers.get("x-amz-bucket-region")
    return None


def _uploads(
    bucket: str, folder: str, region: str, settings: S3Settings
) -> Iterator[tuple[str, str]]:
    query = {"uploads": "", "prefix": f"{folder}/" if folder else ""}
    for _ in range(_MAX_PAGES):
        answer = _ask("GET", bucket, "", query, region, settings)
        if answer.status != 200:
            return  # those who may write may not be allowed to list
        root = ET.fromstring(answer.data)
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        for upload in root.iter(f"{space}Upload"):
            yield upload.findtext(f"{space}Key", ""), upload.findtext(f"{space}UploadId", "")
        if root.findtext(f"{space}IsTruncated", "false") != "true":
            return
        query["key-marker"] = root.findtext(f"{space}NextKeyMarker", "")
        query["upload-id-marker"] = root.findtext(f"{space}NextUploadIdMarker", "")


def _ask(
    method: str, bucket: str, key: str, query: dict[str, str], region: str, settings: S3Settings
) -> urllib3.BaseHTTPResponse:
    base = settings.endpoint or f"https://s3.{region}.amazonaws.com"
    parts = urlsplit(base)
    path = f"{parts.path.rstrip('/')}/{bucket}" + (f"/{quote(key, safe='/~')}" if key else "")
    text = "&".join(
        f"{quote(name, safe='~')}={quote(value, safe='~')}"
        for name, value in sorted(query.items())
    )
    headers = {"Host": parts.netloc}
    if not settings.is_unsigned:
        headers = _signed(method, path, text, parts.netloc, region, settings)
    return urllib3.request(
        method,
        f"{parts.scheme}://{parts.netloc}{path}?{text}",
        headers=headers,
        retries=urllib3.Retry(4, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504)),
        timeout=30,
    )


def _signed(
    method: str, path: str, query: str, host: str, region: str, settings: S3Settings
) -> dict[str, str]:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    day = now[:8]
    headers = {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": now}
    if settings.token:
        headers["x-amz-security-token"] = settings.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join((method, path, query, lines, names, _NO_BODY))
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{settings.secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={settings.key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers
