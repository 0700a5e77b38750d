"""A process that runs scenarios: the cache is on or off in it, by its environment.

It reads commands as JSON lines and answers each with one: `-m tests.oracle.worker
FOLDER NAME`. A scenario runs in a fork, so that nothing is left of it.
"""

import asyncio
import gc
import gzip
import json
import os
import re
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import update

from app.database.base import Base
from app.database.migrate import upgrade
from app.models.user import Role, User
from tests.oracle import parts, tables, values
from tests.oracle.databases import Databases
from tests.oracle.scenario import ASPECTS, OWN_READS, OWN_WRITES, Scenario, Step
from tests.oracle.service import Answer, Service
from tests.oracle.source import Route

CACHED = os.environ.get("CACHE_ENABLED") == "true"
PATIENCE = 20  # seconds for a scenario, before it counts as hanging
PASSWORD = "correct horse battery staple"
# The people of the first and of the second application, in the order of their ids.
PEOPLE = [["ada", "ann", "bob"], ["bob", "ann", "ada"]]

# What is random, or a time, differs between two runs.
RANDOM = re.compile(
    r'"(token|refresh|key|prefix|last_used_at)":"[^"]*"|"last_used_at":null'
    r'|"\d{4}-\d\d-\d\dT[^"]*Z"'
)
HEADERS = {
    "tenant": "x-tenant",
    "language": "accept-language",
    "member": "x-member",
    "control": "cache-control",
}


# Run once before the forks, so that each of them need not import and compile all.
WARM_UP = Scenario([Route()], [Step(change=("path", "/users/me"), times=2)] * 2, "/r0")


class Run:
    """One scenario, in one process."""

    def __init__(self, scenario: Scenario, databases: Databases) -> None:
        self.scenario = scenario
        self.databases = databases
        self.people = databases.people()
        self.request = {name: choices[0] for name, choices in ASPECTS.items()}
        self.request["path"] = scenario.first
        self.tags: dict[str, str] = {}

    async def run(self) -> dict[str, Any]:
        try:
            settings = await self.databases.copies(self.scenario.apps)
            self.service = Service(self.scenario, settings)
            await self.service.start()
        except Exception as error:
            return {"refused": f"{type(error).__name__}: {error}"}
        done = [await self._step(step) for step in self.scenario.steps]
        await self.service.stop()
        return {"steps": done}

    async def _step(self, step: Step) -> dict[str, Any]:
        parts.tally.clear()
        answers = {}
        if step.event:
            answers["event"] = await self._event(*step.event)
        if step.change:
            self.request[step.change[0]] = step.change[1]
        if step.race:
            answers["race"], answers["raced"] = await self._race(*step.race)
        if step.together:
            done = await asyncio.gather(*(self._read() for _ in range(step.times)))
        else:
            done = [await self._read() for _ in range(min(step.times, 5))]
        ran = {k: n for k, n in parts.tally.items() if not k.startswith("handler")}
        return {
            "request": self._shown(),
            "event": answers.get("event"),
            "race": answers.get("race"),
            "raced": answers.get("raced"),
            "reads": done,
            "ran": dict(sorted(ran.items())),
            "handled": parts.tally.total() - sum(ran.values()),
        }

    async def _event(self, kind: str, name: str, n: int) -> dict[str, Any] | None:
        match kind:
            case "switch" if name == "overrides":
                self.service.override()
            case "switch":
                parts.on.symmetric_difference_update({name})
            case "stop":
                await self.service.stop(1)
                self.request["app"] = 0
            case "restock":
                target = f"/tables/restock?namespace={quote(name)}&n={n}"
                return _plain(await self._ask("POST", target, {}))
            case "own":
                return _plain(await self._own(name, n))
            case _:
                verb = kind.replace(" ", "-")
                target = f"/tables/{verb}/{name}?n={n}"
                return _plain(await self._ask("POST", target, {}))
        return None

    async def _own(self, name: str, n: int) -> Answer:
        """A write by the service's own routes; what it makes can be used later."""
        who, method, path, data = OWN_WRITES[name]
        people = self.people[self.request["app"]]
        path = path.format_map(people["ids"])
        if data is not None:
            data = json.loads(json.dumps(data).replace("{n}", str(n)))
        answer = await self._ask(method, path, self._credentials(who), data)
        if answer.status == 201:
            made = json.loads(answer.body)
            who = "key" if "key" in made else "eve"
            people["tokens"][who] = made.get("key") or made["token"]
        return answer

    async def _race(self, name: str, n: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """A write while a read, which saw what was before, has not yet answered."""
        gate = tables.gate[0] = tables.Gate()
        gate.opened.clear()
        read = asyncio.create_task(self._read())
        reached = asyncio.create_task(gate.reached.wait())
        await asyncio.wait([read, reached], return_when=asyncio.FIRST_COMPLETED)
        written = await self._ask("POST", f"/tables/write/{name}?n={n}", {})
        gate.opened.set()
        reached.cancel()
        return _plain(written), await read

    async def _read(self) -> dict[str, Any]:
        request = self.request
        method, path, headers = self._request()
        # HEAD has to be like GET. Without the cache it would be a 405.
        own = method == "HEAD" and not CACHED and not request["path"].startswith("/v")
        sent = headers.get("if-none-match")
        answer = await self._ask("GET" if own else method, path, headers)
        if tag := dict(answer.headers).get("etag"):
            self.tags[path] = tag
        return _plain(answer) | {"sent": sent, "method": method}

    def _request(self) -> tuple[str, str, dict[str, str]]:
        request = self.request
        path: str = request["path"]
        composed = path.startswith("/r")
        routes = dict(self.scenario.named())
        route = routes.get(path.strip("/b")) if composed else None
        if route and route.item:
            path = f"{path}/{request['item']}"
        if composed:
            path = request["prefix"] + path
        if composed and request["query"]:
            path = f"{path}?{request['query']}"
        headers = {"host": request["host"]} | self._credentials(request["who"])
        headers["accept-encoding"] = request["encoding"] or "identity"
        for aspect, name in HEADERS.items():
            if request[aspect] is not None:
                headers[name] = request[aspect]
        if request["theme"]:
            headers["cookie"] = f"theme={request['theme']}"
        if request["condition"] and (tag := self.tags.get(path)):
            others = '"x", ' if request["condition"] == "list" else ""
            headers["if-none-match"] = others + tag
        return request["method"], path, headers

    def _shown(self) -> str:
        method, path, headers = self._request()
        secret = {"authorization": f"{self.request['who']}'s", "x-api-key": "ann's"}
        shown = {name: secret.get(name, value) for name, value in headers.items()}
        if shown["accept-encoding"] == "identity":
            del shown["accept-encoding"]
        if shown["host"] == "service":
            del shown["host"]
        below = f" of application {self.request['app']}" if self.request["app"] else ""
        return f"{method} {path}{below} {shown or ''}".rstrip()

    def _credentials(self, who: str | None) -> dict[str, str]:
        token = self.people[self.request["app"]]["tokens"].get(who)
        if token is None:
            return {}
        if who == "key":
            return {"x-api-key": token}
        return {"authorization": f"Bearer {token}"}

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], data: Any = None
    ) -> Answer:
        which = self.request["app"]
        return await self.service.ask(method, path, headers, which=which, data=data)


def _plain(answer: Answer) -> dict[str, Any]:
    headers = sorted((k.lower(), v) for k, v in answer.headers)
    body = answer.body
    if ("content-encoding", "gzip") in headers and body:
        body = gzip.decompress(body)  # its header has a time in it
    text = body.decode("utf-8", "backslashreplace")
    masked = RANDOM.sub('"*"', text)
    if masked != text or body != answer.body:
        headers = [each for each in headers if each[0] != "content-length"]
    return {
        "path": answer.path,
        "method": answer.method,
        "status": answer.status,
        "headers": headers,
        "body": masked,
        "broken": answer.broken,
    }


async def fill(databases: Databases) -> None:
    """Make the databases that all others are copies of."""
    made = []
    for site, names in zip("ab", PEOPLE, strict=True):
        name = f"oracle_base_{site}"
        await databases.create(name)
        settings = databases.settings(name)
        await asyncio.to_thread(upgrade, settings)
        service = Service(Scenario(), [settings])
        database = service.apps[0].state.database
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with database.session() as session:
            await tables.fill(session)
        await service.start()
        tokens = {}
        for person in names:
            data = {"email": f"{person}@example.com", "password": PASSWORD}
            data |= {"first_name": person.title(), "last_name": f"Of {site}"}
            answer = await service.ask("POST", "/register/", {}, data=data)
            tokens[person] = json.loads(answer.body)["token"]
        async with database.session() as session:
            await session.execute(
                update(User)
                .where(User.email == "ada@example.com")
                .values(role=Role.admin)
            )
        await service.stop()
        ids = {person: i for i, person in enumerate(names, 1)}
        made.append({"ids": ids, "tokens": tokens})
    (databases.folder / "people.json").write_text(json.dumps(made))


def in_fork(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a child process, and return what it returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        result = asyncio.run(work)
        with os.fdopen(writing, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    work.close()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not text:
        hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        return {"died": "did not end" if hung else f"status {status}"}
    return json.loads(text)


def main(folder: Path, owner: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    databases = Databases(folder, owner)
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "fill":
                result = in_fork(fill(databases))
            case "warm up":
                result = asyncio.run(Run(WARM_UP, databases).run())
                gc.freeze()
            case "choices":
                reads = [*OWN_READS, *tables.READS, *values.READS]
                result = {"reads": reads, "writes": [*tables.WAYS]}
            case "run":
                scenario = Scenario.from_data(command["scenario"])
                result = in_fork(Run(scenario, databases).run())
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
