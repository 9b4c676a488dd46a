"""A ticket comes in by webhook: whoever works on it finds what Microsoft 365 knows of its author as a note."""

from typing import Any

from runlane import Context, IntegrationError, workflow


@workflow(
    name="ticket_opened",
    description="Adds what is known of a ticket's author to the ticket.",
    category="helpdesk",
    tags=["example", "halopsa", "msgraph"],
    execution_mode="async",
    webhook_enabled=True,
    expose_in_forms=False,
)
async def ticket_opened(context: Context, ticket_id: int) -> dict[str, Any]:
    halo, graph = context.get_integration("halopsa"), context.get_integration("msgraph")
    ticket = await halo.get_ticket(ticket_id)
    try:
        user = await graph.get_user(ticket["user_email"])
    except IntegrationError as problem:
        if problem.status_code != 404:
            raise
        note = f"{ticket['user_email']} has no account."
    else:
        state = "on" if user["accountEnabled"] else "off"
        note = f"{user['displayName']}, {user['department']}; account {state}."
    # A step: should the executor die now, the ticket does not get its note twice.
    await context.step("add_note", halo.add_action, ticket_id, note)
    return {"ticket_id": ticket_id, "note": note}
