"""Load: wrk sends it, and this module says what it did to the server."""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.processes import LOAD_CPU, Failed, Server

_LONGEST = 60  # seconds

# Each request the next one of `requests`: its path and its X-API-Key.
_IN_TURN = """
local requests = {}
for line in io.lines("%s") do
  local path, key = line:match("^(%%S+)%%s*(.*)$")
  local headers = key ~= "" and { ["X-API-Key"] = key } or {}
  table.insert(requests, wrk.format("GET", path, headers))
end
local at = 0
function request()
  at = at %% #requests + 1
  return requests[at]
end
"""
# Each request one of its own.
_UNIQUE = """
local at = %d
function request()
  at = at + 1
  return wrk.format("GET", "%s" .. at)
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did under load; times are seconds per request."""

    requests: int
    rate: float
    latency: float
    cpu: float
    redis_cpu: float = 0.0


def find_generator() -> Path:
    """Return where wrk is; `Failed` says how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise Failed(
            "No load generator: wrk is not on PATH. "
            "Install it: apt-get install wrk, or brew install wrk"
        )
    return Path(found)


def send(
    server: Server,
    path: str,
    *,
    connections: int,
    seconds: float,
    headers: dict[str, str] | None = None,
    in_turn: Sequence[str] = (),
    redis: Server | None = None,
) -> Load:
    """Send requests for some seconds.

    A path that ends with `=` gets another number in each request. `in_turn` has paths
    with API keys, separated by a space, to be sent one after the other.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = [f"-H{name}: {value}" for name, value in (headers or {}).items()]
        script = Path(folder) / "requests.lua"
        if in_turn:
            lines = Path(folder) / "requests"
            lines.write_text("\n".join(in_turn))
            script.write_text(_IN_TURN % lines)
        elif path.endswith("="):
            script.write_text(_UNIQUE % (_next_number(), path))
        if script.exists():
            options += ["-s", str(script)]
        command = [str(find_generator()), "-t1", f"-c{connections}", *options]
        # wrk takes whole seconds, and ends early when it is interrupted.
        command += ["-d", "3600s", server.url(path.rstrip("="))]
        cpu, redis_cpu = server.cpu(), redis.cpu() if redis else 0.0
        output = _run(command, seconds)
        cpu = server.cpu() - cpu
        redis_cpu = redis.cpu() - redis_cpu if redis else 0.0
    if " 0 requests in" in output and seconds < _LONGEST:  # a very busy machine
        more: dict[str, Any] = {"headers": headers, "in_turn": in_turn, "redis": redis}
        return send(server, path, connections=connections, seconds=4 * seconds, **more)
    return _result(output, cpu, redis_cpu)


def get(server: Server, path: str, headers: dict[str, str] | None = None) -> bytes:
    """Return the body of one answer; `Failed` unless its status is 200."""
    return asyncio.run(_requests(server, "GET", path, 1, headers or {}))[0]


def put(server: Server, path: str, body: str) -> bytes:
    return asyncio.run(_requests(server, "PUT", path, 1, {}, body))[0]


def post(server: Server, path: str) -> bytes:
    return asyncio.run(_requests(server, "POST", path, 1, {}))[0]


def burst(server: Server, path: str, count: int) -> None:
    """Send the same request so many times at once, and await all answers."""
    asyncio.run(_requests(server, "GET", path, count, {}))


def _run(command: Sequence[str], seconds: float) -> str:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            os.sched_setaffinity(process.pid, {LOAD_CPU})
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(2)
        except BaseException:
            process.kill()
            raise
        output, _ = process.communicate()
    return output


def _result(output: str, cpu: float, redis_cpu: float) -> Load:
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", output)
    latency = re.search(r"Latency\s+([\d.]+)(us|ms|s)", output)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if total is None or latency is None or int(total[1]) == 0:
        raise Failed(f"wrk measured nothing:\n{output}")
    if bad is not None:
        raise Failed(f"{bad[1]} of {total[1]} answers were errors:\n{output}")
    requests = int(total[1])
    return Load(
        requests=requests,
        rate=requests / _seconds(total[2], total[3]),
        latency=_seconds(latency[1], latency[2]),
        cpu=cpu / requests,
        redis_cpu=redis_cpu / requests,
    )


def _seconds(number: str, unit: str) -> float:
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[unit]


_numbers = 0


def _next_number() -> int:
    """Return where the next numbers begin that no earlier request had."""
    global _numbers
    _numbers += 10_000_000
    return _numbers


async def _requests(
    server: Server,
    method: str,
    path: str,
    count: int,
    headers: dict[str, str],
    body: str = "",
) -> list[bytes]:
    async with asyncio.timeout(600):
        one = (_request(server, method, path, headers, body) for _ in range(count))
        return await asyncio.gather(*one)


async def _request(
    server: Server, method: str, path: str, headers: dict[str, str], body: str
) -> bytes:
    host = urlsplit(server.url()).netloc
    fields = {"Host": host, "Connection": "close"} | headers
    if body:
        fields |= {"Content-Type": "application/json"}
    fields |= {"Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status not in ([b"200"], [b"304"]):
        raise Failed(f"{method} {path}: {head.decode('latin-1')}\n{content[:500]!r}")
    return content
