"""A real nginx with deploy/examples/nginx/aitbc.conf, on free ports, with a certificate of its own."""

import base64
import datetime as dt
import http.client
import ipaddress
import json
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.harness.examples import written
from tests.harness.processes import Process, environment, free_port, wait_for

TRUSTED = "127.0.0.3"
"""Where agents come from: the example's 10.0.0.0/8."""
PASSWORD = "Basic " + base64.b64encode(b"me:secret").decode()
MAIN = """daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/aitbc.conf;
}}
"""


class Nginx:
    """`call` asks it, with the password or from an agent's network."""

    def __init__(self, folder: Path, api_port: int, flower_port: int) -> None:
        self.folder, self.port, self.plain_port = folder / "nginx", free_port(), free_port()
        self.folder.mkdir()
        certificate(self.folder)
        (self.folder / "aitbc.htpasswd").write_text("me:{PLAIN}secret\n")
        changes = {
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "127.0.0.1:9001": f"127.0.0.1:{api_port}",
            "127.0.0.1:5555": f"127.0.0.1:{flower_port}",
            "10.0.0.0/8": f"{TRUSTED}/32",
            "/etc/nginx/aitbc.": f"{self.folder}/aitbc.",
            "/var/log/nginx/aitbc.log": self.log,
        }
        written(self.folder, "nginx/aitbc.conf", changes)
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=self.folder))
        command = ["nginx", "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        self.process = Process("nginx", command, self.folder, environment())
        self.process.start()
        wait_for(self._listens, 10, "nginx")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "access.log"

    def _listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def call(
        self, method: str, path: str, body: Any = None, *, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (as JSON if it is that) and headers, by their names in small letters."""
        context = ssl.create_default_context(cafile=str(self.folder / "aitbc.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=70, source_address=(source, 0))
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            text, named = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        return answer.status, json.loads(text) if "json" in named.get("content-type", "") else text.decode(), named

    def close(self) -> None:
        self.process.stop(5)


def certificate(folder: Path) -> None:
    """Signed by itself, for 127.0.0.1, for a day."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "coordinator.example")])
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    signed = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    (folder / "aitbc.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "aitbc.key").write_bytes(private)
