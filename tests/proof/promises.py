"""What caseus promises, what would break it, and the tests that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["holds", "holds in part", "not yet"]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """`measure`: what is counted; `tests`: paths, some with a function; `limits`: what is not in it, or missing."""

    number: int
    text: str
    state: State = "holds"
    measure: str
    tests: tuple[str, ...] = ()
    limits: str = ""


PROMISES = (
    Promise(
        number=1,
        text="An upload that was answered 200 survives kill -9 and a power cut.",
        measure="Acknowledged files that are not there afterwards, with their bytes, on their page: 0.",
        tests=(
            "tests/faults/test_kill_upload.py",
            "tests/faults/test_kill_each_step.py",
            "tests/faults/test_upload_protocol.py",
            "tests/faults/test_power_cut.py",
        ),
        limits="A power cut is played by a copy of the disk's image at the moment of the answer. What it can't show: a "
        "disk that loses what it said it has written, and other file systems than ext4. An upload that waits for its "
        "answer is not acknowledged.",
    ),
    Promise(
        number=2,
        text="An upload that was not answered 200 is wholly there or wholly absent, and its name is free at once.",
        measure="Half files on a page or in the store, and names that nobody can publish any more: 0. With a full disk "
        "the answer is 507, with a locked or unwritable one 503; reads go on, and uploads work again when there is "
        "space.",
        tests=(
            "tests/faults/test_kill_upload.py",
            "tests/faults/test_kill_each_step.py",
            "tests/faults/test_power_cut.py",
            "tests/faults/test_disk_full.py",
            "tests/faults/test_own_faults.py",
        ),
        limits="A process that lives on and has neither space nor descriptors to give a claim back blocks the name for "
        "up to 30 seconds, which the answer says.",
    ),
    Promise(
        number=3,
        text="A filename that was published once never serves other bytes, also after its deletion, whichever server "
        "on the data folder is asked.",
        measure="Names that were acknowledged for two digests: 0. Other bytes are answered by 409.",
        tests=(
            "tests/faults/test_two_servers.py",
            "tests/faults/test_upload_protocol.py",
            "tests/faults/test_kill_upkeep.py",
            "tests/conformance/test_publish.py",
            "tests/clients/test_undo.py",
        ),
        limits="Several servers on one data folder, so on one machine. Several machines are not there yet.",
    ),
    Promise(
        number=4,
        text="No client takes a wrong or half-fetched file for a whole one.",
        measure="Downloads that ended as if they were whole, with other bytes than the index has: 0. What is not right "
        "ends with a connection that breaks off.",
        tests=(
            "tests/faults/test_kill_fill.py",
            "tests/faults/test_kill_each_step.py::test_fill",
            "tests/faults/test_fill.py",
            "tests/faults/test_fill_takeover.py",
            "tests/faults/test_upstream_faults.py",
            "tests/faults/test_cached_damage.py",
        ),
        limits="Files are not hashed again at each download: bytes that a disk changed by itself go out, with the "
        "right digest on the page, so that pip and uv refuse them. `caseus verify` finds them (promise 16).",
    ),
    Promise(
        number=5,
        text="A private name is never asked upstream. If the catalog can't be read, the answer is 503, not the public "
        "package.",
        measure="Requests for private names that a counting upstream sees, over spellings, routes and clients: 0.",
        tests=(
            "tests/clients/test_private_first.py",
            "tests/conformance/test_local_index.py",
            "tests/conformance/test_several_upstreams.py",
        ),
    ),
    Promise(
        number=6,
        text="What is cached stays available while the upstream is down; what is not is 502 or 504, and 404 only where "
        "the upstream says so.",
        measure="Wrong answers over all faults of an upstream: 0.",
        tests=(
            "tests/faults/test_upstream_faults.py",
            "tests/conformance/test_freshness.py",
            "tests/unit/test_upstream_circuit.py",
        ),
    ),
    Promise(
        number=7,
        text="Memory does not grow with the size of a file.",
        state="holds in part",
        measure="What the server's memory grows by while large files are published, fetched and downloaded: under "
        "32 MiB.",
        tests=("tests/faults/test_memory.py",),
        limits="That it does not grow over hours of use is not measured yet.",
    ),
    Promise(
        number=8,
        text="A file is fetched from its upstream once, however many clients ask for it.",
        measure="Requests that the upstream sees: 1, also with two servers on one data folder.",
        tests=(
            "tests/clients/test_many_clients.py",
            "tests/faults/test_two_servers.py::test_a_cold_file_is_fetched_once_for_both",
        ),
    ),
    Promise(
        number=9,
        text="No page or redirect makes the server connect to other hosts than its upstreams, and https hosts that "
        "their pages link.",
        measure="Requests that a canary sees: 0.",
        tests=("tests/unit/test_upstream_contact.py",),
        limits="Behind a configured proxy only names and schemes are judged, not addresses; the log says so.",
    ),
    Promise(
        number=10,
        text="Secrets are never in logs, pages or errors, and never sent to another origin.",
        measure="Places where a secret is found, in any form in which it was sent: 0.",
        tests=(
            "tests/faults/test_secrets.py",
            "tests/unit/test_logs.py",
            "tests/unit/test_upstream_contact.py",
            "tests/unit/test_upstream_credentials.py",
        ),
    ),
    Promise(
        number=11,
        text="No uploaded text runs in a reader's browser.",
        state="holds in part",
        measure="Markup in names, versions, reasons and hosts that a page shows unescaped: 0. Pages forbid scripts, "
        "files are downloads. Scripts, dialogs, elements and links that hostile text makes in Chromium, with and "
        "without that policy: 0.",
        tests=(
            "tests/unit/test_render.py",
            "tests/unit/test_render_home.py",
            "tests/conformance/test_http.py",
            "tests/conformance/test_http_files.py",
            "tests/browser/test_hostile.py",
            "tests/browser/test_exported.py::test_a_hostile_list_makes_text",
        ),
        limits="Pages that show descriptions are not there yet.",
    ),
    Promise(
        number=12,
        text="Archives are never unpacked; to check one takes little memory, whatever is in it.",
        state="holds in part",
        measure="Memory for malformed and exploding archives: under the bound of each test, 80 MiB at most.",
        tests=("tests/unit/test_checks_zips.py", "tests/unit/test_checks_tars.py"),
        limits="What is read is bounded, and with it the time; a limit of time of its own is not there yet.",
    ),
    Promise(
        number=13,
        text="No request gets a 500 by what is in it.",
        measure="Answers of 500 to malformed requests and uploads: 0.",
        tests=(
            "tests/faults/test_hostile_requests.py",
            "tests/faults/test_hostile_uploads.py",
            "tests/faults/test_hostile_fuzz.py",
            "tests/unit/test_checks_upload.py",
        ),
    ),
    Promise(
        number=14,
        text="Metadata that is shown and served is that in the file.",
        measure="Bytes of `.metadata` that differ from METADATA in the wheel: 0; a form that says something else than "
        "its file is refused.",
        tests=(
            "tests/unit/test_checks_upload.py",
            "tests/unit/test_checks_zips.py::test_metadata_of_a_wheel_byte_for_byte",
            "tests/conformance/test_publish.py",
        ),
    ),
    Promise(
        number=15,
        text="Every change is in the journal, in the transaction that makes it; each entry is linked to the one "
        "before.",
        measure="Changes without an entry, and changed or missing entries that `caseus verify` does not find: 0.",
        tests=(
            "tests/conformance/test_catalog.py",
            "tests/unit/test_verify.py",
            "tests/faults/test_bit_rot.py::test_database",
        ),
    ),
    Promise(
        number=16,
        text="`caseus verify` finds each lost, changed and extra file, and changes nothing unless it is told to.",
        measure="Of damages done at random, one at a time: all found, nothing else told. Of bits flipped in the "
        "database: found, or without effect on any fact about files.",
        tests=(
            "tests/faults/test_bit_rot.py",
            "tests/faults/test_cached_damage.py",
            "tests/unit/test_verify.py",
            "tests/conformance/test_commands_verify.py",
        ),
        limits="A changed signature (`.asc`) is not found: there is no digest of it. In the database, what belongs to "
        "users, tokens and the cache's bookkeeping has nothing to be compared with.",
    ),
    Promise(
        number=17,
        text="A broken configuration never replaces a good one in a running server.",
        measure="Broken settings, password files and certificates that were obeyed: 0. Requests and downloads that a "
        "reload cut off: 0.",
        tests=("tests/faults/test_reload.py",),
        limits="A wrong value that is a possible one is obeyed: nobody can see that it was not meant.",
    ),
    Promise(
        number=18,
        text="SIGTERM loses no acknowledged work, and cuts no upload or download off within the grace time.",
        measure="Uploads and downloads that ran at the signal and did not end well: 0.",
        tests=(
            "tests/unit/test_cli_serve.py",
            "tests/faults/test_workers.py::test_a_signal_to_the_whole_group_lets_what_runs_finish",
        ),
    ),
    Promise(
        number=19,
        text="A revoked token, and those of a removed user, stop working at the next request, on every server of the "
        "data folder.",
        measure="Requests that still pass: 0.",
        tests=(
            "tests/unit/test_access.py",
            "tests/unit/test_cli_serve.py::test_users_and_tokens_made_while_it_runs",
            "tests/faults/test_workers.py::test_tokens_are_revoked_in_every_worker",
        ),
        limits="Several servers on one data folder, so on one machine. Several machines are not there yet.",
    ),
    Promise(
        number=20,
        text="Static output is old or new, never mixed.",
        state="holds in part",
        measure="Kills of an export, and of a server that keeps a tree current, after which a page is neither the old "
        "nor the new one, or leads to a page that is not there: 0; after which the next run does not make the tree "
        "right to the byte, whatever list it has: 0. With `--atomic`, trees that are neither the old nor the new: 0.",
        tests=(
            "tests/faults/test_kill_export.py",
            "tests/conformance/test_publish_live.py",
            "tests/conformance/test_export_tree.py",
        ),
        limits="Without `--atomic` one page may be new while another is still old. A power cut may leave pages empty, "
        "but for those that a server keeps current and those written with `--sync`.",
    ),
    Promise(
        number=21,
        text="Data folders of older versions are opened, those of newer ones are refused and left as they are.",
        state="holds in part",
        measure="Kills at each step of a migration after which a folder is neither old nor new: 0. Copies that are "
        "made before a migration: all.",
        tests=(
            "tests/conformance/test_catalog.py",
            "tests/faults/test_kill_each_step.py::test_migration_of_nothing",
            "tests/faults/test_kill_each_step.py::test_migration_of_facts",
        ),
        limits="There was no release yet: the older and the newer schema are made by tests.",
    ),
)

NOT_PROMISED = (
    "That a malicious administrator, or whoever owns the disk, can be kept from changing packages.",
    "That packages of an upstream do no harm: they are those of their publishers, nothing more.",
    "Anything on a disk that loses what it said it has written, or on a file system without the `link`, `fsync` and "
    "`flock` of Linux.",
    "That the service stays up when its one machine does not.",
    "What TUF promises: caseus signs nothing.",
)
