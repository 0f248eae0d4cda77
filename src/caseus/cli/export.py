"""`caseus export`: the index as static files.

It has dumb-pypi's flags as they are, and a parser of its own that loads fast: see docs/decisions.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from caseus.cli.errors import Refused, UsageError
from caseus.export import BadLines, Options, PackageList, Report, export
from caseus.export.options import ENCODINGS, STYLES, Style

if TYPE_CHECKING:
    from caseus.export.sources import Source

_SHOWN_FAULTS = 20
_REMEMBERED = "caseus-export.files"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def main(arguments: Sequence[str], *, program: str = "caseus export", quiet: bool = False) -> int:
    """Its exit code; Refused where lines were bad, UsageError, and whatever `export` raises."""
    flags = parser(program).parse_args(arguments)
    options = _options(flags)
    if flags.index is not None:
        from caseus.cli.export_sources import as_configured

        options = as_configured(options, flags.root, flags.config)
    if flags.server_config is not None:
        _write_config(flags, options)
    with _source(flags, options) as source:
        try:
            if flags.check:
                return _check(flags, source, options)
            report = export(
                source,
                flags.output_dir,
                options,
                previous=_previous(flags),
                skip_invalid=flags.skip_invalid,
                atomic=flags.atomic,
                sync=flags.sync,
                jobs=flags.jobs,
            )
        except BadLines as error:
            _tell_faults(error.report)
            raise Refused(str(error)) from None
    _tell_faults(report)
    if flags.json:
        _print_json(report)
    elif not quiet:
        print(
            f"{report.files} files of {report.projects} projects: {report.written} written, {report.kept} as they "
            f"were, {report.deleted} deleted" + (f", {report.bad} bad lines left out" if report.bad else "")
        )
    return 0


def parser(program: str = "caseus export") -> argparse.ArgumentParser:
    """All flags."""
    found = _Parser(
        prog=program,
        description="Write the index as static files: a list of packages in, a folder of pages out, which any web "
        "server or bucket serves. Only what changed since the last run is written.",
        allow_abbrev=False,
        add_help=False,  # which looks how wide the terminal is, whether help is wanted or not
    )
    group = found.add_argument_group("options")
    group.add_argument("-h", "--help", action="help", help="show this help message and exit")
    _add_sources(found)
    _add_looks(found)
    _add_extras(found)
    _add_ways(found)
    return found


def _add_sources(found: argparse.ArgumentParser) -> None:
    group = found.add_argument_group("what is exported (one of them)").add_mutually_exclusive_group(required=True)
    group.add_argument("--package-list", metavar="PATH", help="a list of filenames, one a line; - is standard input")
    group.add_argument("--package-list-json", metavar="PATH", help="the same, one JSON object a line")
    group.add_argument("--package-dir", metavar="DIR", help="a folder of packages, and the folders in it")
    group.add_argument("--index", metavar="NAME", help="an index of caseus, whose server may run or not: main")
    group.add_argument("--simple-url", metavar="URL", help="another index, by the URL under which its pages are")
    previous = found.add_argument_group("what the last run wrote elsewhere").add_mutually_exclusive_group()
    previous.add_argument("--previous-package-list", metavar="PATH", help="its list of filenames")
    previous.add_argument("--previous-package-list-json", metavar="PATH", help="its JSON lines: packages.json")
    more = found.add_argument_group("more of a source")
    more.add_argument("--root", metavar="DIR", help="the data folder of --index")
    more.add_argument("--config", metavar="FILE", help="the configuration file of --index")
    more.add_argument("--with-cached", action="store_true", help="of --index: also what of upstreams is stored")
    more.add_argument("--project", metavar="NAME", action="append", help="of --simple-url: a name or pattern")
    more.add_argument("--exclude", metavar="NAME", action="append", help="of --simple-url: what is left out")


def _add_looks(found: argparse.ArgumentParser) -> None:
    group = found.add_argument_group("where, and how it looks")
    group.add_argument("--output-dir", metavar="DIR", required=True, help="the folder of the tree")
    group.add_argument("--packages-url", metavar="URL", help="where the files are, absolute or relative to the pages")
    group.add_argument("--base-url", metavar="URL", help="where the tree will be, for what has to tell absolute links")
    group.add_argument("--style", choices=STYLES, help="dumb-pypi for a list, caseus for everything else")
    group.add_argument("--title", default=Options().title, help="title of the pages for people")
    group.add_argument("--logo", metavar="URL", help="an image beside the title")
    group.add_argument("--logo-width", metavar="N", type=int, default=0, help="how wide it is, in pixels")
    group.add_argument("--no-generate-timestamp", action="store_true", help="don't tell when a page was made")
    group.add_argument("--no-per-release-json", action="store_true", help="no pypi/PROJECT/VERSION/json")


def _add_extras(found: argparse.ArgumentParser) -> None:
    group = found.add_argument_group("what is written besides")
    group.add_argument("--simple-json", action="store_true", help="the Simple API's JSON beside its HTML")
    group.add_argument("--rss", action="store_true", help="feeds; they need --base-url")
    group.add_argument("--not-found-page", action="store_true", help="404.html")
    group.add_argument("--robots-txt", action="store_true", help="robots.txt, which asks search engines to stay away")
    group.add_argument("--github-pages", action="store_true", help=".nojekyll, 404.html and robots.txt")
    group.add_argument(
        "--compress", metavar="FORM", action="append", choices=ENCODINGS, help="gz or zst beside every page"
    )
    group.add_argument("--with-files", action="store_true", help="the files too, as links where that can be")
    group.add_argument("--server-config", metavar="DIR", help="configuration of nginx, Caddy and S3 for this tree")


def _add_ways(found: argparse.ArgumentParser) -> None:
    group = found.add_argument_group("how it is written")
    group.add_argument("--skip-invalid", action="store_true", help="leave bad lines out instead of writing nothing")
    group.add_argument(
        "--atomic", action="store_true", help="make the folder anew beside the old one and exchange them"
    )
    group.add_argument("--sync", action="store_true", help="every page is on the disk before it is seen")
    group.add_argument("--jobs", metavar="N", type=_jobs, help="processes (default: one for each core)")
    group.add_argument("--check", action="store_true", help="write nothing: tell what is wrong with the tree")
    group.add_argument("--json", action="store_true", help="print the result as JSON")


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError("give 1 to 256")
    return int(text)


def _options(flags: argparse.Namespace) -> Options:
    is_list = flags.package_list is not None or flags.package_list_json is not None
    if is_list and flags.packages_url is None:
        raise UsageError("a list tells no place of its files: give --packages-url")
    if flags.with_files and is_list:
        raise UsageError("a list has no files: --with-files goes with --package-dir and --index")
    if flags.with_files and flags.simple_url is not None:
        raise UsageError(
            "--with-files goes with --package-dir and --index: take the other index over by `caseus import`"
        )
    if flags.package_dir is not None and flags.packages_url is None and not flags.with_files:
        raise UsageError("pages have to link the files: give --packages-url where DIR is served, or --with-files")
    style: Style = flags.style or ("dumb-pypi" if is_list else "caseus")
    return Options(
        packages_url=flags.packages_url,
        base_url=flags.base_url.rstrip("/") + "/" if flags.base_url else None,
        style=style,
        title=flags.title,
        logo=flags.logo,
        logo_width=flags.logo_width,
        timestamp=not flags.no_generate_timestamp,
        release_json=not flags.no_per_release_json,
        simple_json=flags.simple_json or style == "caseus",
        rss=flags.rss,
        not_found=flags.not_found_page or flags.github_pages,
        robots=flags.robots_txt or flags.github_pages,
        github_pages=flags.github_pages,
        compress=tuple(sorted(set(flags.compress or ()))),
        files=flags.with_files,
    )


@contextmanager
def _source(flags: argparse.Namespace, options: Options) -> Iterator[Source]:
    if flags.package_list is not None or flags.package_list_json is not None:
        yield _list(flags.package_list, flags.package_list_json)
        return
    from pathlib import Path

    from caseus.cli import export_sources

    if flags.package_dir is not None:
        remembered = Path(flags.output_dir) / _REMEMBERED
        with export_sources.folder(Path(flags.package_dir), options, remembered) as source:
            yield source
    elif flags.index is not None:
        with export_sources.hosted(flags.index, flags.root, flags.config, cached=flags.with_cached) as source:
            yield source
    else:
        with export_sources.remote(flags.simple_url, flags.project or (), flags.exclude or ()) as source:
            yield source


def _previous(flags: argparse.Namespace) -> Source | None:
    plain, json = flags.previous_package_list, flags.previous_package_list_json
    if plain is None and json is None:
        return None
    if "-" in (plain, json) and "-" in (flags.package_list, flags.package_list_json):
        raise UsageError("standard input can be one list only")
    return _list(plain, json)


def _list(plain: str | None, json: str | None) -> PackageList:
    path = plain if plain is not None else json or ""
    return PackageList(None if path == "-" else path, plain=plain is not None)


def _check(flags: argparse.Namespace, source: Source, options: Options) -> int:
    from pathlib import Path

    from caseus.export.checking import check
    from caseus.export.live import LIVE_KEY

    folder = Path(flags.output_dir)
    if flags.index is not None and (folder / LIVE_KEY).exists():
        from caseus.cli.export_sources import check_published

        found = check_published(folder, flags.index, flags.root, flags.config)
    else:
        found = check(source, folder, options, skip_invalid=flags.skip_invalid)
    if flags.json:
        import json

        print(json.dumps([difference._asdict() for difference in found], indent=2))
    else:
        for difference in found:
            print(f"{difference.kind}: {difference.key}")
    if found:
        raise Refused(f"{len(found)} differences found in {folder}: delete its caseus-*.state, then write it again")
    return 0


def _write_config(flags: argparse.Namespace, options: Options) -> None:
    from pathlib import Path

    from caseus.export.serving import write_configuration

    stores: list[Path] = []
    if flags.index is not None and options.packages_url is None and not options.files:
        from caseus.cli.export_sources import store_folders

        stores = store_folders(flags.root, flags.config, flags.index, cached=flags.with_cached)
    write_configuration(
        Path(flags.server_config),
        Path(os.path.abspath(flags.output_dir)),
        options,
        pool=Path(os.path.abspath(flags.package_dir)) if flags.package_dir is not None else None,
        stores=stores,
    )


def _tell_faults(report: Report) -> None:
    for fault in report.faults[:_SHOWN_FAULTS]:
        print(f"caseus: warning: line {fault.line}: {fault.reason}", file=sys.stderr)
    if report.bad > _SHOWN_FAULTS:
        print(f"caseus: warning: and {report.bad - _SHOWN_FAULTS} more bad lines", file=sys.stderr)


def _print_json(report: Report) -> None:
    import json

    told: dict[str, Any] = report._asdict()
    told["faults"] = [fault._asdict() for fault in report.faults]
    print(json.dumps(told, indent=2))
