"""A client's traceparent reaches the agent through API, ledger and worker; with OpenTelemetry spans stand between; logs carry ids."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.harness.agents import accept, status
from tests.harness.processes import wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SECRET = "s3cret-of-the-agent-do-not-log"
KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="


class Collector(ThreadingHTTPServer):
    """What an OpenTelemetry collector is to an exporter: OTLP over HTTP. `spans`: name → the spans received."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Receive)
        self.spans = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Receive(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.server.spans.setdefault(span.name, []).append(span)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def collector():
    server = Collector()
    yield server
    server.shutdown()
    server.server_close()


def ran(api, **headers):
    done = api.ok("POST", "/tasks/submit", {"task_data": {}}, **headers)
    return api.ended([done["task_id"]])[done["task_id"]]


def test_the_header_reaches_the_agent_without_opentelemetry_and_logs_tell_the_ids(cluster, agents):
    """At level debug; then every line of API and worker is JSON, and no secret, password or token is in any."""
    settings = {"AITBC_LOG_FORMAT": "json", "AITBC_SECRET_KEY": KEY}
    api = cluster.api(AITBC_LOG_LEVEL="debug", **settings)
    worker = cluster.worker(**settings)
    agent = agents.start("a")
    api.register("a", agent.url, secret=SECRET)
    task = ran(api, traceparent=SENT)
    assert agent.headers[0]["traceparent"] == SENT
    for wrong in ("", "00-zz", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{TRACE}-00f067aa0ba902b7-01", SENT + "x"):
        ran(api, traceparent=wrong)
    ran(api)
    assert [headers.get("traceparent") for headers in agent.headers[1:]] == [None] * 6
    batch = api.ok("POST", "/tasks/submit/batch", {"tasks": [{"task_data": {}}, {"task_data": {}}]}, traceparent=SENT)
    api.ended([one["task_id"] for one in batch["results"]])
    assert [headers["traceparent"] for headers in agent.headers[7:]] == [SENT, SENT]

    ledger = cluster.ledger  # stored with the tasks whose client sent one, and no others
    stored = [ledger.redis.hexists(f"task:{body['task_id']}", "traceparent") for body in agent.received]
    ledger.close()
    assert stored == [True, *[False] * 6, True, True]

    agent.answer = status(401)  # an end that is told of
    failing = api.submit(requirements={}, max_attempts=1)
    wait_for(lambda: agent.sends[failing], 10, "the failing call")
    worker.stop()
    texts = {process.name: process.log.read_text() for process in (api.process, worker)}
    lines = {name: [json.loads(line) for line in text.splitlines() if line.startswith("{")] for name, text in texts.items()}
    assert any(
        line["event"].startswith("POST /tasks/submit") and line["request_id"] and line["task_id"] == task["task_id"]
        for line in lines["api"]
    )
    assert lines["worker"]
    tokens = [body["callback"]["token"] for body in agent.received]
    for text in texts.values():
        assert [secret for secret in (SECRET, KEY, *tokens) if secret in text] == []


def test_a_workers_lines_name_task_lease_and_attempt(cluster, agents):
    """A callback that overtakes its 202 is told at debug; so is every attempt's end."""
    worker = cluster.worker(AITBC_LOG_FORMAT="json", wait=False)
    worker.kill()
    worker.command[worker.command.index("INFO")] = "DEBUG"
    worker.start()
    api = cluster.api()
    agent = agents.start("a")
    api.register("a", agent.url)
    task = ran(api)
    lines = wait_for(lambda: [line for line in worker.log.read_text().splitlines() if "attempt ended" in line], 10, "the line")
    line = json.loads(lines[0])
    assert {name: line[name] for name in ("event", "task_id", "lease_id", "attempt", "agent_id", "logger", "level")} == {
        "event": "attempt ended: completed",
        "task_id": task["task_id"],
        "lease_id": f"{task['task_id']}:1",
        "attempt": "1",
        "agent_id": "a",
        "logger": "aitbc.tasks.attempts",
        "level": "debug",
    }


def test_spans(cluster, agents, collector):
    """submit is a child of the client's span, dispatch of submit's, and the agent's parent is dispatch."""
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    api = cluster.api(**otel)
    cluster.worker(**otel)
    good, bad, later = agents.start("good"), agents.start("bad", status(400)), agents.start("later", accept)
    for agent in agents.all:
        api.register(agent.name, agent.url, capabilities=[agent.name])

    def submit(agent, **headers):
        body = {"task_data": {}, "requirements": {"capabilities": [agent.name]}}
        return api.ok("POST", "/tasks/submit", body, **headers)["task_id"]

    done, failed = submit(good, traceparent=SENT), submit(bad)
    submit(later)
    api.ended([done, failed])
    wait_for(lambda: len(collector.spans.get("dispatch", ())) == 3 and len(collector.spans.get("submit", ())) == 3, 15, "the spans")
    submits = {span.span_id: span for span in collector.spans["submit"]}
    calls = {attribute(span, "aitbc.task_id"): span for span in collector.spans["dispatch"]}
    assert all(submits[span.parent_span_id].trace_id == span.trace_id for span in calls.values())
    call = calls[done]
    first = submits[call.parent_span_id]
    assert (call.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, SENT.split("-")[2])
    assert good.headers[0]["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert attribute(call, "aitbc.lease_id") == f"{done}:1"
    assert (attribute(call, "aitbc.agent_id"), attribute(call, "aitbc.outcome"), call.status.code) == ("good", "completed", 0)
    assert (attribute(calls[failed], "aitbc.outcome"), calls[failed].status.code) == ("final", 2)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]", later.headers[0]["traceparent"])


def attribute(span, name):
    return next((a.value.string_value or a.value.int_value for a in span.attributes if a.key == name), None)
