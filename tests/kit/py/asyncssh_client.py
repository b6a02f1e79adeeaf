"""asyncssh against the SFTP door: argv = port user key command…

put LOCAL REMOTE | get LOCAL REMOTE | too-large LOCAL REMOTE | idle COUNT (prints "ready", waits for the end of its input)
"""
import asyncio
import os
import sys

import asyncssh

port, user, key, command, *rest = sys.argv[1:]


def connect():
    return asyncssh.connect("127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=None, config=None)


async def main():
    if command == "idle":
        opened = []
        for _ in range(int(rest[0])):
            connection = await connect()
            opened.append((connection, await connection.start_sftp_client()))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        return
    async with connect() as connection, connection.start_sftp_client() as sftp:
        if command == "put":
            await sftp.put(rest[0], rest[1], block_size=131072, max_requests=1024)
        elif command == "too-large":
            # A write of 256 KiB and its header is more than a packet may be.
            asyncio.get_running_loop().call_later(30, os._exit, 3)
            await sftp.put(rest[0], rest[1], block_size=262144, max_requests=1024)
        elif command == "get":
            await sftp.get(rest[1], rest[0], block_size=131072, max_requests=1024)
        else:
            sys.exit(f"unknown command {command}")


asyncio.run(main())
