"""The OpenAPI document at `/schema/openapi.json`, and a page of our own to read it at `/schema`.

Litestar's own renderers load their scripts from a content delivery network; this one works offline.
"""

from decimal import Decimal
from typing import Any

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import License, OpenAPIType, Schema, Tag
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from snacks import __version__
from snacks.http.errors import HttpRequest
from snacks.http.pages import STATIC

DESCRIPTION = """\
Orders are written on one side and read on the other. Commands go to MySQL; change data capture brings
every changed row to the actor of its order; the actor folds it into the customer order, which queries
read from MongoDB. A query therefore shows a command a moment after it was accepted.

Money is a JSON number with two exact decimal digits. A card number is only ever shown as its mask."""

TAGS = [
    Tag("Commands", "Create an order, say where it goes, pay it, move it on. Nothing is half written."),
    Tag("Queries", "Customer orders as they are now, read from MongoDB."),
    Tag("Operations", "Is it well, and what flows through it."),
]


class MoneySchema(OpenAPISchemaPlugin):
    """Tells clients that a Decimal is a JSON number, as it is in every answer (Litestar says string)."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """True for amounts of money."""
        return field_definition.annotation is Decimal

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:  # noqa: ARG002  (Litestar's)
        """A number with two decimal digits."""
        return Schema(type=OpenAPIType.NUMBER, description="Two decimal digits", examples=[0.04])


class SchemaPage(OpenAPIRenderPlugin):
    """The document for people: every operation with its examples."""

    def render(self, request: HttpRequest, openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002  (Litestar's)
        """The page; it fetches the document itself."""
        return (STATIC / "schema.html").read_bytes()


def config() -> OpenAPIConfig:
    """Pass it to Litestar as `openapi_config`, and `MoneySchema()` among its `plugins`."""
    return OpenAPIConfig(
        title="Snacks Unlimited",
        version=__version__,
        description=DESCRIPTION,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        tags=TAGS,
        path="/schema",
        render_plugins=[SchemaPage(path="/"), JsonRenderPlugin(path="/openapi.json")],
    )
