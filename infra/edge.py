"""HTTPS reverse proxy on loopback, which takes the place of the CDN in front of a local engine.

Agents require HTTPS, and engines on this machine do not serve it. With --distribution, the proxy
forwards every request to the engine's own CDN, which the template configures. Without it, the
engine has no CDN, and the proxy implements the CDN part of the template: it forwards GET and HEAD
requests below the prefix to the bucket, without conditional headers, and all other requests to the
function, with the origin secret.
"""

import argparse
import http.client
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHUNK_BYTES = 1 << 16
# Headers that belong to one connection, or that the proxy sets itself.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}
CONDITIONS = {"if-modified-since", "if-none-match"}
ORIGIN_HEADER = "x-packcast-origin"


class Edge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    routes = None

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, headers = self.routed()
        if path is None:
            return self.send_error(403)
        engine = http.client.HTTPConnection(self.routes.engine, timeout=60)
        try:
            engine.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                engine.putheader(name, value)
            if body or self.command == "POST":
                engine.putheader("Content-Length", str(len(body)))
            engine.endheaders(body)
            self.pass_on(engine.getresponse())
        except (OSError, http.client.HTTPException) as error:
            self.close_connection = True
            self.log_error("%s %s: %r", self.command, path, error)
            self.send_error(502)
        finally:
            engine.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do

    def routed(self):
        """Returns path and headers for the engine; no path if the CDN refuses the method."""
        routes = self.routes
        kept = [(n, v) for n, v in self.headers.items() if n.lower() not in HOP_BY_HOP]
        if routes.distribution:
            https = ("X-Forwarded-Proto", "https")
            return self.path, [("Host", routes.distribution), https, *kept]
        if self.path.startswith(f"/{routes.prefix}/"):
            if self.command not in ("GET", "HEAD"):
                return None, []
            plain = [(n, v) for n, v in kept if n.lower() not in CONDITIONS]
            path = self.path.partition("?")[0]
            return f"/{routes.bucket}{path}", [("Host", routes.engine), *plain]
        without_secret = [(n, v) for n, v in kept if n.lower() != ORIGIN_HEADER]
        # Read the file for each request, because infra/deploy rotates the secret.
        secret = (ORIGIN_HEADER, origin_secret(routes.secrets.read_text()))
        return self.path, [("Host", routes.function), secret, *without_secret]

    def pass_on(self, answer):
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        length = answer.getheader("Content-Length")
        if length is None:
            self.close_connection = True
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", length)
        self.end_headers()
        while chunk := answer.read(CHUNK_BYTES):
            self.wfile.write(chunk)

    def log_message(self, form, *args):
        # Print no log, because paths contain tokens.
        pass


def origin_secret(secrets):
    return dict(line.split("=", 1) for line in secrets.splitlines())["origin"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identity", type=Path, required=True, help="PEM file with certificate and key")
    parser.add_argument("--port-file", type=Path, required=True, help="file to write the port to")
    parser.add_argument("--engine", required=True, help="HOST:PORT of the engine")
    parser.add_argument("--distribution", help="host name of the engine's own CDN")
    parser.add_argument("--bucket", help="bucket of the objects, without a CDN")
    parser.add_argument("--prefix", help="first path segment of the objects, without a CDN")
    parser.add_argument("--function", help="host name of the function URL, without a CDN")
    parser.add_argument("--secrets", type=Path, help="file of secrets from infra/deploy, without a CDN")
    return parser.parse_args()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, identity):
        super().__init__(("127.0.0.1", 0), Edge)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(identity)
        self.tls.set_alpn_protocols(["http/1.1"])

    def finish_request(self, request, client_address):
        # This runs in the connection's own thread, so a slow handshake delays no other connection.
        request.settimeout(60)
        with self.tls.wrap_socket(request, server_side=True) as stream:
            super().finish_request(stream, client_address)

    def handle_error(self, request, client_address):
        # A client that hangs up or rejects the certificate ends only its own connection.
        pass


def main():
    Edge.routes = arguments()
    server = Server(Edge.routes.identity)
    partial = Edge.routes.port_file.with_suffix(".new")
    partial.write_text(f"{server.server_port}\n")
    partial.rename(Edge.routes.port_file)
    server.serve_forever()


main()
