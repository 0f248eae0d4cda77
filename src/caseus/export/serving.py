"""Configuration of web servers for a tree: nginx, Caddy, S3 with CloudFront."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from caseus.errors import Unavailable
from caseus.export.options import Options
from caseus.export.serving_texts import CADDY, CLOUDFRONT, NGINX, S3

_JSON_NAMED: Final = r"application/vnd\.pypi\.simple\.(v1|latest)\+json\s*(;\s*q=1(\.0*)?\s*)?(,|$)"
"""Accept of pip from 22.2 on, of uv and poetry: JSON named first, without a q."""


def write_configuration(
    folder: Path, tree: Path, options: Options, *, pool: Path | None = None, stores: Sequence[Path] = ()
) -> list[Path]:
    """`nginx.conf`, `Caddyfile`, `s3.md` and `cloudfront.js` for the tree; what was written. Unavailable.

    `pool`: the folder of the packages that are under `packages_url`. `stores`: folders `PROJECT/FILE` of files that
    pages link beside themselves.
    """
    values = _values(tree, options, pool, stores)
    texts = {"nginx.conf": NGINX, "Caddyfile": CADDY, "s3.md": S3, "cloudfront.js": CLOUDFRONT}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(_filled(text, values))
    except OSError as error:
        raise Unavailable(f"can't write to {folder}: {error.strerror}", kind="local") from None
    return [folder / name for name in texts]


def _filled(text: str, values: Mapping[str, str]) -> str:
    """With @{name} replaced: servers have their own uses of $ and of a plain @."""
    return re.sub(r"@\{(\w+)\}", lambda found: values[found[1]], text)


def _values(tree: Path, options: Options, pool: Path | None, stores: Sequence[Path]) -> dict[str, str]:
    host = urlsplit(options.base_url or "").hostname or "pkgs.example.com"
    pool_path = _pool_path(options)
    return {
        "host": host,
        "tree": str(tree),
        "json_accept": _JSON_NAMED,
        "nginx_json": _nginx_json() if options.simple_json else _NGINX_HTML,
        "nginx_compressed": _nginx_compressed(options),
        "nginx_names": _nginx_names(),
        "nginx_files": _nginx_files(tree, options, stores),
        "nginx_pool": _nginx_pool(pool_path, pool),
        "nginx_404": "    error_page 404 /404.html;\n" if options.not_found else "",
        "caddy_json": _caddy_json() if options.simple_json else "",
        "caddy_compressed": _caddy_compressed(options),
        "caddy_files": _caddy_files(stores),
        "caddy_pool": _caddy_pool(pool_path, pool),
        "pages": "index.html and index.json" if options.simple_json else "index.html",
        "cloudfront_json": "true" if options.simple_json else "false",
        "github": "yes" if options.github_pages else "no: add `--github-pages`",
    }


def _pool_path(options: Options) -> str | None:
    """The path of a relative `packages_url`, as clients resolve it."""
    if options.packages_url is None or urlsplit(options.packages_url).netloc:
        return None
    return urlsplit(urljoin("https://host/simple/project/", options.packages_url)).path.rstrip("/") + "/"


_NGINX_HTML: Final = 'map "" $caseus_page { default index.html; }\n'


def _nginx_json() -> str:
    return (
        "map $http_accept $caseus_accepted {\n    default index.html;\n"
        f'    "~*{_JSON_NAMED}" index.json;\n}}\n'
        "map $arg_format $caseus_page {\n    default $caseus_accepted;\n"
        '    "~*html$" index.html;\n    "~*json$" index.json;\n}\n'
    )


def _nginx_compressed(options: Options) -> str:
    return "    gzip_static on;\n    gzip_vary on;\n" if "gz" in options.compress else ""


def _nginx_names() -> str:
    """One letter of the name a line, three times over: `last` begins again, at most ten times."""
    letters = [f'"^(/(?:simple|pypi)/[^/]*){letter}(.*)$" "$1{letter.lower()}$2";' for letter in string.ascii_uppercase]
    rules = [*letters, *['"^(/(?:simple|pypi)/[^/]*)[._](.*)$" "$1-$2";'] * 3] * 3
    return "\n".join(f"        rewrite {rule}" for rule in rules)


def _nginx_files(tree: Path, options: Options, stores: Sequence[Path]) -> str:
    if not options.files and not stores:
        return ""
    head = (
        "    # Files: they never change under their names.\n"
        '    location ~ "^/simple/[^/]+/packages\\.jsonl$" { return 404; }\n'
        '    location ~ "^/simple/(?<caseus_project>[^/]+)/(?<caseus_file>[^/]+)$" {\n'
        "        types {}\n        default_type application/octet-stream;\n        gzip_static off;\n"
        '        add_header Cache-Control "public, max-age=31536000, immutable";\n'
        "        add_header X-Content-Type-Options nosniff;\n"
    )
    if options.files:
        return head + "        try_files $uri =404;\n    }\n"
    places = " ".join(f"/{'/'.join(store.parts[-2:])}/$caseus_project/$caseus_file" for store in stores)
    return head + f"        root {stores[0].parents[1]};\n        try_files {places} =404;\n    }}\n"


def _nginx_pool(path: str | None, pool: Path | None) -> str:
    if path is None:
        return ""
    comment = "" if pool is not None else "  # the folder of the packages"
    return (
        f"    location {path} {{\n        alias {pool or '/path/to/packages'}/;{comment}\n"
        "        types {}\n        default_type application/octet-stream;\n    }\n"
    )


def _caddy_json() -> str:
    return (
        "\t\t@json {\n\t\t\tpath_regexp ^/simple/([^/]+/)?$\n"
        f"\t\t\theader_regexp Accept (?i){_JSON_NAMED}\n\t\t}}\n"
        "\t\thandle @json {\n\t\t\theader Content-Type application/vnd.pypi.simple.v1+json\n"
        "\t\t\trewrite * {path}index.json\n\t\t}\n"
    )


def _caddy_compressed(options: Options) -> str:
    forms = [{"gz": "gzip", "zst": "zstd"}[form] for form in options.compress]
    return f" {{\n\t\t\tprecompressed {' '.join(forms)}\n\t\t}}" if forms else ""


def _caddy_files(stores: Sequence[Path]) -> str:
    if not stores:
        return ""
    places = " ".join(f"/{'/'.join(store.parts[-2:])}/{{re.file.1}}/{{re.file.2}}" for store in stores)
    return (
        "\t@file {\n\t\tpath_regexp file ^/simple/([^/]+)/([^/]+)$\n"
        "\t\tnot path */index.html */index.json */packages.jsonl\n\t}\n"
        f"\thandle @file {{\n\t\troot * {stores[0].parents[1]}\n\t\ttry_files {places}\n"
        '\t\theader Cache-Control "public, max-age=31536000, immutable"\n'
        "\t\theader Content-Type application/octet-stream\n\t\tfile_server\n\t}\n"
    )


def _caddy_pool(path: str | None, pool: Path | None) -> str:
    if path is None:
        return ""
    return f"\thandle_path {path}* {{\n\t\troot * {pool or '/path/to/packages'}\n\t\tfile_server\n\t}}\n"
