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
from ngcore.precomputed.mesh_multilod import EMPTY_MANIFEST_NAME

if TYPE_CHECKING:
    import os

WebServer = Literal["nginx", "apache", "caddy"]

_RANGE = "-?[0-9]+--?[0-9]+"
"""Start and end of a chunk along one axis; both may be negative."""

_CHUNK = f"({_RANGE})_({_RANGE})_({_RANGE})"

_LOCATION = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_UNQUOTABLE = set("\"'`\\$%{}<>#*?[]\n\r")
"""Characters that mean something to one of the servers even between quotes."""

_NGINX = Template(
    """\
# ngcore: volumes below $root
# Save as /etc/nginx/conf.d/ngcore.conf (inside of http), then: nginx -s reload
# Needs nginx with the modules gzip_static and gunzip, which Debian's has.
server {
    listen $address;
    root "$root";

    default_type application/octet-stream;
    types { application/json json; }
    etag on;
    log_not_found off;

    # NAME.gz is sent for NAME as it is, and unpacked for the few who don't take gzip.
    gzip off;
    gzip_static always;
    gunzip on;

    add_header Access-Control-Allow-Origin "*" always;
    add_header Access-Control-Allow-Methods "GET, HEAD, OPTIONS" always;
    add_header Access-Control-Allow-Headers "Range" always;
    add_header Access-Control-Expose-Headers "Content-Length, Content-Range, Accept-Ranges" always;
    add_header Access-Control-Max-Age "86400" always;
    add_header Vary "Accept-Encoding" always;
    if ($$request_method = OPTIONS) { return 204; }

    location ~ "/\\." { return 404; }

    # Flat names of chunks, and the nested files behind them.
    location ~ "/$chunk$$" {
        error_page 404 = @nested;
    }
    location @nested {
        rewrite "^(.*)/$chunk$$" "$$1/$$2/$$3/$$4" break;
    }

    # Manifests of meshes on file systems without colons.
    location ~ "/[0-9]+:0$$" {
        recursive_error_pages on;
        error_page 404 = @manifest;
    }
    location @manifest {
        rewrite "^(.*):0$$" "$$1" break;
        error_page 404 = @no_mesh;
    }

    # A label without a mesh, in a folder of meshes, has an empty one.
    location @no_mesh {
        default_type application/json;
        if ($$uri ~ "^(.*)/[0-9]+$$") { set $$meshes $$1; }
        if (-f "$$document_root$$meshes/info") { return 200 '$empty'; }
        return 404;
    }

    # So has one in a folder of multi-resolution meshes, where `ngcore mesh` wrote it.
    location ~ "/[0-9]+\\.index$$" {
        error_page 404 = @no_index;
    }
    location @no_index {
        rewrite "^(.*)/[0-9]+\\.index$$" "$$1/$empty_index" break;
    }
}
"""
)

_APACHE = Template(
    """\
# ngcore: volumes below $root
# Save as /etc/apache2/sites-available/ngcore.conf, then:
#   a2enmod rewrite headers deflate mime && a2ensite ngcore && systemctl reload apache2
Listen $address
<VirtualHost $virtual_host>
    DocumentRoot "$root"
    <Directory "$root">
        Require all granted
        Options FollowSymLinks
        AllowOverride None
        DirectoryIndex disabled

        # NAME.gz is sent for NAME as it is, and unpacked for the few who don't take gzip.
        RemoveType .gz
        AddEncoding gzip .gz
        <If "%{HTTP:Accept-Encoding} !~ /gzip/ && %{REQUEST_FILENAME} =~ /\\.gz$$/">
            SetOutputFilter INFLATE
        </If>
    </Directory>

    RewriteEngine On
    RewriteRule "/\\." "-" [R=404,L]
    RewriteRule "^" "-" [E=no-gzip:1]
    RewriteCond "%{REQUEST_METHOD}" "=OPTIONS"
    RewriteRule "^" "-" [R=204,L]

    # Flat names of chunks, and the nested files behind them.
    RewriteCond "$root$$0" !-f
    RewriteCond "$root$$0.gz" !-f
    RewriteRule "^(.*)/$chunk$$" "$$1/$$2/$$3/$$4"

    # Manifests of meshes on file systems without colons.
    RewriteCond "$root$$0" !-f
    RewriteCond "$root$$0.gz" !-f
    RewriteRule "^(.*/[0-9]+):0$$" "$$1" [E=manifest:1]

    # A label without a mesh, in a folder of meshes, has an empty one.
    RewriteCond "%{ENV:manifest}" "1"
    RewriteCond "$root$$0" !-f
    RewriteCond "$root$$0.gz" !-f
    RewriteCond "$root$$1/info" -f
    RewriteRule "^(.*)/[0-9]+$$" "-" [R=200,L]
    ErrorDocument 200 '$empty'

    # So has one in a folder of multi-resolution meshes, where `ngcore mesh` wrote it.
    RewriteCond "$root$$0" !-f
    RewriteCond "$root$$0.gz" !-f
    RewriteCond "$root$$1/$empty_index" -f
    RewriteRule "^(.*)/[0-9]+\\.index$$" "$$1/$empty_index"

    RewriteCond "$root$$0" !-f
    RewriteCond "$root$$0.gz" -f
    RewriteRule "^.+$$" "$$0.gz"

    Header always set Access-Control-Allow-Origin "*"
    Header always set Access-Control-Allow-Methods "GET, HEAD, OPTIONS"
    Header always set Access-Control-Allow-Headers "Range"
    Header always set Access-Control-Expose-Headers "Content-Length, Content-Range, Accept-Ranges"
    Header always set Access-Control-Max-Age "86400"
    Header always merge Vary "Accept-Encoding"
</VirtualHost>
"""
)

_CADDY_BODY = Template(
    """\
    root * "$root"
    header {
        Access-Control-Allow-Origin "*"
        Access-Control-Allow-Methods "GET, HEAD, OPTIONS"
        Access-Control-Allow-Headers "Range"
        Access-Control-Expose-Headers "Content-Length, Content-Range, Accept-Ranges"
        Access-Control-Max-Age "86400"
        Vary "Accept-Encoding"
    }
    route {
        @preflight method OPTIONS
        respond @preflight 204

        @hidden path_regexp /\\.
        respond @hidden 404

        # Flat names of chunks, and the nested files behind them.
        @chunk {
            path_regexp chunk ^(.*)/$chunk$$
            not file {path} {path}.gz
        }
        rewrite @chunk {re.chunk.1}/{re.chunk.2}/{re.chunk.3}/{re.chunk.4}

        # A label without a mesh, in a folder of meshes, has an empty one.
        map {path} {meshes} {label} {
            "~^(.*)/([0-9]+):0$$" "$${1}" "$${2}"
            default "/-" "-"
        }
        @no_mesh {
            path_regexp /[0-9]+:0$$
            file {meshes}/info
            not file {path} {path}.gz {meshes}/{label} {meshes}/{label}.gz
        }
        header @no_mesh Content-Type application/json
        respond @no_mesh `$empty`

        # So has one in a folder of multi-resolution meshes, where `ngcore mesh` wrote it.
        @no_index {
            path_regexp index ^(.*)/[0-9]+\\.index$$
            not file {path} {path}.gz
        }
        rewrite @no_index {re.index.1}/$empty_index

        # Manifests of meshes on file systems without colons.
        @manifest {
            path_regexp manifest ^(.*/[0-9]+):0$$
            not file {path} {path}.gz
        }
        rewrite @manifest {re.manifest.1}

        @gzipped {
            not file {path}
            file {path}.gz
        }
        header @gzipped Content-Encoding gzip
        header @gzipped Content-Type application/octet-stream
        rewrite @gzipped {path}.gz

        file_server
    }
"""
)

_CADDY = Template(
    """\
# ngcore: volumes below $root
# Save as Caddyfile, then: caddy run
# Caddy can't unpack: who does not take gzip gets NAME.gz files gzipped all the same. Browsers do.
http://$site {
    $bind
$body}
"""
)


_CADDY_LOCATION = Template(
    """\
# ngcore: volumes of $root under $location
# Put this inside of the block of your site in the Caddyfile, then: caddy reload
# Caddy can't unpack: who does not take gzip gets NAME.gz files gzipped all the same. Browsers do.
handle_path $location/* {
$body}
"""
)

_NGINX_SETTINGS = Template(
    """\
    root "$root";
    default_type application/octet-stream;
    types { application/json json; }
    etag on;
    log_not_found off;
    gzip off;
    gzip_static always;
    gunzip on;
    add_header Access-Control-Allow-Origin "*" always;
    add_header Access-Control-Allow-Methods "GET, HEAD, OPTIONS" always;
    add_header Access-Control-Allow-Headers "Range" always;
    add_header Access-Control-Expose-Headers "Content-Length, Content-Range, Accept-Ranges" always;
    add_header Access-Control-Max-Age "86400" always;
    add_header Vary "Accept-Encoding" always;
"""
)

_NGINX_LOCATION = Template(
    """\
# ngcore: volumes of $root under $location
# Save as /etc/nginx/snippets/ngcore.conf, and put inside of the server block of your site:
#   include snippets/ngcore.conf;
# Needs nginx with the modules gzip_static and gunzip, which Debian's has.
location ^~ $location/ {
$settings
    if ($$request_method = OPTIONS) { return 204; }
    rewrite "^$location(/.*)$$" "$$1" break;

    location ~ "/\\." { return 404; }
    location ~ "/$chunk$$" {
        rewrite "^$location(/.*)$$" "$$1" break;
        error_page 404 = @ngcore_nested;
    }
    location ~ "/[0-9]+:0$$" {
        rewrite "^$location(/.*)$$" "$$1" break;
        recursive_error_pages on;
        error_page 404 = @ngcore_manifest;
    }
    location ~ "/[0-9]+\\.index$$" {
        rewrite "^$location(/.*)$$" "$$1" break;
        error_page 404 = @ngcore_no_index;
    }
}

# Flat names of chunks, and the nested files behind them.
location @ngcore_nested {
$settings
    rewrite "^(.*)/$chunk$$" "$$1/$$2/$$3/$$4" break;
}

# Manifests of meshes on file systems without colons.
location @ngcore_manifest {
$settings
    rewrite "^(.*):0$$" "$$1" break;
    error_page 404 = @ngcore_no_mesh;
}

# A label without a mesh, in a folder of meshes, has an empty one.
location @ngcore_no_mesh {
$json_settings
    if ($$uri ~ "^(.*)/[0-9]+$$") { set $$ngcore_meshes $$1; }
    if (-f "$$document_root$$ngcore_meshes/info") { return 200 '$empty'; }
    return 404;
}

# So has one in a folder of multi-resolution meshes, where `ngcore mesh` wrote it.
location @ngcore_no_index {
$settings
    rewrite "^(.*)/[0-9]+\\.index$$" "$$1/$empty_index" break;
}
"""
)

_APACHE_LOCATION = Template(
    """\
# ngcore: volumes of $root under $location
# Save as /etc/apache2/ngcore.conf, and put inside of the VirtualHost of your site:
#   Include ngcore.conf
# Then: a2enmod alias rewrite headers deflate mime && systemctl reload apache2
Alias "$location" "$root"
<Directory "$root">
    Require all granted
    Options FollowSymLinks
    AllowOverride None
    DirectoryIndex disabled

    # NAME.gz is sent for NAME as it is, and unpacked for the few who don't take gzip.
    RemoveType .gz
    AddEncoding gzip .gz
    <If "%{HTTP:Accept-Encoding} !~ /gzip/ && %{REQUEST_FILENAME} =~ /\\.gz$$/">
        SetOutputFilter INFLATE
    </If>
</Directory>

RewriteEngine On
RewriteRule "^$location/(.*/)?\\." "-" [R=404,L]
RewriteRule "^$location/" "-" [E=no-gzip:1]
RewriteCond "%{REQUEST_METHOD}" "=OPTIONS"
RewriteRule "^$location/" "-" [R=204,L]

# Flat names of chunks, and the nested files behind them.
RewriteCond "$root$$1" !-f
RewriteCond "$root$$1.gz" !-f
RewriteRule "^$location((/.*)/$chunk)$$" "$location$$2/$$3/$$4/$$5"

# Manifests of meshes on file systems without colons.
RewriteCond "$root$$1" !-f
RewriteCond "$root$$1.gz" !-f
RewriteRule "^$location((/.*/[0-9]+):0)$$" "$location$$2" [E=ngcore_manifest:1]

# A label without a mesh, in a folder of meshes, has an empty one.
RewriteCond "%{ENV:ngcore_manifest}" "1"
RewriteCond "$root$$1" !-f
RewriteCond "$root$$1.gz" !-f
RewriteCond "$root$$2/info" -f
RewriteRule "^$location((/.*)/[0-9]+)$$" "-" [R=200,L]
ErrorDocument 200 '$empty'

# So has one in a folder of multi-resolution meshes, where `ngcore mesh` wrote it.
RewriteCond "$root$$1" !-f
RewriteCond "$root$$1.gz" !-f
RewriteCond "$root$$2/$empty_index" -f
RewriteRule "^$location((/.*)/[0-9]+\\.index)$$" "$location$$2/$empty_index"

RewriteCond "$root$$1" !-f
RewriteCond "$root$$1.gz" -f
RewriteRule "^$location(/.+)$$" "$location$$1.gz"
RewriteRule "^$location/" "-" [PT]

<Location "$location">
    Header always set Access-Control-Allow-Origin "*"
    Header always set Access-Control-Allow-Methods "GET, HEAD, OPTIONS"
    Header always set Access-Control-Allow-Headers "Range"
    Header always set Access-Control-Expose-Headers "Content-Length, Content-Range, Accept-Ranges"
    Header always set Access-Control-Max-Age "86400"
    Header always merge Vary "Accept-Encoding"
</Location>
"""
)


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
        Address to listen at.
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
            f"the path {path!r} has {' '.join(map(repr, found))} in it, which no configuration of "
            "web servers can hold safely; serve the folder under another name or a symbolic link"
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
            return _NGINX.substitute(common, address=address)
        case "apache":
            return _APACHE.substitute(common, address=address, virtual_host=address)
        case "caddy":
            # A site is matched by the Host header too: only its port is named, and any host fits.
            return _CADDY.substitute(
                common, site=f":{port}", bind=f"bind {host}", body=_CADDY_BODY.substitute(common)
            )


def _folder(dest: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    """Return the folder on the machine of the web server, with forward slashes."""
    if root is not None:
        path = Path(root).as_posix()
        if not path.startswith("/") and not Path(root).is_absolute():
            raise InputError(f"--root must be a whole path, got {path!r}")
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
            f"--location must be a path of URLs such as /data, without a slash at its end, got "
            f"{location!r}"
        )
    values = {**common, "location": location}
    match server:
        case "nginx":
            settings = _NGINX_SETTINGS.substitute(common).rstrip("\n")
            json_settings = settings.replace("application/octet-stream", "application/json")
            return _NGINX_LOCATION.substitute(
                values, settings=settings, json_settings=json_settings
            )
        case "apache":
            return _APACHE_LOCATION.substitute(values)
        case "caddy":
            return _CADDY_LOCATION.substitute(values, body=_CADDY_BODY.substitute(common))
