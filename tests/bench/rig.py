"""The servers of the bench, each as its administrators would run it, and the clients that are sent to them.

Files lie in memory or where --disk says; the state of each server (keys, logs, our database) lies on a disk.
"""
import contextlib
import getpass
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from turns import make_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
os.environ["PATH"] += ":/usr/sbin:/sbin"


def free_port(taken=set()):
    for port in range(20000 + os.getpid() % 5000, 32000):
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise SystemExit("no free port")


def tree(pid):
    """A process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                children.setdefault(int(stat[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def control_group(name):
    """A control group of its own for a server, or None where that cannot be: it counts the time of all its processes to
    the microsecond, those too whose end nobody waited for."""
    for root in (pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified")):
        group = root / f"portreeve-bench-{os.getpid()}-{name}"
        with contextlib.suppress(OSError):
            if (root / "cgroup.controllers").exists():
                group.mkdir()
                if (group / "cpu.stat").exists():
                    return group
                group.rmdir()
    return None


class Server:
    """A running server: where, who, and what it costs."""

    def __init__(self, name, command, ports, log, env=None):
        self.name, self.ports = name, ports
        self.log = open(log, "wb")
        self.group = control_group(name)
        enter = (lambda: (self.group / "cgroup.procs").write_text("0")) if self.group else None
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True, env=env,
                                        preexec_fn=enter)
        deadline = time.monotonic() + 60
        for port in ports:
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise SystemExit(f"{name} does not start:\n{pathlib.Path(log).read_text()[-3000:]}")
                time.sleep(0.02)
        time.sleep(0.3)
        self.rest = len(tree(self.process.pid))

    def settle(self):
        """Waits until the children of the last client are gone."""
        deadline = time.monotonic() + 5
        while len(tree(self.process.pid)) > self.rest and time.monotonic() < deadline:
            time.sleep(0.005)

    def cpu(self):
        """Seconds of all its processes so far."""
        if self.group:
            return int((self.group / "cpu.stat").read_text().split()[1]) / 1e6
        total = 0
        for pid in tree(self.process.pid):
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += sum(int(f) for f in fields[11:15])
        return total / TICK

    def pss(self):
        """KiB of the tree."""
        total = 0
        for pid in tree(self.process.pid):
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                break
        deadline = time.monotonic() + 5
        while self.group and self.group.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.group.rmdir()
            time.sleep(0.01)


def python_with_copyparty():
    for home in (os.environ.get("PORTREEVE_VENV"), ROOT / "target/venv", sys.prefix):
        python = pathlib.Path(home or "none", "bin/python3")
        if python.exists() and not subprocess.run([python, "-c", "import copyparty"], capture_output=True).returncode:
            return python
    return None


class Rig:
    """Directories, keys and the servers."""

    def __init__(self, options):
        base = pathlib.Path(options.disk or "/dev/shm").resolve()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="portreeve-bench-", dir=base))
        os.chmod(self.dir, 0o755)
        # The server's own state lies on a disk: it is fsynced there, as in earnest.
        (ROOT / "target").mkdir(exist_ok=True)
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="bench-state-", dir=ROOT / "target"))
        self.binary = os.environ.get("PORTREEVE_BIN") or str(ROOT / "target/release/portreeve")
        if not os.path.exists(self.binary):
            raise SystemExit(f"{self.binary} is missing: cargo build --release -p portreeve-server")
        for program in ("sshd", "sftp", "ssh", "nginx", "curl", "ssh-keygen"):
            if not shutil.which(program):
                raise SystemExit(f"{program} is not installed: openssh-server openssh-client nginx-light curl")
        self.key = self.state / "id"
        for path in (self.key, self.state / "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        self.servers, self.absent, self.disk = [], {}, options.disk
        try:
            self.ours = self.start_ours()
            self.openssh = self.start_openssh()
            self.nginx = self.start_nginx()
            self.copyparty = self.start_copyparty()
        except BaseException:
            self.close()
            raise

    def start_ours(self):
        sftp, https, ftps = free_port(), free_port(), free_port()
        (self.dir / "ours").mkdir()
        hashed = subprocess.run([self.binary, "hash-password"], input=b"bench", capture_output=True, check=True)
        (self.state / "accounts.toml").write_text(
            f"[accounts.bench]\npassword = {json.dumps(hashed.stdout.decode().strip())}\ngroups = [\"bench\"]\n"
            f"ssh_keys = [{json.dumps(self.key.with_suffix('.pub').read_text().strip())}]\n")
        (self.state / "portreeve.toml").write_text(f"""
[server]
data_dir = "data"
[limits]
connections_per_ip = 2000
sessions_per_user = 2000
[audit]
sinks = [{{ type = "file", path = "audit.jsonl" }}]
[[listener]]
name = "sftp"
protocol = "sftp"
address = "127.0.0.1:{sftp}"
[[listener]]
name = "https"
protocol = "https"
address = "127.0.0.1:{https}"
[[listener]]
name = "ftps"
protocol = "ftps"
address = "127.0.0.1:{ftps}"
tls = "explicit"
passive_ports = "8500-9999"
[[auth]]
type = "local-file"
path = "accounts.toml"
[groups.bench]
mounts = [{{ path = "/", storage = "files", verbs = "full" }}]
[storage.files]
type = "disk"
root = {json.dumps(str(self.dir / "ours"))}
""")
        command = [self.binary, "serve", "--config", str(self.state / "portreeve.toml")]
        (self.state / "data").mkdir()
        server = Server("ours", command, [sftp, https, ftps], self.state / "ours.log")
        server.ftps, server.lists = ftps, "MLSD"
        server.user, server.root, server.files = "bench", "", self.dir / "ours"
        server.url, server.curl = lambda version="": f"https://127.0.0.1:{https}", ["-u", "bench:bench"]
        server.path = lambda name: f"/api/v1/files/content?path=/{name}"
        server.listing = lambda name: f"/api/v1/files?path=/{name}&limit=100000"
        server.entries = lambda found: len(found["entries"])
        self.servers.append(server)
        return server

    def start_openssh(self):
        port = free_port()
        files = self.dir / "openssh"
        files.mkdir()
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        shutil.copy(self.key.with_suffix(".pub"), self.state / "authorized")
        (self.state / "sshd_config").write_text(f"""
ListenAddress 127.0.0.1:{port}
HostKey {self.state / 'host'}
PidFile none
AuthorizedKeysFile {self.state / 'authorized'}
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 1000
MaxSessions 1000
Subsystem sftp internal-sftp
""")
        command = [shutil.which("sshd"), "-D", "-e", "-f", str(self.state / "sshd_config")]
        server = Server("openssh", command, [port], self.state / "sshd.log")
        server.user, server.root, server.files = getpass.getuser(), str(files) + "/", files
        self.servers.append(server)
        return server

    def start_nginx(self):
        port, second = free_port(), free_port()
        files, state = self.dir / "nginx", self.state / "nginx"
        for path in (files, state, state / "tmp"):
            path.mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
             "/CN=127.0.0.1", "-keyout", state / "key.pem", "-out", state / "cert.pem"], check=True, capture_output=True)
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        # Uploads are written beside their place, so that a PUT is a rename and not a copy.
        (state / "nginx.conf").write_text(f"""
daemon off;
{user}
worker_processes 2;
error_log stderr;
pid {state}/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on; tcp_nopush on;
  client_max_body_size 0;
  client_body_buffer_size 256k;
  client_body_temp_path {self.dir}/nginx-tmp;
  proxy_temp_path {state}/tmp/a; fastcgi_temp_path {state}/tmp/b; uwsgi_temp_path {state}/tmp/c; scgi_temp_path {state}/tmp/d;
  server {{
    listen 127.0.0.1:{port} ssl;
    listen 127.0.0.1:{second} ssl http2;
    ssl_certificate {state}/cert.pem; ssl_certificate_key {state}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_buffer_size 16k;
    root {files};
    location / {{ dav_methods PUT DELETE; autoindex on; autoindex_format json; }}
  }}
}}
""")
        command = [shutil.which("nginx"), "-p", str(state), "-e", "stderr", "-c", str(state / "nginx.conf")]
        server = Server("nginx", command, [port, second], self.state / "nginx.log")
        server.files, server.curl = files, []
        server.url = lambda version="": f"https://127.0.0.1:{second if version else port}"
        server.path = lambda name: f"/{name}"
        server.listing = lambda name: f"/{name}/"
        server.entries = len
        self.servers.append(server)
        return server

    def start_copyparty(self):
        """None where it is not installed. Without its index, thumbnails and log: the files are what counts."""
        python = python_with_copyparty()
        if not python:
            return None
        port, files = free_port(), self.dir / "copyparty"
        files.mkdir()
        certificate = self.state / "copyparty.pem"
        certificate.write_bytes(b"".join((self.state / "nginx" / part).read_bytes() for part in ("key.pem", "cert.pem")))
        command = [str(python), "-m", "copyparty", "-i", "127.0.0.1", "-p", str(port), "--https-only", "--no-crt",
                   "--cert", str(certificate), "-q", "--no-thumb", "-v", f"{files}::r"]
        server = Server("copyparty", command, [port], self.state / "copyparty.log")
        server.files, server.curl = files, []
        server.url = lambda version="": f"https://127.0.0.1:{port}"
        server.listing = lambda name: f"/{name}/?ls"
        server.entries = lambda found: len(found["files"])
        self.servers.append(server)
        return server

    def close(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)

    # --- files ----------------------------------------------------------------------------------------------

    def big_file(self, size):
        """`source` here and the same as `big` at every server that runs; one file where links can be."""
        source = self.dir / "source"
        if not source.exists():
            make_file(source, size)
        for server in self.servers:
            if not (server.files / "big").exists():
                (shutil.copy if self.disk else os.link)(source, server.files / "big")
        return source

    def many_files(self, entries):
        """A directory `many` at every server that runs."""
        for server in self.servers:
            many = server.files / "many"
            if not many.exists():
                many.mkdir()
                for number in range(entries):
                    os.close(os.open(many / f"file-{number:06}", os.O_CREAT | os.O_WRONLY, 0o644))

    # --- clients --------------------------------------------------------------------------------------------

    def ssh_options(self, server, port=None):
        return ["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes",
                "-o", "IdentityAgent=none", "-o", "PreferredAuthentications=publickey",
                "-o", "Ciphers=aes128-gcm@openssh.com", "-o", "KexAlgorithms=curve25519-sha256",
                "-i", str(self.key), "-o", f"Port={port or server.ports[0]}", "-o", f"User={server.user}"]

    def sftp(self, server, batch, port=None):
        run(["sftp", *self.ssh_options(server, port), "-b", "-", "127.0.0.1"], batch)

    def ssh(self, server):
        return subprocess.Popen(["ssh", *self.ssh_options(server), "-s", "127.0.0.1", "sftp"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def curl(self, server, *args):
        run(["curl", "-q", "-s", "-S", "-f", "-k", *server.curl, *map(str, args)])


def run(command, text=""):
    done = subprocess.run(command, input=text.encode(), capture_output=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
