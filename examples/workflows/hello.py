"""A synchronous workflow: the caller waits for the answer."""

from typing import Literal

from runlane import Context, ValidationError, workflow

GREETINGS = {"en": "Hello", "de": "Guten Tag", "fr": "Bonjour"}


@workflow(name="hello", description="Greets somebody.", category="Examples", timeout_seconds=30)
async def hello(context: Context, name: str, language: Literal["en", "de", "fr"] = "en") -> dict[str, str]:
    if not name.strip():
        raise ValidationError("name must not be blank", field="name")
    context.log("info", f"Greeting {name}", {"language": language})
    return {"greeting": f"{GREETINGS[language]}, {name}!", "from": context.org_name}
