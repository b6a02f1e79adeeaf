"""The mailbox rows: a mirror of many attachments from a mailbox far away, and memory while large ones are read.

No peer does this, so the rows compare with arithmetic: what the mirror takes at least when four requests are under way at
a time (Exchange allows no more) and each takes 50 ms, the listing's pages in turn before that; and what the server holds
of memory before anybody reads. Graph is the stand-in of the tests (tests/kit/microsoft) on the same machine.
"""
import contextlib
import json
import math
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.parse

from rig import ROOT, Server, free_port, run
from turns import MIB, Row

ROWS = ("mailbox-mirror", "mailbox-memory", "mailbox-relist")
MAILBOX = "bench@example.test"
LATENCY = 0.05
PAGE = 200


class Graph:
    """The stand-in with its mailbox; ends when its standard input does."""

    def __init__(self, state, mailbox, latency):
        subprocess.run(["cargo", "build", "-q", "--release", "-p", "portreeve-tests-microsoft", "--bin", "portreeve-standin"],
                       cwd=ROOT, check=True)
        content = state / "mailbox.json"
        content.write_text(json.dumps({"mailboxes": {MAILBOX: mailbox}}))
        command = [ROOT / "target/release/portreeve-standin", content, "--latency", str(int(latency * 1000))]
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the stand-in does not start")
        self.place = json.loads(line)

    def stop(self):
        """What was asked of it in all."""
        if self.process.stdin.closed:
            return {}
        self.process.stdin.close()
        line = self.process.stdout.readline()
        self.process.wait(30)
        return json.loads(line or b"{}")


def ours(rig, state, place, more):
    sftp, https, ftps = free_port(), free_port(), free_port()
    shutil.copy(rig.state / "accounts.toml", state / "accounts.toml")
    (state / "data").mkdir()
    (state / "portreeve.toml").write_text(f"""
[server]
data_dir = "data"
[limits]
connections_per_ip = 2000
sessions_per_user = 2000
[audit]
sinks = [{{ type = "file", path = "audit.jsonl" }}]
[[listener]]
protocol = "sftp"
address = "127.0.0.1:{sftp}"
[[listener]]
protocol = "https"
address = "127.0.0.1:{https}"
[[listener]]
protocol = "ftps"
address = "127.0.0.1:{ftps}"
passive_ports = "8500-9999"
[[auth]]
type = "local-file"
path = "accounts.toml"
[groups.bench]
mounts = [{{ path = "/", storage = "mail", verbs = "full" }}]
[storage.mail]
type = "exchange"
mailbox = "{MAILBOX}"
directory_id = "{place['tenant']}"
application_id = "{place['client_id']}"
password = {json.dumps(place['client_secret'])}
authority = "{place['authority']}"
graph = "{place['graph']}"
ca_file = {json.dumps(str(place['ca_file']))}
{more}
""")
    server = Server("ours", [rig.binary, "serve", "--config", str(state / "portreeve.toml")], [sftp, https, ftps], state / "ours.log")
    server.ftps, server.https, server.user, server.root = ftps, https, "bench", ""
    return server


@contextlib.contextmanager
def running(rig, mailbox, latency, more=""):
    state = pathlib.Path(tempfile.mkdtemp(prefix="bench-mailbox-", dir=ROOT / "target"))
    graph = Graph(state, mailbox, latency)
    server = None
    try:
        server = ours(rig, state, graph.place, more)
        yield server, graph
    finally:
        if server:
            server.stop()
        graph.stop()
        shutil.rmtree(state, ignore_errors=True)


def mirror(server, target, parallel):
    settings = ("set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set cmd:fail-exit yes; "
                "set net:max-retries 1; set net:timeout 60")
    run(["lftp", "--norc", "-c", f"{settings}; open -u bench,bench ftp://127.0.0.1:{server.ftps}; "
         f"mirror --parallel={parallel} /Inbox {target}"])


def fetch(server, target, count):
    """A listing, then all files over HTTPS, eight at a time."""
    target.mkdir()
    base = f"https://127.0.0.1:{server.https}/api/v1/files"
    listing = target / "listing.json"
    run(["curl", "-q", "-s", "-S", "-f", "-k", "-u", "bench:bench", "-o", str(listing), f"{base}?path=/Inbox&limit=100000"])
    names = [entry["name"] for entry in json.loads(listing.read_bytes())["entries"]]
    listing.unlink()
    lines = [f'url = "{base}/content?path=/Inbox/{urllib.parse.quote(name)}"\noutput = "{target / name}"' for name in names]
    run(["curl", "-q", "-s", "-S", "-f", "-k", "-u", "bench:bench", "-Z", "--parallel-max", "8", "-K", "-"], "\n".join(lines))


def mirror_row(rig, quick, client):
    """lftp asks for every size that a listing leaves out, one after the other, before it begins: its mailbox learns them
    before it answers the listing, and serves the files from what it has fetched for that."""
    count = 40 if quick else 1_000
    mails = [{"subject": "Report", "repeat": count, "attachments": [{"name": "data.csv", "size": 20_000, "seed": 1}]}]
    row = Row(f"mailbox-mirror {count} attachments at {LATENCY * 1000:.0f} ms, {client}", "s", "floor",
              gate=1.3 if client == "HTTPS" and not quick else None, goal_low=True, relative=True)
    more = 'sizes = "on-list"' if client == "FTPS" else ""
    with running(rig, {"Inbox": mails}, LATENCY, more) as (server, _):
        target = rig.dir / f"mirrored-{client}"
        wall = time.monotonic()
        mirror(server, target, 8) if client == "FTPS" else fetch(server, target, count)
        wall = time.monotonic() - wall
        found = [path for path in target.iterdir() if path.stat().st_size == 20_000]
        if len(found) != count:
            raise SystemExit(f"the mirror has {len(found)} of {count} attachments")
        shutil.rmtree(target)
        # Token, folders with their well-known ids, the listing's pages one after another, then four at a time.
        floor = (3 + math.ceil(count / PAGE) + math.ceil(count / 4)) * LATENCY
    row.add(server, wall)
    row.samples["floor"] = ([floor], [])
    return row


def relist_row(rig, quick):
    """The second listing of a large folder: seconds of the first, seconds of the second."""
    count = 200 if quick else 5_000
    mails = [{"subject": "Report", "repeat": count, "attachments": [{"name": "data.csv", "size": 2_000, "seed": 1}]}]
    row = Row(f"mailbox-relist {count} messages at {LATENCY * 1000:.0f} ms, SFTP", "s", "first listing", goal_low=True)
    with running(rig, {"Inbox": mails}, LATENCY) as (server, _):
        def once():
            wall = time.monotonic()
            rig.sftp(server, "ls -1 /Inbox")
            return time.monotonic() - wall
        first = once()
        time.sleep(8)
        row.add(server, once())
        row.samples["first listing"] = ([first], [])
    return row


def memory_row(rig, quick):
    sessions, size = (3, 8 * MIB) if quick else (20, 150 * MIB)
    mails = [{"subject": "Large", "repeat": sessions, "attachments": [{"name": "big.bin", "size": size, "seed": 1}]}]
    row = Row(f"mailbox-memory {sessions} sessions read {size // MIB} MiB each: growth", "PSS MiB", "without readers",
              gate=None, goal_low=True)
    with running(rig, {"Inbox": mails}, 0) as (server, _):
        rig.sftp(server, "ls -1 /Inbox")
        low = server.pss() / 1024
        highest, done = [low], threading.Event()

        def watch():
            while not done.wait(0.1):
                highest.append(server.pss() / 1024)
        watcher = threading.Thread(target=watch)
        watcher.start()
        readers = [threading.Thread(target=rig.sftp, args=(server, f'get "/Inbox/Large {number:05}-big.bin" {rig.dir}/got-{number}'))
                   for number in range(sessions)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        done.set()
        watcher.join()
        for number in range(sessions):
            got = rig.dir / f"got-{number}"
            if got.stat().st_size != size:
                raise SystemExit(f"{got} has {got.stat().st_size} of {size} bytes")
            got.unlink()
        row.add(server, max(highest) - low)
        row.samples["without readers"] = ([low], [])
    return row


def rows(rig, options, wanted):
    if wanted("mailbox-mirror"):
        yield mirror_row(rig, options.quick, "HTTPS")
        yield mirror_row(rig, options.quick, "FTPS")
    if wanted("mailbox-relist"):
        yield relist_row(rig, options.quick)
    if wanted("mailbox-memory"):
        yield memory_row(rig, options.quick)
