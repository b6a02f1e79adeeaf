"""How a row is measured, ours and a peer in turns, and how it is shown."""
import statistics
import time

MIB, GIB = 1 << 20, 1 << 30


class Row:
    """One line of the table: what is done at either server, and what must come out."""

    def __init__(self, name, unit, peer, gate=None, cpu=None, goal_low=False, cpu_unit="CPU s/GiB", cpu_absolute=False, relative=False):
        self.name, self.unit, self.peer, self.gate, self.cpu_gate = name, unit, peer, gate, cpu
        self.goal_low, self.cpu_unit, self.cpu_absolute = goal_low, cpu_unit, cpu_absolute
        # A low goal is absolute, unless it is a multiple of the peer's.
        self.relative = relative
        self.samples = {}

    def add(self, server, value, cpu=None):
        values = self.samples.setdefault(server.name, ([], []))
        values[0].append(value)
        if cpu is not None:
            values[1].append(cpu)


def timed(server, work):
    server.settle()
    cpu, wall = server.cpu(), time.monotonic()
    work()
    wall = time.monotonic() - wall
    server.settle()
    return wall, server.cpu() - cpu


def rate(server, work, amount):
    """MiB/s and CPU s/GiB."""
    wall, cpu = timed(server, work)
    return amount / wall / MIB, cpu / (amount / GIB)


def in_turns(row, pair, rounds, once):
    """`once(server)` gives a value and a CPU figure; the first time is not counted."""
    for server in pair:
        once(server)
    for number in range(rounds):
        for server in pair if number % 2 == 0 else reversed(pair):
            value, cpu = once(server)
            row.add(server, value, cpu)
    return row


def make_file(path, size):
    with open("/dev/urandom", "rb") as source, open(path, "wb") as target:
        block = source.read(16 * MIB)
        left = size
        while left > 0:
            target.write(block[:left])
            left -= len(block)


def report(row, quick):
    """The lines of the table, and the same as data."""
    (ours, our_cpu), (peer, peer_cpu) = row.samples["ours"], row.samples[row.peer]
    lines, data = [], []

    def line(what, unit, a, b, gate, low, absolute):
        x, y = statistics.median(a), statistics.median(b)
        # Neighbours in time are compared: the machine's mood is the same for both.
        ratio = statistics.median(p / q if q else float("nan") for p, q in zip(a, b))
        if gate is None or quick:
            verdict, shown = "-", "-"
        elif absolute:
            verdict, shown = ("pass" if x <= gate else "FAIL"), f"<= {gate:.3g} {unit}"
        else:
            good = ratio <= gate if low else ratio >= gate
            verdict, shown = ("pass" if good else "FAIL"), f"{'<=' if low else '>='} {gate:g}x"
        spread = f"{x:,.3g} ({min(a):,.3g}-{max(a):,.3g})"
        lines.append(f"| {what} | {unit} | {spread} | {row.peer} {y:,.3g} ({min(b):,.3g}-{max(b):,.3g}) | {ratio:.2f} | {shown} | {verdict} |")
        data.append({"row": what, "unit": unit, "ours": a, "peer": row.peer, "theirs": b, "ratio": ratio, "gate": gate, "verdict": verdict})

    line(row.name, row.unit, ours, peer, row.gate, row.goal_low, row.goal_low and not row.relative)
    if our_cpu and peer_cpu and (sum(peer_cpu) > 0):
        line(row.name, row.cpu_unit, our_cpu, peer_cpu, row.cpu_gate, True, row.cpu_absolute)
    return lines, data
