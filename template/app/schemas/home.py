from pydantic import BaseModel


class Home(BaseModel):
    name: str
    version: str
    docs: str
