"""The FTPS peers, each as its administrators would run it: explicit TLS demanded on control and data connections, one
virtual user with a SHA-512 crypt hash who owns and cannot leave his directory, a passive range, no look-up of names.

The programs are Debian's, unpacked by tests/bench/peers; libunftp is the program in tests/bench/libunftp. The three
daemons change to another user and want root for it. What cannot run here is None, with the reason in `rig.absent`.
"""
import os
import pathlib
import pwd
import shutil
import subprocess
import sys

from rig import ROOT, Server, free_port

PEERS = ROOT / "target/peers"
OWNER = pwd.getpwnam("nobody")
PASSWORD = "bench"
# Below the ports that the kernel gives to clients, and not those of the servers.
RANGES = iter(range(10_000, 20_000, 1_500))


def passive_range():
    first = next(RANGES)
    return first, first + 1_499


def libraries():
    found = {str(path.parent) for path in PEERS.glob("**/*.so.*")}
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(found))}


def available(rig, name, program):
    if os.geteuid() != 0:
        rig.absent[name] = "wants root"
    elif not (PEERS / "usr/sbin" / program).exists():
        rig.absent[name] = "not installed (tests/bench/peers)"
    return name not in rig.absent


def sha512_crypt():
    made = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD.encode(), capture_output=True, check=True)
    return made.stdout.decode().strip()


def pair(rig):
    """An ECDSA P-256 certificate and its key, as our server makes them."""
    certificate, key = rig.state / "ftps-cert.pem", rig.state / "ftps-key.pem"
    if not key.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
             "/CN=127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        key.chmod(0o600)
    return certificate, key


def directory(rig, name):
    files = rig.dir / name
    files.mkdir()
    os.chown(files, OWNER.pw_uid, OWNER.pw_gid)
    state = rig.state / name
    state.mkdir()
    return files, state


def started(rig, name, command, port, files, lists="MLSD"):
    server = Server(name, [str(part) for part in command], [port], rig.state / f"{name}.log", env=libraries())
    server.files, server.ftps, server.lists = files, port, lists
    rig.servers.append(server)
    return server


def pureftpd(rig):
    if not available(rig, "pureftpd", "pure-ftpd"):
        return None
    files, state = directory(rig, "pureftpd")
    port, (first, last) = free_port(), passive_range()
    certificate, key = pair(rig)
    both = state / "pair.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    both.chmod(0o600)
    (state / "users").write_text(f"bench:{sha512_crypt()}:{OWNER.pw_uid}:{OWNER.pw_gid}::{files}/./::::::::::::\n")
    subprocess.run([PEERS / "usr/bin/pure-pw", "mkdb", state / "users.pdb", "-f", state / "users"], env=libraries(), check=True,
                   capture_output=True)
    command = [
        PEERS / "usr/sbin/pure-ftpd", "--bind", f"127.0.0.1,{port}", "--ipv4only", "--login", f"puredb:{state}/users.pdb",
        "--noanonymous", "--chrooteveryone", "--dontresolve", "--tls", "3", "--tlsciphersuite", "HIGH", "--certfile", both,
        "--passiveportrange", f"{first}:{last}", "--maxclientsnumber", "2000", "--maxclientsperip", "2000",
        "--limitrecursion", "1000000:20", "--umask", "133:022", "--minuid", "100", "--customerproof",
        "--pidfile", state / "pid", "--syslogfacility", "none"]
    return started(rig, "pureftpd", command, port, files)


def proftpd(rig):
    if not available(rig, "proftpd", "proftpd"):
        return None
    files, state = directory(rig, "proftpd")
    port, (first, last) = free_port(), passive_range()
    certificate, key = pair(rig)
    (state / "users").write_text(f"bench:{sha512_crypt()}:{OWNER.pw_uid}:{OWNER.pw_gid}::{files}:/bin/false\n")
    (state / "users").chmod(0o600)
    group = subprocess.run(["id", "-gn", "nobody"], capture_output=True, check=True).stdout.decode().strip()
    (state / "conf").write_text(f"""
ModulePath {PEERS}/usr/lib/proftpd
LoadModule mod_tls.c
ServerName bench
ServerType standalone
Port {port}
DefaultAddress 127.0.0.1
SocketBindTight on
UseIPv6 off
UseReverseDNS off
User nobody
Group {group}
Umask 022 022
PidFile {state}/pid
ScoreboardFile {state}/scoreboard
DelayTable {state}/delay
SystemLog {state}/log
WtmpLog off
TransferLog {state}/xferlog
MaxInstances 2000
AuthOrder mod_auth_file.c
AuthUserFile {state}/users
RequireValidShell off
DefaultRoot ~
AllowOverwrite on
AllowStoreRestart on
PassivePorts {first} {last}
TLSEngine on
TLSLog {state}/tls.log
TLSProtocol TLSv1.2 TLSv1.3
TLSECCertificateFile {certificate}
TLSECCertificateKeyFile {key}
TLSRequired on
TLSVerifyClient off
TLSOptions NoSessionReuseRequired
<Directory />
  AllowOverwrite on
</Directory>
""")
    return started(rig, "proftpd", [PEERS / "usr/sbin/proftpd", "--nodaemon", "--config", state / "conf"], port, files)


def vsftpd(rig):
    if not available(rig, "vsftpd", "vsftpd"):
        return None
    files, state = directory(rig, "vsftpd")
    port, (first, last) = free_port(), passive_range()
    certificate, key = pair(rig)
    # Its virtual users come from PAM, whose services are files in /etc/pam.d, and act as a system user who must have a
    # home: the daemon finds both in a mount namespace of its own, so that the machine's files stay as they are.
    (state / "users").write_text(f"bench:{sha512_crypt()}\n")
    (state / "users").chmod(0o600)
    module = next(PEERS.glob("**/pam_pwdfile.so"))
    services = state / "pam.d"
    services.mkdir()
    (services / "bench").write_text(f"auth required {module} pwdfile={state}/users\naccount required pam_permit.so\n"
                                    "session required pam_permit.so\n")
    (state / "passwd").write_text(pathlib.Path("/etc/passwd").read_text()
                                  + f"ftpbench:x:{OWNER.pw_uid}:{OWNER.pw_gid}::{files}:/bin/false\n")
    (state / "empty").mkdir(0o555)
    (state / "conf").write_text(f"""
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=NO
local_enable=YES
guest_enable=YES
guest_username=ftpbench
virtual_use_local_privs=YES
local_root={files}
chroot_local_user=YES
allow_writeable_chroot=YES
write_enable=YES
local_umask=022
pam_service_name=bench
secure_chroot_dir={state}/empty
xferlog_enable=YES
xferlog_file={state}/xferlog
pasv_min_port={first}
pasv_max_port={last}
max_clients=0
max_per_ip=0
ssl_enable=YES
force_local_logins_ssl=YES
force_local_data_ssl=YES
ssl_tlsv1=YES
ssl_sslv2=NO
ssl_sslv3=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file={certificate}
rsa_private_key_file={key}
""")
    inside = 'mount --bind "$1/pam.d" /etc/pam.d && mount --bind "$1/passwd" /etc/passwd && exec "$2" "$1/conf"'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", inside, "sh", state, PEERS / "usr/sbin/vsftpd"]
    try:
        return started(rig, "vsftpd", command, port, files, lists="LIST")
    except SystemExit as why:
        rig.absent["vsftpd"] = "does not start here"
        print(f"vsftpd: {why}", flush=True)
        return None


def libunftp(rig, build):
    target = ROOT / "target/bench-libunftp"
    program = target / "release/portreeve-bench-libunftp"
    if build and shutil.which("cargo"):
        print("building libunftp, once", file=sys.stderr, flush=True)
        manifest = ROOT / "tests/bench/libunftp/Cargo.toml"
        subprocess.run(["cargo", "build", "-q", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target],
                       capture_output=True)
    if not program.exists():
        rig.absent["libunftp"] = "not built (a run without --quick does, with cargo)"
        return None
    files = rig.dir / "libunftp"
    files.mkdir()
    port, (first, last) = free_port(), passive_range()
    command = [program, f"127.0.0.1:{port}", f"{first}-{last}", files, *pair(rig), "bench", sha512_crypt()]
    return started(rig, "libunftp", command, port, files)
