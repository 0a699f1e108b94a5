#!/usr/bin/env python3
"""Bytes that no client sends, and then: is the broker still there for those who behave?

  tests/clients/hostile.py --bootstrap 127.0.0.1:9091 --pid 4711

Each attack opens connections of its own; after each a well-behaved client asks for metadata and
must be answered within two seconds. With --pid the broker's memory is watched: what the attacks
send is a few hundred KiB, so it may not grow by more than --growth-mib. Standard library only.
"""

import argparse
import pathlib
import socket
import struct
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "compare"))
sys.dont_write_bytecode = True

import probe  # noqa: E402

ANSWER_S = 2.0
SLOW_CLIENTS = 300
SLOW_S = 6.0

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + bytes(160)
API_VERSIONS, METADATA, PRODUCE, FETCH, CREATE_TOPICS = 18, 3, 0, 1, 19


def frame(body):
    return struct.pack(">i", len(body)) + body


def head(key, version):
    return struct.pack(">hhi", key, version, 1) + probe.string("hostile")


def flexible_head(key, version):
    return head(key, version) + b"\0"


def huge_varint():
    return b"\xff\xff\xff\xff\x0f"


#: name: bytes sent on a connection of their own. What the broker answers is its own affair, but it
#: must go on. Several declare far more than they carry; most then wait for an answer.
PAYLOADS = {
    "tls-hello": TLS_HELLO,
    "http-get": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "http-post": b"POST /topics HTTP/1.1\r\nContent-Length: 2000000000\r\n\r\n{}",
    "ssh-banner": b"SSH-2.0-OpenSSH_9.2\r\n",
    "all-zeroes": bytes(65536),
    "all-ones": b"\xff" * 65536,
    "length-max": struct.pack(">i", 2**31 - 1) + b"\0\x12\0\0",
    "length-1-gib": struct.pack(">i", 2**30) + head(API_VERSIONS, 0),
    "length-100-mib": struct.pack(">i", 100 << 20) + head(PRODUCE, 9),
    "length-negative": struct.pack(">i", -1) + head(API_VERSIONS, 0),
    "length-minimum": struct.pack(">i", -(2**31)),
    "length-zero": struct.pack(">i", 0) * 100,
    "length-one": frame(b"\0") * 10,
    "header-cut": frame(b"\0\x12\0"),
    "client-id-too-long": frame(struct.pack(">hhih", METADATA, 4, 1, 32767)),
    "client-id-negative": frame(struct.pack(">hhih", METADATA, 4, 1, -2)),
    "unknown-key": frame(head(999, 0)),
    "negative-key": frame(head(-1, -1)),
    "version-too-high": frame(head(METADATA, 999)),
    "version-negative": frame(head(API_VERSIONS, -5)),
    "metadata-2-billion-topics": frame(head(METADATA, 4) + struct.pack(">i", 2**31 - 1)),
    "metadata-flexible-4-billion-topics": frame(flexible_head(METADATA, 12) + huge_varint()),
    "metadata-negative-array": frame(head(METADATA, 4) + struct.pack(">i", -2) + b"\0"),
    "metadata-endless-varint": frame(flexible_head(METADATA, 12) + b"\xff" * 30),
    "metadata-name-too-long": frame(
        head(METADATA, 4) + struct.pack(">ih", 1, 32767) + b"x" * 10 + b"\0"),
    "tagged-fields-4-billion": frame(head(METADATA, 12) + huge_varint()),
    "fetch-2-billion-topics": frame(
        head(FETCH, 4) + struct.pack(">iiiib", -1, 100, 1, 2**31 - 1, 0)
        + struct.pack(">i", 2**31 - 1)),
    "create-2-billion-topics": frame(head(CREATE_TOPICS, 2) + struct.pack(">i", 2**31 - 1)),
    "create-2-billion-partitions": frame(
        head(CREATE_TOPICS, 2) + struct.pack(">i", 1) + probe.string("hostile")
        + struct.pack(">ihiiib", 2**31 - 1, 1, 0, 0, 5000, 0)),
    "produce-2-billion-partitions": frame(
        head(PRODUCE, 3) + struct.pack(">hhi", -1, 1, 1000) + struct.pack(">i", 1)
        + probe.string("hostile") + struct.pack(">i", 2**31 - 1)),
    "produce-records-2-gib": frame(
        head(PRODUCE, 3) + struct.pack(">hhii", -1, 1, 1000, 1) + probe.string("hostile")
        + struct.pack(">iii", 1, 0, 2**31 - 1) + bytes(100)),
    "produce-records-negative": frame(
        head(PRODUCE, 3) + struct.pack(">hhii", -1, 1, 1000, 1) + probe.string("hostile")
        + struct.pack(">iii", 1, 0, -7)),
    "text-length-4-gib": struct.pack("<I", 0xFFFFFFFF) + b"PUT topic x",
    "text-length-1-gib": struct.pack("<I", 1 << 30) + b"PUT topic x",
    "text-no-command": struct.pack("<I", 6) + b"NOSUCH",
    "text-not-utf8": struct.pack("<I", 8) + b"PUT \xff\xfe\xfd\xfc",
}


class Hostile:
    def __init__(self, args):
        host, port = args.bootstrap.rsplit(":", 1)
        self.address = (host, int(port))
        self.args = args
        self.failed = 0
        forget_peak(args.pid)
        self.start_rss_kib = status_kib(args.pid, "VmRSS:")

    def connect(self):
        return socket.create_connection(self.address, timeout=5)

    def say(self, name, failure=None, why=""):
        self.failed += failure is not None
        print(f"{name}\t{'ok' if failure is None else 'fail'}\t{failure or why}", flush=True)

    def well_behaved(self):
        """None, or what is wrong with how an honest client is served."""
        began = time.monotonic()
        try:
            with probe.Connection(self.args.bootstrap, timeout_s=ANSWER_S) as connection:
                brokers, _ = connection.metadata([])
        except (OSError, struct.error) as error:
            return f"a well-behaved client got {type(error).__name__}: {error}"
        if not brokers:
            return "a well-behaved client was told of no broker"
        took = time.monotonic() - began
        return None if took < ANSWER_S else f"a well-behaved client waited {took:.1f} s"

    def attack(self, name, payload):
        """Sends, reads a while, and leaves without a goodbye; then the honest client asks."""
        answer = b""
        try:
            with self.connect() as connection:
                connection.settimeout(0.3)
                try:
                    connection.sendall(payload)
                    answer = connection.recv(65536)
                    ended = f"answered with {len(answer)} bytes" if answer else "closed"
                except socket.timeout:
                    ended = "waited for the rest"
                except OSError as error:
                    ended = f"closed ({type(error).__name__})"
        except OSError as error:
            self.say(name, f"no connection: {error}")
            return
        self.say(name, self.well_behaved(), ended)

    def truncated(self):
        """A good request cut at every byte, each followed by a hang-up."""
        good = frame(head(METADATA, 4) + struct.pack(">i", 1) + probe.string("hostile") + b"\0")
        for cut in range(len(good)):
            with self.connect() as connection:
                connection.sendall(good[:cut])
        self.say("truncated-at-every-byte", self.well_behaved(), f"{len(good)} cuts")

    def unread_answers(self):
        """A client that asks and asks and never reads: its answers must not pile up."""
        request = frame(head(API_VERSIONS, 0))
        sent = 0
        with self.connect() as connection:
            connection.settimeout(1.0)
            try:
                while sent < 200_000:
                    connection.sendall(request * 100)
                    sent += 100
                why = f"all {sent} requests taken"
            except OSError:
                why = f"no more taken after {sent} requests"
            failure = self.well_behaved()
        self.say("answers-never-read", failure, why)

    def slow_loris(self):
        """Many clients that send a byte a second, while an honest one goes on asking."""
        good = frame(head(METADATA, 4) + struct.pack(">i", -1) + b"\0")
        slow, failures, asked = [], [], 0
        try:
            for _ in range(SLOW_CLIENTS):
                slow.append(self.connect())
            end = time.monotonic() + SLOW_S
            at = 0
            while time.monotonic() < end:
                for connection in slow:
                    try:
                        connection.sendall(good[at : at + 1])
                    except OSError:
                        pass  # Closing a slow connection is one of the right answers.
                at = min(at + 1, len(good) - 2)
                pause = time.monotonic() + 1
                while time.monotonic() < pause:
                    if failure := self.well_behaved():
                        failures.append(failure)
                    asked += 1
                    time.sleep(0.1)
        except OSError as error:
            failures.append(f"after {len(slow)} connections: {error}")
        finally:
            for connection in slow:
                connection.close()
        self.say(f"{SLOW_CLIENTS}-slow-clients", failures[0] if failures else None,
                 f"{asked} honest requests answered meanwhile")

    def memory(self):
        if self.start_rss_kib is None:
            print("memory\tskip\tno --pid", flush=True)
            return
        end = status_kib(self.args.pid, "VmHWM:")
        if end is None:
            self.say("memory", "the broker is gone")
            return
        grown = (end - self.start_rss_kib) / 1024
        bound = self.args.growth_mib
        why = f"{self.start_rss_kib // 1024} MiB before, {end // 1024} MiB at most"
        self.say("memory", None if grown <= bound else f"{why}: more than {bound} MiB", why)


def forget_peak(pid):
    """Lets the kernel's high-water mark of a process's memory begin anew, where it may."""
    try:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        pass


def status_kib(pid, key):
    if pid is None:
        return None
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith(key):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="127.0.0.1:9091", metavar="HOST:PORT")
    parser.add_argument("--pid", type=int, help="the broker's process id, to watch its memory")
    parser.add_argument("--growth-mib", type=int, default=64, help="how much it may grow")
    hostile = Hostile(parser.parse_args())
    if failure := hostile.well_behaved():
        hostile.say("before", failure)
        return 1
    for name, payload in PAYLOADS.items():
        hostile.attack(name, payload)
    hostile.truncated()
    hostile.unread_answers()
    hostile.slow_loris()
    hostile.memory()
    return 1 if hostile.failed else 0


if __name__ == "__main__":
    sys.exit(main())
