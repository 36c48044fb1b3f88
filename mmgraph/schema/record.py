"""What all records of a schema have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mmgraph.errors import SchemaError


class Spec(BaseModel):
    """A frozen record that refuses unknown fields; raises :class:`SchemaError` where a field is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in item['loc']) or 'its parts'}: "
                f"{item['msg'].removeprefix('Value error, ')}"
                for item in error.errors()
            )
            raise SchemaError(f"{type(self).__name__} is not valid: {problems}") from None
