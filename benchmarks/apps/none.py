"""No cache: what every answer costs when it is made anew."""

from fastapi import FastAPI

from benchmarks.apps import work


def create_app() -> FastAPI:
    return work.create_app(work.Cache())
