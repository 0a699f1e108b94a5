"""What somebody does who has nothing but the description: lists the nodes and follows the stream,
with the client that was generated from it.

  follow.py ADMIN_URL CLIENT_PORT

The client is on the path as `walrus_client`. Prints what it did; ends with 1 when something is not
as the description says.
"""

import json
import socket
import struct
import sys

from walrus_client import Client
from walrus_client.api.default import get_events, get_nodes, get_snapshot, get_stream
from walrus_client.models import (
    ErrorDocument, EventListDocument, NodeListDocument, NodeState, SnapshotDocument,
    VitalsListDocument,
)

#: The documents of the stream, by the names of its messages.
MESSAGES = {"snapshot": SnapshotDocument, "events": EventListDocument, "vitals": VitalsListDocument}


def expect(holds, what):
    if not holds:
        raise SystemExit(f"not so: {what}")


def register(port, topic):
    """Makes a topic by the text protocol, which takes no library."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        command = f"REGISTER {topic}".encode()
        sock.sendall(struct.pack("<I", len(command)) + command)
        length, = struct.unpack("<I", sock.recv(4, socket.MSG_WAITALL))
        answer = sock.recv(length, socket.MSG_WAITALL)
        expect(answer == b"OK", f"{topic} was made: {answer!r}")


def messages(lines):
    """Id, name and document of each message."""
    ident, name, data = None, "", None
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            ident = int(value)
        elif field == "event":
            name = value
        elif field == "data":
            data = value
        elif line == "" and data is not None:
            yield ident, name, MESSAGES[name].from_dict(json.loads(data))
            ident, name, data = None, "", None


def follow(client, port):
    """A topic that is made is told of, as an event and in a delta that goes with what is known."""
    asked = get_stream._get_kwargs(kinds="snapshot,event,vitals", every_ms=250)
    known, told, vitals = None, False, 0
    with client.get_httpx_client().stream(**asked, timeout=30) as answer:
        expect(answer.status_code == 200, f"the stream begins: {answer.status_code}")
        for ident, name, document in messages(answer.iter_lines()):
            if name == "vitals":
                vitals += 1
            elif name == "events":
                told = told or any(one.subject == "followed" for one in document.items)
            elif known is None:
                expect(not document.since, "the first is whole")
                expect(ident == document.metadata_version, "its id is its version")
                known = ident
                register(port, "followed")
            else:
                expect(document.since in (known, None) or not document.since, "deltas are in order")
                known = ident
                if told and vitals and any(one.topic == "followed" for one in document.topics):
                    return vitals
            if told and vitals and known and name != "snapshot":
                whole = get_snapshot.sync(client=client)
                if whole.metadata_version == known:
                    expect(any(one.topic == "followed" for one in whole.topics), "it is there")
                    return vitals
    raise SystemExit("the stream ended")


def main():
    url, port = sys.argv[1], int(sys.argv[2])
    client = Client(base_url=url, raise_on_unexpected_status=True)
    nodes = get_nodes.sync(client=client)
    expect(isinstance(nodes, NodeListDocument), f"nodes are told: {nodes}")
    expect([one.state for one in nodes.items] == [NodeState.ACTIVE], f"one is active: {nodes}")
    print(f"nodes: {[one.node for one in nodes.items]} at version {nodes.metadata_version}")
    print(f"stream: followed over {follow(client, port)} vitals")
    events = get_events.sync(client=client, limit=10)
    expect(any(one.subject == "followed" for one in events.items), f"it is listed: {events}")
    refused = get_stream.sync(client=client, kinds="nonsense")
    expect(isinstance(refused, ErrorDocument), f"nonsense is refused: {refused}")
    expect("kinds" in refused.error.message, f"by its name: {refused.error.message}")
    print(f"refused: {refused.error.message}")


main()
