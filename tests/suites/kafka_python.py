"""kafka-python's own integration tests against a broker that runs, and the list of those that do
not pass here, each with the reason.

What fails must be in the list, with the words of its failure, and what is in the list must fail:
a test that is not listed and fails is ours to mend, one that is listed and passes is taken from
the list. The number of tests is known, so that none can go missing.
"""

import collections
import json
import os
import re
import subprocess

#: All of `test/integration` in the release that sources.txt names.
TESTS = 67
#: One test that hangs is ended, and then all of them.
TEST_TIMEOUT_S, SUITE_TIMEOUT_S = 60, 170

#: How a test ends that does not pass (both ways, where that is a matter of luck), words that its
#: report has, and why.
Known = collections.namedtuple("Known", "outcome words reason")

NO_TRANSACTIONS = Known("failed", "coordinator with type 1", "there are no transactions")
OWN_KAFKA = Known("skipped", "Testing on external Kafka Broker",
                  "starts a Kafka of its own with SASL, which Walrus does not have")
OWN_TLS = Known("failed", "FileNotFoundError|no Kafka is started here",
                "starts a Kafka of its own with TLS, which Walrus does not have")

#: Whatever the broker is.
ANYWHERE = {
    "consumer::test_kafka_consumer_offsets_for_time_old":
        Known("skipped", "Requires KAFKA_VERSION < 0.10.1", "for brokers of 2016 and before"),
    "ssl::TestSSLConnection::test_ssl_handshake": OWN_TLS,
    "ssl::TestSSLConnection::test_legacy_kafka_client_ssl": OWN_TLS,
    **{f"sasl::{test}[{mechanism}]": OWN_KAFKA
       for test in ("test_admin", "test_produce_and_consume", "test_client")
       for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")},
}

#: Where the broker is Walrus.
WALRUS = {
    "admin::test_create_describe_delete_acls":
        Known("failed", "SecurityDisabledError", "there are no ACLs"),
    "admin::test_alter_replica_log_dirs":
        Known("failed", "does not support the 'AlterReplicaLogDirsRequest'",
              "a node has one folder: no replica can move to another"),
    "producer::test_transactional_producer_messages": NO_TRANSACTIONS,
    "producer::test_transactional_producer_offsets": NO_TRANSACTIONS,
}
#: Where it is three nodes, which are 1 to 3.
THREE = {
    "admin::test_create_partitions":
        Known("failed", "InvalidReplicationAssignmentError", "wants a replica on node 0"),
    "admin::test_alter_partition_reassignments":
        Known("failed", "InvalidReplicationFactorError",
              "wants three replicas of one partition of four: all have the same number here"),
    "admin::test_delete_records":
        Known("failed|passed", "600 - 100",
              "one poll is to return what three nodes lead, and returns what is there first"),
}
#: What is expected of each kind of broker.
LISTS = {
    "kafka": ANYWHERE,
    "walrus": {**ANYWHERE, **WALRUS},
    "three": {**ANYWHERE, **WALRUS, **THREE},
}


def short(test):
    """`admin::test_x` for the test's whole id."""
    return re.sub(r"^.*/test_(\w+)_integration\.py::", r"\1::", test)


def ended(lines):
    """How each test ended and what its report says, from the lines that the plugin wrote."""
    tests = {}
    for line in lines:
        phase = json.loads(line)
        worst, text = tests.get(short(phase["test"]), ("passed", ""))
        if phase["outcome"] != "passed" and worst != "failed":
            worst, text = phase["outcome"], phase["text"]
        tests[short(phase["test"])] = (worst, text)
    return tests


def judge(tests, listed):
    """What is wrong, as (test, why, report), one for each test that ended otherwise than listed."""
    for name, (outcome, text) in tests.items():
        wanted = listed.get(name, Known("passed", "", ""))
        if not re.fullmatch(wanted.outcome, outcome):
            if outcome == "passed":
                yield name, f"passes: take it from the list ({wanted.reason})", ""
            else:
                yield name, f"{outcome}, and the list says {wanted.outcome}", text
        elif outcome != "passed" and not re.search(wanted.words, text):
            yield name, f"{outcome} as listed, but without the words /{wanted.words}/", text
    for name in listed.keys() - tests.keys():
        yield name, "is in the list, and there is no such test", ""
    if len(tests) != TESTS:
        yield "all", f"{len(tests)} tests ran, of {TESTS}", ""


def run(python, source, broker, folder, tally):
    """Runs them all; says each that does not pass, and counts."""
    outcomes = folder / "outcomes"
    outcomes.touch()
    environment = {
        **os.environ, "KAFKA_URI": f"kafka://{broker.bootstrap.split(',')[0]}",
        "SUITE_OUTCOMES": str(outcomes), "KAFKA_VERSION": broker.speaks, "KAFKA_ROOT": str(folder),
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), str(source)])}
    command = [
        str(python), "-B", "-m", "pytest", "-p", "standin", "-p", "no:cacheprovider",
        "-c", os.devnull, f"--rootdir={source}", f"--timeout={TEST_TIMEOUT_S}", "-q",
        "-o", "log_level=ERROR", "test/integration"]
    try:
        done = subprocess.run(command, cwd=source, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=SUITE_TIMEOUT_S)
        if done.returncode not in (0, 1):
            tally.fail("all", f"pytest ended with {done.returncode}", done.stdout + done.stderr)
    except subprocess.TimeoutExpired:
        tally.fail("all", f"no end after {SUITE_TIMEOUT_S} s", "")
    tests = ended(outcomes.read_text().splitlines())
    listed = LISTS[broker.kind]
    wrong = {name: (why, text) for name, why, text in judge(tests, listed)}
    for name, (why, text) in wrong.items():
        tally.fail(name, why, text)
    for name, (outcome, _) in tests.items():
        if name in wrong:
            continue
        if outcome == "passed":
            tally.passed += 1
        else:
            tally.known(name, f"{outcome}, as listed: {listed[name].reason}")
