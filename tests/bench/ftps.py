"""The FTPS rows: curl for bytes, lftp for small files, a client of our own for listings and sign-ins.

All of it is explicit TLS 1.3 on both connections, but that `ftps-resumed` asks for TLS 1.2 too. curl offers AES-256-GCM
alone, lftp AES-128-GCM alone, Python both.
"""
import os
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import time

import ftps_peers
from rig import run
from turns import GIB, MIB, Row, in_turns, rate, timed

ROWS = ("ftps-get", "ftps-put", "ftps-list", "ftps-small", "ftps-login", "ftps-resumed")


class Client:
    """A control connection under TLS, signed in."""

    def __init__(self, port, newest=ssl.TLSVersion.TLSv1_3):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.maximum_version = self.context.minimum_version = newest
        plain = socket.create_connection(("127.0.0.1", port), 60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self.left = plain, b""
        self.reply("2")
        self.ask("AUTH TLS", "2")
        self.socket = self.context.wrap_socket(plain)
        self.ask("USER bench", "3")
        self.ask("PASS bench", "2")

    def reply(self, wanted):
        """The last line of a reply, which must begin as told."""
        first = None
        while True:
            while b"\n" not in self.left:
                some = self.socket.recv(65536)
                if not some:
                    raise SystemExit(f"the server closed the control connection, {wanted} was expected")
                self.left += some
            line, self.left = self.left.split(b"\n", 1)
            line = line.decode(errors="replace").rstrip("\r")
            first = first or line[:3]
            if line.startswith(first + " "):
                if not line.startswith(wanted):
                    raise SystemExit(f"{wanted} expected, the server says: {line}")
                return line

    def ask(self, line, wanted):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply(wanted)

    def protect(self):
        self.ask("PBSZ 0", "2")
        self.ask("PROT P", "2")
        self.ask("TYPE I", "2")

    def data(self, line, session=None):
        """A passive data connection under TLS for one command; the caller reads it and then `ended`."""
        port = int(self.ask("EPSV", "229").rsplit("|", 2)[1])
        plain = socket.create_connection(("127.0.0.1", port), 60)
        self.ask(line, "1")
        return self.context.wrap_socket(plain, session=session)

    def ended(self, data):
        data.close()
        self.reply("2")

    def leave(self):
        self.ask("QUIT", "2")
        self.socket.close()


def patiently(server, work):
    """Work at a server; libunftp's again where it fails: one AUTH TLS in twenty it answers in clear text, since it takes
    the client's first TLS record for a command where that comes fast."""
    for _ in range(9 if server.name == "libunftp" else 0):
        try:
            return work()
        except (SystemExit, OSError):
            server.settle()
    return work()


def curl(server, *args):
    run(["curl", "-q", "-s", "-S", "-f", "-k", "--ssl-reqd", "--tlsv1.3", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384",
         "-u", "bench:bench", *map(str, args)])


def lftp(server, command):
    settings = ("set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set cmd:fail-exit yes; "
                "set net:max-retries 1; set net:timeout 20; set ssl:priority NORMAL:-CIPHER-ALL:+AES-128-GCM")
    run(["lftp", "--norc", "-c", f"{settings}; open -u bench,bench ftp://127.0.0.1:{server.ftps}; {command}"])


def listed(server, entries, verb):
    client = Client(server.ftps)
    client.protect()
    cpu, wall = server.cpu(), time.monotonic()
    data, lines = client.data(f"{verb} many"), 0
    while some := data.recv(1 << 18):
        lines += some.count(b"\n")
    client.ended(data)
    wall = time.monotonic() - wall
    cpu = server.cpu() - cpu
    client.leave()
    # MLSD tells the directory itself and its parent too.
    if not entries <= lines <= entries + 2:
        raise SystemExit(f"{server.name} lists {lines} of {entries}")
    return entries / wall, cpu / entries * 1e6


def hash_cost(rig, times):
    """CPU milliseconds of one argon2id by our own program: its user time alone, so that neither its start nor the first
    touch of its memory counts, which the running server does once."""
    def user(argument):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        for _ in range(times):
            subprocess.run([rig.binary, argument], input=b"bench", stdout=subprocess.DEVNULL, check=True)
        return (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before) / times * 1e3
    return user("hash-password") - user("--version")


def resumed(server, version):
    """How many of three data connections in a row resume their control connection's TLS session, and the cipher."""
    client = Client(server.ftps, version)
    client.protect()
    client.ask("NOOP", "2")
    count = 0
    for _ in range(3):
        data = client.data("NLST", client.socket.session)
        while data.recv(65536):
            pass
        count += data.session_reused
        client.ended(data)
    cipher = client.socket.cipher()[0]
    client.leave()
    return count, cipher


def rows(rig, options, wanted):
    quick, rounds = options.quick, options.rounds
    size = 32 * MIB if quick else GIB
    entries = 2_000 if quick else 100_000
    small = 100 if quick else 2_000
    big = f"{size // MIB} MiB" if quick else "1 GiB"
    ours = rig.ours
    peers = [peer for peer in (ftps_peers.pureftpd(rig), ftps_peers.proftpd(rig), ftps_peers.vsftpd(rig),
                               ftps_peers.libunftp(rig, not quick)) if peer]
    for name, why in rig.absent.items():
        print(f"| ftps against {name} | {why} | | | | | |", flush=True)

    def against(name, unit, once, gate=None, cpu=None, others=2, **more):
        """The row against every peer: the gate counts against Pure-FTPd, the others get fewer rounds, or none."""
        for peer in peers:
            anchor = peer.name == "pureftpd"
            if not anchor and others == 0:
                continue
            row = Row(name, unit, peer.name, gate=gate if anchor else None, cpu=cpu if anchor else None, **more)
            yield in_turns(row, [ours, peer], rounds if anchor else min(rounds, others), lambda s: patiently(s, lambda: once(s)))

    def url(server, name):
        return f"ftp://127.0.0.1:{server.ftps}/{name}"

    if wanted("ftps-resumed"):
        for version, name in ((ssl.TLSVersion.TLSv1_3, "TLS 1.3"), (ssl.TLSVersion.TLSv1_2, "TLS 1.2")):
            (mine, cipher), *theirs = [patiently(server, lambda: resumed(server, version)) for server in (ours, *peers)]
            shown = "; ".join(f"{peer.name} {count} ({cipher})" for peer, (count, cipher) in zip(peers, theirs))
            print(f"| ftps-resumed {name} | of 3 data connections | {mine} ({cipher}) | {shown} | | - | - |", flush=True)

    if wanted("ftps-get") or wanted("ftps-put"):
        source = rig.big_file(size)

    if wanted("ftps-get"):
        yield from against(f"ftps-get {big} aes256-gcm", "MiB/s",
                           lambda s: rate(s, lambda: curl(s, "-o", "/dev/null", url(s, "big")), size), gate=1.0, cpu=1.0)

    if wanted("ftps-put"):
        def put(server):
            result = rate(server, lambda: curl(server, "-T", source, url(server, "up")), size)
            arrived = (server.files / "up").stat().st_size
            if arrived != size:
                raise SystemExit(f"{server.name} has {arrived} of {size} bytes and said 226")
            (server.files / "up").unlink()
            return result
        yield from against(f"ftps-put {big} aes256-gcm", "MiB/s", put, gate=1.0, cpu=1.0)

    if wanted("ftps-list"):
        rig.many_files(entries)
        for peer in peers:
            anchor, verb = peer.name == "pureftpd", peer.lists
            row = Row(f"ftps-list {entries} entries by {verb}", "entries/s", peer.name, gate=1.2 if anchor else None,
                      cpu_unit="CPU us/entry")
            yield in_turns(row, [ours, peer], rounds if anchor else min(rounds, 2),
                           lambda s: patiently(s, lambda: listed(s, entries, verb)))

    if wanted("ftps-login"):
        times = 5 if quick else 60

        def login(server):
            def work():
                for _ in range(times):
                    patiently(server, lambda: Client(server.ftps)).leave()
            return timed(server, work)[1] / times * 1e3, None
        argon2 = [hash_cost(rig, 3 if quick else 40) for _ in range(3)]
        hashed = statistics.median(argon2)
        print(f"| ftps-login: one argon2id | CPU ms | {hashed:.3g} ({min(argon2):.3g}-{max(argon2):.3g}) | | | | |", flush=True)
        yield from against("ftps-login by password", "CPU ms", login, gate=hashed + 1.5, goal_low=True)

    if wanted("ftps-small"):
        tree = rig.dir / "small-ftps"
        tree.mkdir()
        for number in range(small):
            (tree / f"{number}").write_bytes(os.urandom(4096))
        for server in (ours, *peers):
            shutil.copytree(tree, server.files / "small-ftps")

        def small_get(server):
            back = rig.dir / "back"
            shutil.rmtree(back, ignore_errors=True)
            wall, cpu = timed(server, lambda: lftp(server, f"mirror --parallel=8 small-ftps {back}"))
            if len(os.listdir(back)) != small:
                raise SystemExit(f"{server.name} sent {len(os.listdir(back))} of {small} files")
            shutil.rmtree(back)
            return small / wall, cpu / small * 1e3

        def small_put(server):
            shutil.rmtree(server.files / "small-up", ignore_errors=True)
            wall, cpu = timed(server, lambda: lftp(server, f"mirror -R --no-perms --parallel=8 {tree} small-up"))
            arrived = len(os.listdir(server.files / "small-up"))
            if arrived != small:
                raise SystemExit(f"{server.name} has {arrived} of {small} files")
            shutil.rmtree(server.files / "small-up")
            return small / wall, cpu / small * 1e3
        # lftp needs 8 ms of its own for a file, so the bigger half of these rows' time is left to the anchor.
        # 0.8 ms: half of what Pure-FTPd took when the goal was set; on this kernel it takes less.
        unit = {"cpu": 0.8, "cpu_unit": "CPU ms/file", "cpu_absolute": True}
        yield from against(f"ftps-small-get {small} files", "files/s", small_get, others=int(quick), **unit)
        yield from against(f"ftps-small-put {small} files", "files/s", small_put, others=int(quick), **unit)
