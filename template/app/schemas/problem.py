from pydantic import BaseModel, ConfigDict, Field


class ProblemField(BaseModel):
    """One value that was refused."""

    loc: list[str | int] = Field(description="Where: body, query, path, then the name")
    msg: str
    type: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "There is no such user.",
                    "code": "user_not_found",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="For people")
    code: str = Field(description="For programs")
    errors: list[ProblemField] | None = None
