"""The figures of a release's notes: `python -m bench.figures`. It takes some minutes and reaches the upstream.

From a clone to the first install; start to ready; memory while 1 GiB goes in and out; what 30 packages cost a resolver
through a warm caseus and straight from the upstream, in turns. One machine's figures: the ratios are what counts.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from support.clients import TOOLS
from support.packages import make_wheel
from support.server import CaseusServer, clean_environment

PACKAGES = [
    "requests",
    "flask",
    "django",
    "numpy",
    "pandas",
    "rich",
    "httpx",
    "fastapi",
    "pydantic",
    "sqlalchemy",
    "click",
    "pytest",
    "boto3",
    "jinja2",
    "pyyaml",
    "attrs",
    "cryptography",
    "pillow",
    "tqdm",
    "aiohttp",
    "starlette",
    "uvicorn",
    "alembic",
    "celery",
    "redis",
    "black",
    "coverage",
    "tox",
    "typer",
    "scipy",
]
ROUNDS = 3
GIB = 1 << 30


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="caseus-figures-") as folder:
        work = Path(folder)
        clone_to_install(work / "clone")
        start_up(work)
        big_file(work)
        resolvers(work)
    return 0


def clone_to_install(clone: Path) -> None:
    """What a newcomer waits for: clone, `make serve` (venv, install, start), `pip install requests` through it."""
    begin = time.perf_counter()
    run("git", "clone", "--quiet", str(Path(__file__).parents[1]), str(clone))
    environment = clean_environment()
    server = subprocess.Popen(
        ["make", "--silent", "serve", "ARGS=--port 0"],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().rpartition(" ")[2].strip()
        ready = time.perf_counter()
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--target", str(clone / "t")]
        run(*pip, "--index-url", f"{url}simple/", "requests")
        end = time.perf_counter()
    finally:
        server.terminate()
        server.wait()
    print(f"clone to ready {ready - begin:.1f} s; to `requests` installed {end - begin:.1f} s")


def start_up(work: Path) -> None:
    """From the process's start to its ready line, on an empty folder and on one that has data."""
    times: dict[str, list[float]] = {"empty": [], "again": []}
    for number in range(5):
        for what in times:
            with_time = CaseusServer(work / f"start{number}")
            begin = time.perf_counter()
            with_time.start()
            times[what].append(time.perf_counter() - begin)
            with_time.stop()
    print("; ".join(f"start to ready, {what}: {statistics.median(found):.2f} s" for what, found in times.items()))


def big_file(work: Path) -> None:
    """Memory of the server while a wheel of 1 GiB is uploaded and downloaded."""
    wheel = big_wheel(work)
    with CaseusServer(work / "big", flags=("--max-file-bytes", "2GiB")) as server:
        small, data = make_wheel("small", "1.0")
        (work / small).write_bytes(data)
        upload(server, work / small)
        before = memory(server.pid, "VmRSS")
        # The login of the first upload took 64 MiB for its password hash and gave them back: that peak is forgotten.
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        begin = time.perf_counter()
        upload(server, wheel)
        up = time.perf_counter() - begin
        peak_up = memory(server.pid, "VmHWM")
        begin = time.perf_counter()
        count = download(server, wheel.name)
        down = time.perf_counter() - begin
        peak_down = memory(server.pid, "VmHWM")
    assert count == wheel.stat().st_size
    wheel.unlink()
    print(
        f"1 GiB: upload {up:.1f} s, memory +{(peak_up - before) / 1024:.0f} MiB; "
        f"download {down:.1f} s, memory +{(peak_down - before) / 1024:.0f} MiB in all"
    )


def big_wheel(work: Path) -> Path:
    name, data = make_wheel("big", "1.0")
    path = work / name
    path.write_bytes(data)
    block = bytes(range(256)) * 4096
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive,
        archive.open("big/data.bin", "w", force_zip64=True) as member,
    ):
        for _ in range(GIB // len(block)):
            member.write(block)
    return path


def upload(server: CaseusServer, path: Path) -> None:
    """A streamed multipart upload, so that the client's own memory does not matter."""
    name, version = path.name.split("-")[:2]
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": name,
        "version": version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "sha256_digest": digest(path),
    }
    head = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    )
    head += (
        f'--b\r\nContent-Disposition: form-data; name="content"; filename="{path.name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = b"\r\n--b--\r\n"

    def body() -> Iterator[bytes]:
        yield head
        with path.open("rb") as file:
            yield from iter(lambda: file.read(1 << 20), b"")
        yield tail

    credentials = base64.b64encode(":".join(server.admin).encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request(
        "POST",
        "/legacy/",
        body=body(),
        headers={
            "Authorization": f"Basic {credentials}",
            "Content-Type": "multipart/form-data; boundary=b",
            "Content-Length": str(len(head) + path.stat().st_size + len(tail)),
        },
    )
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, (answer.status, text)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(server: CaseusServer, filename: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("GET", f"/simple/{filename.split('-')[0]}/{filename}")
    answer = connection.getresponse()
    count = sum(len(data) for data in iter(lambda: answer.read(1 << 20), b""))
    connection.close()
    return count


def memory(pid: int, field: str) -> int:
    """KiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def resolvers(work: Path) -> None:
    """`uv pip compile` and `pip install --dry-run` of 30 packages, nothing cached by the client."""
    wanted = work / "wanted.in"
    wanted.write_text("\n".join(PACKAGES) + "\n")
    with CaseusServer(work / "warm", upstream="pypi") as server:
        from pypi_simple import PYPI_SIMPLE_ENDPOINT

        index = {"caseus": f"{server.url}simple/", "upstream": PYPI_SIMPLE_ENDPOINT}
        for what, command in (("uv pip compile", uv_compile), ("pip install --dry-run", pip_dry_run)):
            command(work, wanted, index["caseus"])  # warm it
            times: dict[str, list[float]] = {name: [] for name in index}
            for _ in range(ROUNDS):
                for name, url in index.items():
                    begin = time.perf_counter()
                    command(work, wanted, url)
                    times[name].append(time.perf_counter() - begin)
            through, straight = statistics.median(times["caseus"]), statistics.median(times["upstream"])
            print(
                f"{what}, {len(PACKAGES)} packages: warm caseus {through:.2f} s, upstream {straight:.2f} s "
                f"({through / straight:.2f}x)"
            )


def uv_compile(work: Path, wanted: Path, index: str) -> None:
    shutil.rmtree(work / "uv-cache", ignore_errors=True)
    uv = str(TOOLS / "uv")
    run(uv, "pip", "compile", "--quiet", "--no-config", "--cache-dir", str(work / "uv-cache"),
        "--default-index", index, "-o", str(work / "out.txt"), str(wanted))  # fmt: skip


def pip_dry_run(work: Path, wanted: Path, index: str) -> None:
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
        "--ignore-installed", "--no-cache-dir", "--only-binary", ":all:", "--index-url", index,
        "-r", str(wanted))  # fmt: skip


def run(*command: str) -> None:
    done = subprocess.run(
        command,
        env=clean_environment({"PIP_CONFIG_FILE": "/dev/null"}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
