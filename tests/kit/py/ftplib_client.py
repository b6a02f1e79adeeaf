"""ftplib against the FTPS door: argv = host port user password explicit|implicit any|1.2|1.3 [resuming] command…

put LOCAL REMOTE | append LOCAL REMOTE | get REMOTE LOCAL | resume LOCAL REMOTE (from what SIZE says, which is printed) |
mlsd DIR | nlst DIR (names, one a line, in Python's notation) | tree LOCALDIR REMOTEDIR (puts, lists, gets and compares) |
abort REMOTE (ABOR in mid-download, then the session goes on)
"""
import ftplib
import os
import socket
import ssl
import sys

host, port, user, password, mode, version, *rest = sys.argv[1:]
resuming = rest[0] == "resuming"
command, *rest = rest[1:] if resuming else rest


class Client(ftplib.FTP_TLS):
    """ftplib knows explicit TLS alone, and resumes nothing."""

    def connect_implicitly(self, host, port):
        self.host, self.port = host, port
        sock = socket.create_connection((host, port), 60)
        self.af = sock.family
        self.sock = self.context.wrap_socket(sock, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()

    def ntransfercmd(self, cmd, rest=None):
        if not resuming:
            return super().ntransfercmd(cmd, rest)
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = self.sock.session
        conn = self.context.wrap_socket(conn, server_hostname=self.host, session=session)
        if not conn.session_reused:
            raise SystemExit("the data connection did not resume the session")
        return conn, size


context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if version != "any":
    one = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.minimum_version = context.maximum_version = one
ftp = Client(context=context, timeout=60, encoding="utf-8")
if mode == "implicit":
    ftp.connect_implicitly(host, int(port))
else:
    ftp.connect(host, int(port))
    ftp.auth()
ftp.login(user, password, secure=False)
ftp.prot_p()


def put(local, remote, verb="STOR", at=None):
    with open(local, "rb") as source:
        source.seek(at or 0)
        ftp.storbinary(f"{verb} {remote}", source, blocksize=65536, rest=at)


def get(remote, local):
    with open(local, "wb") as target:
        ftp.retrbinary(f"RETR {remote}", target.write, blocksize=65536)


if command == "put":
    put(*rest)
elif command == "append":
    put(rest[0], rest[1], "APPE")
elif command == "get":
    get(*rest)
elif command == "resume":
    ftp.voidcmd("TYPE I")
    kept = ftp.size(rest[1])
    print(kept)
    put(rest[0], rest[1], "STOR", kept)
elif command == "mlsd":
    for name, facts in ftp.mlsd(rest[0]):
        if facts["type"] not in ("cdir", "pdir"):
            print(ascii(name), facts["type"], facts.get("size", "-"))
elif command == "nlst":
    for name in ftp.nlst(rest[0]):
        print(ascii(name))
elif command == "tree":
    local, remote = rest
    ftp.mkd(remote)
    ftp.cwd(remote)
    for name in os.listdir(local):
        put(os.path.join(local, name), name)
    listed = {name: int(facts["size"]) for name, facts in ftp.mlsd() if facts["type"] == "file"}
    sizes = {name: os.path.getsize(os.path.join(local, name)) for name in os.listdir(local)}
    if listed != sizes:
        raise SystemExit(f"listed {listed}, there are {sizes}")
    for name in sizes:
        content = bytearray()
        ftp.retrbinary(f"RETR {name}", content.extend)
        with open(os.path.join(local, name), "rb") as source:
            if source.read() != content:
                raise SystemExit(f"{name!r} is not what was sent")
elif command == "abort":
    ftp.voidcmd("TYPE I")
    conn = ftp.transfercmd(f"RETR {rest[0]}")
    conn.recv(1000)
    # ftplib's abort() sends urgent data, which TLS has not.
    ftp.putline("ABOR")
    conn.close()
    print(ftp.getmultiline()[:3], ftp.getmultiline()[:3])
    print(ftp.pwd())
else:
    raise SystemExit(f"no command {command}")
ftp.quit()
