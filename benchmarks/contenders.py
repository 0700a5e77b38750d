"""Who is compared: each with its application in `apps` and the packages it needs."""

from dataclasses import dataclass

FRAMEWORK = (
    "aiosqlite==0.22.1",
    "fastapi==0.165.0",
    "pydantic==2.14.3",
    "sqlalchemy[asyncio]==2.1.9",
    "starlette==1.10.0",
    "uvicorn[standard]==0.54.0",
)


@dataclass(frozen=True, slots=True)
class Contender:
    """One application; `requires` is empty for those that the rendered project has."""

    name: str
    app: str
    backend: str = ""  # "memory", "redis" or none
    requires: tuple[str, ...] = ()
    coder: str = ""

    @property
    def environment(self) -> str:
        """The environment that it shares with the contenders of the same packages."""
        return self.app if self.requires else self.backend


_FC2 = ("fastapi-cache2[redis]==0.2.2", "jinja2==3.1.6")
_CASHEWS = ("cashews[redis]==7.6.0",)
_CACHEX = ("fastapi-cachex[redis]==0.5.1",)
_AIOCACHE = ("aiocache[redis]==0.12.3",)

NONE = Contender("no cache", "none", requires=FRAMEWORK)
PREBUILT = Contender("prebuilt, FastAPI", "prebuilt", requires=FRAMEWORK)
STARLETTE = Contender("prebuilt, Starlette", "starlette", requires=FRAMEWORK)
OURS_MEMORY = Contender("this cache, memory", "ours", "memory")
OURS_REDIS = Contender("this cache, Redis", "ours", "redis")
SDK = Contender(
    "fastapi-redis-sdk", "redis_sdk", "redis", ("fastapi-redis-sdk==0.9.1",)
)
FC2_MEMORY = Contender(
    "fastapi-cache2, memory, pickle", "fastapi_cache2", "memory", _FC2, "PickleCoder"
)
FC2_REDIS = Contender(
    "fastapi-cache2, Redis, pickle", "fastapi_cache2", "redis", _FC2, "PickleCoder"
)

LIMITS = (NONE, PREBUILT, STARLETTE)
OURS = (OURS_MEMORY, OURS_REDIS)
PEERS = (
    FC2_MEMORY,
    Contender(
        "fastapi-cache2, memory, JSON", "fastapi_cache2", "memory", _FC2, "JsonCoder"
    ),
    FC2_REDIS,
    Contender(
        "fastapi-cache2, Redis, JSON", "fastapi_cache2", "redis", _FC2, "JsonCoder"
    ),
    Contender("cashews, memory", "cashews", "memory", _CASHEWS),
    Contender("cashews, Redis", "cashews", "redis", _CASHEWS),
    Contender("FastAPI-CacheX, memory", "cachex", "memory", _CACHEX),
    Contender("FastAPI-CacheX, Redis", "cachex", "redis", _CACHEX),
    SDK,
    Contender("aiocache, memory", "aiocached", "memory", _AIOCACHE),
    Contender("aiocache, Redis", "aiocached", "redis", _AIOCACHE),
)
ALL = (*LIMITS, *OURS, *PEERS)
