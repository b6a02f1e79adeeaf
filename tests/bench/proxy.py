"""A relay that holds every byte for a fixed time in each direction, as a long line does; its bandwidth is not limited."""
import asyncio
import multiprocessing
import os
import signal

# Bytes under way in one direction before the sender has to wait: well above any window under test.
IN_FLIGHT = 64 << 20


async def relay(reader, writer, delay):
    queue, room, free = asyncio.Queue(), IN_FLIGHT, asyncio.Event()
    loop = asyncio.get_running_loop()

    async def send():
        nonlocal room
        while True:
            due, data = await queue.get()
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            if not data:
                break
            writer.write(data)
            await writer.drain()
            room += len(data)
            free.set()
        writer.close()

    sender = asyncio.create_task(send())
    try:
        while data := await reader.read(262144):
            queue.put_nowait((loop.time() + delay, data))
            room -= len(data)
            while room <= 0:
                free.clear()
                await free.wait()
    except OSError:
        pass
    queue.put_nowait((loop.time() + delay, b""))
    await asyncio.gather(sender, return_exceptions=True)


def serve(target, port, delay, ready):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    async def accept(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target, limit=1 << 20)
        except OSError:
            writer.close()
            return
        await asyncio.gather(relay(reader, far_writer, delay), relay(far_reader, writer, delay), return_exceptions=True)

    async def main():
        server = await asyncio.start_server(accept, "127.0.0.1", port, limit=1 << 20)
        ready.set()
        async with server:
            await server.serve_forever()

    asyncio.run(main())


class Relay:
    def __init__(self, target, port, delay):
        self.port, ready = port, multiprocessing.Event()
        self.process = multiprocessing.Process(target=serve, args=(target, port, delay, ready), daemon=True)
        self.process.start()
        ready.wait(20)

    def stop(self):
        self.process.terminate()
        self.process.join()


def start(target, port, delay):
    return Relay(target, port, delay)
