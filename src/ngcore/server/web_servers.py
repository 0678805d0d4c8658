"""Configuration for web servers that publish volumes: nginx, Apache and Caddy.

Neuroglancer asks for flat names, such as ``KEY/-5-59_0-64_0-64`` or ``mesh/7:0``. What lies on
disk may be nested (``KEY/-5-59/0-64/0-64``), gzipped (``NAME.gz``, sent with Content-Encoding), or
a manifest without its suffix. Pages of other origins must be allowed to ask, with Range too.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal

from ngcore.errors import InputError, InputNotFoundError
from ngcore.precomputed.mesh_legacy import encode_manifest
from ngcore.precomputed.names import EMPTY_MANIFEST_NAME

if TYPE_CHECKING:
    import os

_TEMPLATES = Path(__file__).with_name("templates")

WebServer = Literal["nginx", "apache", "caddy"]

_RANGE = "-?[0-9]+--?[0-9]+"
"""Start and end of a chunk along one axis; both may be negative."""

_CHUNK = f"({_RANGE})_({_RANGE})_({_RANGE})"

_LOCATION = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_UNQUOTABLE = set("\"'`\\$%{}<>#*?[]\n\r")
"""Characters that mean something to one of the servers even between quotes."""


def _template(name: str) -> Template:
    """Return one of the templates, in which `$$` stands for a dollar."""
    return Template((_TEMPLATES / f"{name}.conf").read_text("utf-8"))


def web_server_config(
    server: WebServer,
    dest: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    location: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> str:
    """Return configuration with which a web server publishes a volume, or a folder of volumes.

    Parameters
    ----------
    server : "nginx", "apache" or "caddy"
        The configuration is one server block, one virtual host, or one site.
    dest : path
        A folder that is there; it becomes the root of the URLs.
    host : str
        Address to listen on.
    port : int
    location : str, optional
        Path of URLs, such as ``/data``, under which the folder appears in a site that is there:
        the configuration is then a block for that site. Default: a site of its own.
    root : path, optional
        Where the folder lies on the machine of the web server; default `dest`, which must then be
        here.

    Raises
    ------
    InputNotFoundError
        If there is no such folder.
    InputError
        If its path, or `host`, has characters that the server would take for something else.
    """
    if not _HOST.fullmatch(host):
        raise InputError(
            f"--host must be an address or a name such as 0.0.0.0 or example.org, got {host!r}"
        )
    path = _folder(dest, root)
    found = sorted(_UNQUOTABLE.intersection(path))
    if found:
        raise InputError(
            f"the path {path!r} has {' '.join(map(repr, found))} in it, which the configuration "
            "of a web server can't hold safely; serve the folder under another name or a "
            "symbolic link"
        )
    in_url = f"[{host}]" if ":" in host else host
    address = f"{in_url}:{port}"
    common = {
        "root": path,
        "chunk": _CHUNK,
        "empty": encode_manifest(()).decode(),
        "empty_index": EMPTY_MANIFEST_NAME,
    }
    if location is not None:
        return _block(server, common, location)
    match server:
        case "nginx":
            return _template("nginx").substitute(common, address=address)
        case "apache":
            return _template("apache").substitute(common, address=address, virtual_host=address)
        case "caddy":
            # A site is matched by the Host header too: only its port is named, and any host fits.
            return _template("caddy").substitute(
                common,
                site=f":{port}",
                bind=f"bind {host}",
                body=_template("caddy-body").substitute(common),
            )


def _folder(dest: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    """Return the folder on the machine of the web server, with forward slashes."""
    if root is not None:
        path = Path(root).as_posix()
        if not path.startswith("/") and not Path(root).is_absolute():
            raise InputError(f"--root must be an absolute path, got {path!r}")
        return path
    folder = Path(dest).absolute()
    if not folder.is_dir():
        raise InputNotFoundError(
            f"no folder {str(folder)!r}; pass one that ngcore has written, or --root for one on "
            "another machine"
        )
    return folder.as_posix()


def _block(server: WebServer, common: dict[str, str], location: str) -> str:
    """Return a block for a site that is there, with the folder under a path of URLs."""
    if not _LOCATION.fullmatch(location):
        raise InputError(
            "--location must be a URL path such as /data, without a slash at its end, got "
            f"{location!r}"
        )
    values = {**common, "location": location}
    match server:
        case "nginx":
            settings = _template("nginx-settings").substitute(common).rstrip("\n")
            json_settings = settings.replace("application/octet-stream", "application/json")
            return _template("nginx-location").substitute(
                values, settings=settings, json_settings=json_settings
            )
        case "apache":
            return _template("apache-location").substitute(values)
        case "caddy":
            return _template("caddy-location").substitute(
                values, body=_template("caddy-body").substitute(common)
            )
