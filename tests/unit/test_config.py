from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseus.config import ConfigError, agree_on_root, default_root, load, mask
from caseus.units import format_duration, format_size, parse_duration, parse_size

NO_UPSTREAM = {"upstream": ["none"]}


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "caseus.toml"
    file.write_text(text)
    return file


def test_defaults(tmp_path: Path) -> None:
    config, settings, file = load({"root": str(tmp_path)}, {})
    assert (config.host, config.port, config.read, config.workers) == ("127.0.0.1", 8080, "all", 1)
    assert (config.upstream_ttl, config.grace, config.max_file_bytes, config.cache_bytes) == (600, 30, 1024**3, None)
    assert (config.private, config.trusted_proxies, config.public_url) == ((), (), None)
    (upstream,) = config.upstreams
    assert upstream.url.startswith("https://") and upstream.url.endswith("/")
    assert (config.upstream_stale, config.union, config.keep_removed) == (60, (), False)
    assert settings["upstream"].shown == "pypi"
    assert settings["port"].source == "default" and settings["root"].source == "--root"
    assert file is None


def test_default_root_is_the_users_or_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_root() == Path("/home/someone/.local/share/caseus")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == Path("/var/lib/caseus")


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    write(tmp_path, 'port = 1\ngrace = "1m"\nread = "users"\nupstream = "none"\n')
    environ = {"CASEUS_ROOT": str(tmp_path), "CASEUS_PORT": "2", "CASEUS_GRACE": "2m"}
    config, settings, file = load({"port": "3"}, environ)
    assert (config.port, config.grace, config.read, config.host) == (3, 120, "users", "127.0.0.1")
    sources = {key: settings[key].source for key in ("port", "grace", "read", "host", "root")}
    file_name = str(tmp_path / "caseus.toml")
    assert sources == {
        "port": "--port",
        "grace": "CASEUS_GRACE",
        "read": file_name,
        "host": "default",
        "root": "CASEUS_ROOT",
    }
    assert str(file) == file_name


def test_a_named_file_replaces_that_of_the_root(tmp_path: Path) -> None:
    write(tmp_path, "port = 1\n")
    other = write(tmp_path / "etc", f'port = 2\nroot = "{tmp_path}"\nupstream = "none"\n')
    assert load({}, {}, other).config.port == 2
    assert load({}, {"CASEUS_CONFIG": str(other)}).config.port == 2
    assert load({}, {}, other).config.root == tmp_path


def test_a_relative_root_in_a_file_lies_beside_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'root = "data"\nupstream = "none"\n')
    assert load({}, {}, file).config.root == tmp_path / "data"


def test_keys_of_an_index_stand_under_it_or_at_the_top(tmp_path: Path) -> None:
    write(tmp_path, '[index.main]\nupstream = "none"\nprivate = ["acme-*", "tool"]\nupstream_ttl = 5\nread = "users"\n')
    config = load({"root": str(tmp_path)}, {}).config
    assert (config.upstreams, config.private, config.upstream_ttl, config.read) == ((), ("acme-*", "tool"), 5, "users")
    write(tmp_path, 'upstream = ["none"]\nprivate = "acme-*"\n')
    config = load({"root": str(tmp_path)}, {}).config
    assert (config.upstreams, config.private) == ((), ("acme-*",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('private = ["a"]\n[index.main]\nprivate = ["a"]', "private: given twice"),
        ("[index.main]\nport = 1", "port: belongs to no index"),
        ("[index.other]\nread = 'all'", "[index.other]"),
        ("[index]\nmain = 1", "index.main: must be a table"),
        ("index = 1", "index: must be a table"),
        ("ports = 1", "unknown key 'ports'"),
        ("[server]\nport = 1", "unknown key 'server'"),
        ("[index.main]\nprivat = []", "unknown key 'privat'"),
        ("config = 'x'", "unknown key 'config'"),
        ("port = ", "can't read the configuration file"),
        ("port = true", "port: True is no number"),
        ("host = 7", "host: must be a text"),
        ("private = [7]", "private: must be a text"),
        ("private = 7", "private: must be a list"),
        ("root = '/somewhere/else'", "root: the file in a data folder can't name another one"),
        ("upstream = ['none', 'pypi']", "upstream: `none` stands alone"),
        ("upstream = []", "upstream: give a URL"),
        ("upstream = 'none'\nupstreams = [{url = 'none'}]", "upstream: given twice"),
        ("upstreams = [{url = 'none'}]\n[index.main]\nupstream = 'none'", "upstream: given twice"),
        ("keep_removed = 1", "keep_removed: 1 is neither true nor false"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, told: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load({"root": str(tmp_path)}, {})
    assert told in str(caught.value) and str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("port", "70000", "70000 is no port"),
        ("port", "-1", "no whole number"),
        ("port", "eighty", "no whole number"),
        ("port", "¹", "no whole number"),
        ("host", "a b", "no name or address"),
        ("host", "", "not empty"),
        ("read", "some", "neither"),
        ("upstream_ttl", "10 fortnights", "no duration"),
        ("grace", "-5", "no duration"),
        ("grace", "forever", "no duration"),
        ("max_file_bytes", "many", "no size"),
        ("max_file_bytes", "0", "refuse every file"),
        ("cache_bytes", "9999999999TiB", "more than any disk"),
        ("public_url", "pkgs.example.com", "no URL"),
        ("public_url", "ftp://pkgs.example.com", "no URL"),
        ("public_url", "https://pkgs.example.com/?x", "without user, query and fragment"),
        ("public_url", "https://a:b@pkgs.example.com/", "without user, query and fragment"),
        ("public_url", "https://pkgs.example.com:port/", "Port"),
        ("trusted_proxies", ["10.0.0.1", "proxy"], "'proxy'"),
        ("trusted_proxies", ["10.0.0.1/8"], "host bits"),
        ("private", ["acme/*"], "no pattern"),
        ("workers", "0", "1 to 64"),
        ("workers", "65", "1 to 64"),
        ("workers", "many", "no whole number"),
        ("bind", ["8080"], "none of HOST:PORT"),
        ("bind", ["unix:relative"], "no absolute path"),
        ("bind", ["systemd", "systemd"], "given twice"),
        ("bind_mode", "rw", "octal digits"),
        ("bind_mode", "060", "600 to 777"),
        ("bind_mode", "1777", "600 to 777"),
        ("max_clients", "0", "refuse everybody"),
        ("no_fsync", "maybe", "neither true nor false"),
        ("passwd", "", "not empty"),
        ("upstream", ["none", "pypi"], "`none` stands alone"),
        ("upstream_stale", "soon", "no duration"),
        ("union", ["torch/*"], "no pattern"),
        ("keep_removed", "maybe", "neither true nor false"),
        ("upstream", ["ftp://pkgs.example.com/"], ""),
        ("root", "", "not empty"),
    ],
)
def test_wrong_values_name_their_key_and_source(tmp_path: Path, key: str, value: object, told: str) -> None:
    flags = {"root": str(tmp_path), key: value}
    with pytest.raises(ConfigError) as caught:
        load(flags, {})
    message = str(caught.value)
    assert message.startswith(f"{key}: ") and told in message
    assert message.endswith(f"(from --{key.replace('_', '-')})")
    environ = {"CASEUS_" + key.upper(): " ".join(value) if isinstance(value, list) else str(value)}
    with pytest.raises(ConfigError) as caught:
        load({"root": str(tmp_path)} if key != "root" else {}, environ)
    assert str(caught.value).startswith(f"{key}: ") and told in str(caught.value)


def test_a_blank_stands_between_patterns_in_the_environment_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"private: 'acme tool' is no pattern .*from --private"):
        load({"root": str(tmp_path), "private": ["acme tool"]}, {})


def test_a_bind_takes_the_place_of_host_and_port(tmp_path: Path) -> None:
    flags: dict[str, str | list[str]] = {**NO_UPSTREAM, "root": str(tmp_path)}
    assert [str(bind) for bind in load(flags, {}).config.binds] == ["127.0.0.1:8080"]
    assert [str(bind) for bind in load(flags | {"host": "[::1]", "port": "1"}, {}).config.binds] == ["[::1]:1"]
    told: dict[str, str | list[str]] = {"bind": ["localhost:0", "localhost:0", "unix:/run/x"]}
    assert [str(bind) for bind in load(flags | told, {"CASEUS_PORT": "9"}).config.binds] == told["bind"]
    with pytest.raises(ConfigError, match=r"port: bind takes its place: give one of them \(from --port\)"):
        load(flags | told | {"port": "1"}, {})
    with pytest.raises(ConfigError, match="host: bind takes its place"):
        load(flags, {"CASEUS_BIND": "systemd", "CASEUS_HOST": "localhost"})


def test_a_mode_is_octal_as_text_and_as_tomls_own_number(tmp_path: Path) -> None:
    for text in ('"640"', '"0640"', "0o640"):
        write(tmp_path, f'bind_mode = {text}\nupstream = "none"\n')
        loaded = load({"root": str(tmp_path)}, {})
        assert (loaded.config.bind_mode, loaded.settings["bind_mode"].shown) == (0o640, "640")


@pytest.mark.parametrize(
    ("settings", "readers"),
    [
        ({}, 1),
        ({"workers": "2"}, 1),
        ({"workers": "4"}, 3),
        ({"workers": "4", "tls_cert": "cert.pem", "tls_key": "key.pem"}, 4),
        ({"workers": "4", "tls_cert": "cert.pem", "tls_key": "key.pem", "http2": "true"}, 4),
    ],
)
def test_one_of_several_workers_publishes_where_it_can(tmp_path: Path, settings: dict[str, str], readers: int) -> None:
    assert load({"root": str(tmp_path), **settings}, {}).config.readers == readers


def test_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = NO_UPSTREAM | {"root": str(tmp_path)}
    assert load(flags | {"workers": "3"}, {}).config.workers == 3
    for cores, workers in ((1, 1), (2, 2), (4, 4), (48, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert load(flags | {"workers": "auto"}, {}).config.workers == workers


def test_files_in_a_file_lie_beside_it(tmp_path: Path) -> None:
    write(tmp_path, 'tls_cert = "tls/cert.pem"\ntls_key = "/etc/key.pem"\npasswd = "~/passwd"\nupstream = "none"\n')
    config = load({"root": str(tmp_path)}, {}).config
    assert (config.tls_cert, config.tls_key) == (tmp_path / "tls/cert.pem", Path("/etc/key.pem"))
    assert config.passwd == Path.home() / "passwd"


def test_a_key_without_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls_key: a key without a certificate: .*from --tls-key"):
        load(NO_UPSTREAM | {"root": str(tmp_path), "tls_key": "x.pem"}, {})


def test_whoever_connects_by_a_unix_socket_may_be_trusted(tmp_path: Path) -> None:
    told = {"trusted_proxies": ["unix", "10.0.0.0/8"]}
    assert load(NO_UPSTREAM | told | {"root": str(tmp_path)}, {}).config.trusted_proxies == ("unix", "10.0.0.0/8")


def test_lists_in_the_environment_are_separated_by_spaces(tmp_path: Path) -> None:
    environ = {
        "CASEUS_PRIVATE": " acme-*  tool ",
        "CASEUS_TRUSTED_PROXIES": "10.0.0.0/8 ::1",
        "CASEUS_UPSTREAM": "none",
    }
    config = load({"root": str(tmp_path)}, environ).config
    assert (config.private, config.trusted_proxies) == (("acme-*", "tool"), ("10.0.0.0/8", "::1"))
    assert load(NO_UPSTREAM | {"root": str(tmp_path)}, {"CASEUS_PRIVATE": ""}).config.private == ()


@pytest.mark.parametrize("name", ["CASEUS_PROT", "CASEUS_INDEX", "CASEUS_DEBUG", "CASEUS_port", "CASEUS_"])
def test_unknown_environment_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown environment variable {name}:"):
        load({"root": str(tmp_path)}, {name: "1"})


def test_known_names_that_are_no_keys(tmp_path: Path) -> None:
    environ = {"CASEUS_ADMIN_PASSWORD_FILE": "/run/secret", "NOT_CASEUS_X": "1", "CASEUS_ROOT": str(tmp_path)}
    assert load(NO_UPSTREAM, environ).config.root == tmp_path


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load({}, {}, tmp_path / "absent.toml")


def test_public_url_ends_in_a_slash(tmp_path: Path) -> None:
    flags = NO_UPSTREAM | {"root": str(tmp_path), "public_url": "https://pkgs.example.com/py"}
    assert load(flags, {}).config.public_url == "https://pkgs.example.com/py/"


def test_one_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert agree_on_root("a", None, {}) == "a"
    assert agree_on_root(None, "b", {"CASEUS_ROOT": "c"}) == "b"
    assert agree_on_root(None, None, {"CASEUS_ROOT": "c"}) is None
    assert agree_on_root("a", str(tmp_path / "a"), {"CASEUS_ROOT": "c"}) == "a"
    assert agree_on_root("./a/", None, {"CASEUS_ROOT": str(tmp_path / "a")}) == "./a/"
    for flag, environ in (("b", {}), (None, {"CASEUS_ROOT": "b"})):
        with pytest.raises(ConfigError, match="root: 'a' was given"):
            agree_on_root("a", flag, environ)


def test_secrets_of_an_upstream_are_masked(tmp_path: Path) -> None:
    flags = {"root": str(tmp_path), "upstream": ["https://bob:s3cret@pkgs.example.com/simple/"]}
    loaded = load(flags, {})
    assert "s3cret" in loaded.config.upstreams[0].url
    assert loaded.settings["upstream"].shown == "https://bob:***@pkgs.example.com/simple/"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://bob:pw@h/", "https://bob:***@h/"),
        ("https://token@h/", "https://***@h/"),
        ("https://bob:p@w@h/x@y", "https://bob:***@h/x@y"),
        ("a https://b:c@h/ and d@e", "a https://b:***@h/ and d@e"),
        ("https://h/simple/@x", "https://h/simple/@x"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("1GiB", 2**30),
        ("500MB", 500_000_000),
        ("1.5 GiB", 3 * 2**29),
        ("2k", 2000),
        ("7B", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600", 600), ("10m", 600), ("24h", 86_400), ("90d", 7_776_000), ("2w", 1_209_600), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1.GiB", "GiB", "1GiBs", "-1", "1e3", "١", "1 0"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "m", "10mins", "-1", "1h30m", "inf", "nan"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


def test_forever_is_a_lifetime(tmp_path: Path) -> None:
    file = tmp_path / "caseus.toml"
    file.write_text('upstream_ttl = "forever"\n[[index.main.upstreams]]\nurl = "pypi"\nttl = "Forever"\n')
    loaded = load({"root": str(tmp_path)}, {})
    assert (loaded.config.upstream_ttl, loaded.config.upstreams[0].ttl) == (math.inf, math.inf)
    assert loaded.settings["upstream_ttl"].shown == "forever"


@given(st.integers(0, 2**60))
def test_shown_values_can_be_written_back(number: int) -> None:
    assert parse_size(format_size(number)) == number
    assert parse_duration(format_duration(float(number))) == float(number)


def test_config_show_names_what_a_file_can_hold(tmp_path: Path) -> None:
    """Every value that is shown is one that the file accepts."""
    flags = {"root": str(tmp_path), "private": ["acme-*"], "grace": "90", "cache_bytes": "5GB", "upstream": ["none"]}
    settings = load(flags, {}).settings
    lists = ("private", "union", "trusted_proxies", "bind")
    lines = [
        f"{each.key} = {json.dumps(each.shown.split() if each.key in lists else each.shown)}"
        for each in settings.values()
        if each.shown or each.key in lists
    ]
    write(tmp_path, "\n".join(lines))
    again = load({"root": str(tmp_path)}, {})
    assert again.config == load(flags, {}, None).config
    assert {key: each.shown for key, each in again.settings.items()} == {key: s.shown for key, s in settings.items()}
