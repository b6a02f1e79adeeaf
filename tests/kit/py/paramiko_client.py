"""paramiko against the SFTP door: argv = port user key command…

put LOCAL REMOTE | write LOCAL REMOTE (every answer is waited for) | get LOCAL REMOTE (unlimited prefetch; exit status 9 after a minute without an end) | get-plain LOCAL REMOTE (one request at a time) |
put-text TEXT REMOTE | cut LOCAL REMOTE BYTES (ends without CLOSE) | resume LOCAL REMOTE |
resume-at LOCAL REMOTE OFFSET (fails where the server does not let it) | sparse REMOTE OFFSET (three bytes behind a hole)
"""
import os
import sys
import threading

import paramiko

port, user, key, command, *rest = sys.argv[1:]
transport = paramiko.Transport(("127.0.0.1", int(port)))
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
sftp = paramiko.SFTPClient.from_transport(transport)
if command == "put":
    sftp.put(rest[0], rest[1])
elif command == "write":
    # put() sends without waiting and keeps the answers to itself.
    with open(rest[0], "rb") as source, sftp.open(rest[1], "wb") as target:
        while piece := source.read(32768):
            target.write(piece)
elif command == "get":
    limit = threading.Timer(60, os._exit, [9])
    limit.daemon = True
    limit.start()
    # max_concurrent_prefetch_requests=None: every request of the file is sent before an answer is read.
    sftp.get(rest[1], rest[0], max_concurrent_prefetch_requests=None)
elif command == "get-plain":
    sftp.get(rest[1], rest[0], prefetch=False)
elif command == "put-text":
    with sftp.open(rest[1], "wb") as target:
        target.write(rest[0].encode())
elif command == "cut":
    size = int(rest[2])
    with open(rest[0], "rb") as source:
        data = source.read(size)
    handle = sftp.open(rest[1], "wb")
    handle.write(data)
    print("written", flush=True)
    os._exit(7)
elif command == "sparse":
    with sftp.open(rest[0], "wb") as handle:
        handle.seek(int(rest[1]))
        handle.write(b"end")
    with sftp.open(rest[0], "rb") as handle:
        handle.seek(int(rest[1]) - 2)
        assert handle.read(100) == b"\0\0end"
elif command == "resume":
    kept = sftp.stat(rest[1]).st_size
    print(kept)
    with open(rest[0], "rb") as source, sftp.open(rest[1], "r+b") as target:
        source.seek(kept)
        target.seek(kept)
        target.set_pipelined(True)
        while piece := source.read(32768):
            target.write(piece)
elif command == "resume-at":
    with open(rest[0], "rb") as source, sftp.open(rest[1], "r+b") as target:
        source.seek(int(rest[2]))
        target.seek(int(rest[2]))
        target.write(source.read(100_000))
else:
    sys.exit(f"unknown command {command}")
sftp.close()
transport.close()
