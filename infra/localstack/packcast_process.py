"""LocalStack plugin that runs Lambda functions as processes of this machine, without containers.

LocalStack loads the plugin by its entry point if LAMBDA_RUNTIME_EXECUTOR is "process". Each Lambda
environment is one process of the function's "bootstrap", which polls the runtime API on a loopback
port. The processes are not isolated, so run only trusted functions.
"""

import json
import os
import queue
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import (
    LambdaRuntimeException,
    RuntimeExecutor,
)

LOOPBACK = "127.0.0.1"
START_SECONDS = 10
API = "/2018-06-01/runtime/"


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    name = "process"

    def load(self, *args, **kwargs):
        return ProcessExecutor


class RuntimeApi(ThreadingHTTPServer):
    """The runtime API, from which a function gets events and to which it posts results."""

    daemon_threads = True

    def __init__(self):
        super().__init__((LOOPBACK, 0), RuntimeApiHandler)
        self.asked = threading.Event()
        self.events = queue.Queue()
        self.results = queue.Queue()


class RuntimeApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.set()
        event = self.server.events.get()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": event["invoke-id"],
            "Lambda-Runtime-Invoked-Function-Arn": event["invoked-function-arn"],
            "Lambda-Runtime-Trace-Id": event["trace-id"],
            # Milliseconds since 1970, far in the future: this executor does not stop slow functions.
            "Lambda-Runtime-Deadline-Ms": "4102444800000",
        }
        self.answer(200, event["payload"].encode(), headers)

    def do_POST(self):
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length)) if length else self.chunks()
        self.server.results.put((body, not self.path.endswith("/response")))
        self.answer(202, b"{}", {})

    def chunks(self):
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class ProcessExecutor(RuntimeExecutor):
    def start(self, env_vars):
        self.api = RuntimeApi()
        threading.Thread(target=self.api.serve_forever, daemon=True).start()
        folder = self.function_version.config.code.get_unzipped_code_location()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(folder / "bootstrap")],
            cwd=folder,
            env={
                **{name: str(value) for name, value in env_vars.items()},
                "AWS_LAMBDA_RUNTIME_API": f"{LOOPBACK}:{self.api.server_port}",
                "LAMBDA_TASK_ROOT": str(folder),
            },
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self.watch, daemon=True).start()
        if not self.api.asked.wait(START_SECONDS):
            self.stop()
            raise LambdaRuntimeException(f"cannot start bootstrap: it requested no event: {self.get_logs()}")

    def watch(self):
        status = self.process.wait()
        error = {"errorType": "Runtime.ExitError", "errorMessage": f"bootstrap exited with status {status}"}
        self.api.results.put((json.dumps(error).encode(), True))

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.api.shutdown()
        self.api.server_close()

    def invoke(self, payload):
        self.api.events.put(payload)
        timeout = self.function_version.config.timeout
        body, is_error = self.api.results.get(timeout=timeout)
        return InvocationResult(payload["invoke-id"], body, is_error, logs=self.get_logs())

    def get_logs(self):
        # pread, because a seek would move the file position that the process shares.
        return os.pread(self.log.fileno(), 1 << 20, 0).decode(errors="replace")

    def get_address(self):
        return LOOPBACK

    def get_endpoint_from_executor(self):
        return LOOPBACK

    def get_runtime_endpoint(self):
        return f"http://{LOOPBACK}:{config.GATEWAY_LISTEN[0].port}"

    @classmethod
    def prepare_version(cls, function_version):
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version):
        pass
