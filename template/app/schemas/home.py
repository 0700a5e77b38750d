from pydantic import BaseModel, ConfigDict


class Home(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "My Service", "version": "0.1.0", "docs": "/docs"}]
        }
    )

    name: str
    version: str
    docs: str | None
