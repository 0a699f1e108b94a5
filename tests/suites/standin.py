"""A plugin of pytest: stands in for what kafka-python's tests need and its source distribution
leaves out, and writes down how each test ended.

The tests import the package `test` and from it `test.service`, which starts Kafka. Here the broker
runs already (KAFKA_URI), so the service only has to be there. SUITE_OUTCOMES names the file that
gets one line of JSON for each phase of each test.
"""

import json
import os
import pathlib
import sys
import types


class ExternalService:
    """A broker that somebody else starts and stops."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def stop(self):
        """It goes on."""

    def dump_logs(self):
        """They are elsewhere."""


class SpawnedService:
    """A Kafka of the test's own, with security that Walrus does not have."""

    def __init__(self, *_, **__):
        raise RuntimeError("no Kafka is started here")


def stand_in():
    tests = types.ModuleType("test")
    tests.__path__ = [str(pathlib.Path.cwd() / "test")]
    service = types.ModuleType("test.service")
    service.ExternalService, service.SpawnedService = ExternalService, SpawnedService
    sys.modules.update({"test": tests, "test.service": service})


stand_in()


def pytest_runtest_logreport(report):
    with open(os.environ["SUITE_OUTCOMES"], "a", encoding="utf-8") as outcomes:
        text = "\n".join([report.longreprtext or str(report.longrepr or ""), report.caplog])
        line = {"test": report.nodeid, "phase": report.when, "outcome": report.outcome,
                "text": text}
        outcomes.write(json.dumps(line) + "\n")
