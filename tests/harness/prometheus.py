"""A real Prometheus of one test."""

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.harness.processes import ROOT, Process, environment, free_port, wait_for

RULES = ROOT / "deploy" / "prometheus-rules.yml"


class Prometheus:
    """Scrapes these targets four times a second, under the rules of deploy/."""

    def __init__(self, directory: Path, *ports: int) -> None:
        self.port = free_port()
        targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
        config = directory / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\nrule_files: [{RULES}]\n"
            f"scrape_configs: [{{job_name: aitbc, static_configs: [{{targets: [{targets}]}}]}}]\n"
        )
        options = [f"--config.file={config}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = Process("prometheus", ["prometheus", *options], directory, environment())
        self.process.start()
        wait_for(lambda: self._get("/api/v1/targets"), 20, "Prometheus")

    def _get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[float]:
        """Every series' value now; those that are no number are left out."""
        values = [float(series["value"][1]) for series in self._get("/api/v1/query", query=expression)["result"]]
        return [value for value in values if value == value]  # noqa: PLR0124 - NaN

    def firing(self) -> set[str]:
        """Alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self._get("/api/v1/alerts")["alerts"] if alert["state"] == "firing"}

    def close(self) -> None:
        self.process.terminate()
        self.process.end_within(5)


def promtool(*arguments: str) -> None:
    """Run it; AssertionError with what it says."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
