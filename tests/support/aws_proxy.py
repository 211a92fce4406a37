"""AWS's addresses on this machine: an HTTPS proxy that answers for amazonaws.com from an emulator.

SAM deletes a stack only if its artifacts are at an address of S3, so `sam delete` rejects a stack that was deployed to an endpoint of
AWS_ENDPOINT_URL. With this proxy, SAM runs as it does on AWS, without an endpoint and with the settings that the repository has.
The emulator's CloudFormation has neither Cognito's triggers nor CodeDeploy: the proxy sets `Target=emulator` in change sets, and
adapts uploaded templates as a local deployment does.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from samcli.yamlhelper import yaml_parse  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from devtools.local import deploy
from devtools.target import REGION, Target

DOMAIN = "amazonaws.com"
# SAM's hosts: S3 with and without a bucket, the region's services.
HOSTS = [f"*.{part}{DOMAIN}" for part in ("", f"{REGION}.", "s3.", f"s3.{REGION}.")]
FORM = "application/x-www-form-urlencoded"
# They belong to one connection, or are written anew.
OWN_HEADERS = {"connection", "content-length", "date", "expect", "proxy-connection", "server", "transfer-encoding"}
SECONDS = 60


@contextmanager
def running(target: Target, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment in which a program reaches the target's emulator by AWS's addresses; certificates are in `folder`."""
    certificate = _certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    class Handler(_Handler):
        port = target.port
        context = tls

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        kept = {name: value for name, value in target.aws_environment().items() if name not in ("AWS_ENDPOINT_URL", "NO_PROXY", "no_proxy")}
        yield kept | {
            "HTTPS_PROXY": f"http://127.0.0.1:{server.server_port}",
            "AWS_CA_BUNDLE": str(certificate),
            # Otherwise uploads are chunked, because the checksum follows the body.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "SAM_CLI_POLL_DELAY": "0.5",
            "PATH": os.environ["PATH"],
        }
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port: int
    context: ssl.SSLContext

    def do_CONNECT(self) -> None:
        """Answer as the host of AWS: the requests that follow on this connection are encrypted for it."""
        if not self.path.rpartition(":")[0].endswith(f".{DOMAIN}"):
            self.send_error(403, "this proxy answers for AWS alone")
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def forward(self) -> None:
        """Forward the request to the emulator, which distinguishes services by the header Host, and return its answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = self.adapted(body)
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as emulator:
            emulator.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in OWN_HEADERS:
                    emulator.putheader(name, value)
            emulator.putheader("Content-Length", str(len(body)))
            emulator.endheaders(body)
            answer = emulator.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", (self.command == "HEAD" and answer.getheader("Content-Length")) or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = forward  # noqa: N815 - the base class's names

    def adapted(self, body: bytes) -> bytes:
        """Return a request's body as the emulator needs it."""
        if self.command == "PUT" and self.path.endswith(".template"):
            return json.dumps(deploy.localized(yaml_parse(body.decode()), "embedded")).encode()
        if self.headers.get("Content-Type", "").startswith(FORM):
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            return urlencode(with_parameter(form, "Target", "emulator")).encode()
        return body

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing: the program's own output is read."""


def with_parameter(form: dict[str, str], name: str, value: str) -> dict[str, str]:
    """Return the form of CreateChangeSet for an uploaded template with a parameter set; other calls, as for SAM's bucket, unchanged."""
    if form.get("Action") != "CreateChangeSet" or "TemplateURL" not in form:
        return form
    keys = {given: key for key, given in form.items() if key.startswith("Parameters.member.") and key.endswith(".ParameterKey")}
    key = keys.get(name) or f"Parameters.member.{len(keys) + 1}.ParameterKey"
    return form | {key: name, key.replace("ParameterKey", "ParameterValue"): value}


def _certificate(folder: Path) -> Path:
    """Write a certificate of AWS's hosts, signed by itself, with its key; return the file, which is a CA bundle as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AWS's addresses on this machine")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (file := folder / "aws.pem").write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file
