"""A scheduled workflow: it runs in every organisation at nine in the morning of that organisation's own time zone."""

from runlane import Context, workflow

#: Stands in for what a vendor would tell: licence → (bought, in use).
SUBSCRIPTIONS = {"ENTERPRISEPACK": (50, 43), "EMS": (25, 25), "POWER_BI_PRO": (10, 2)}


@workflow(
    name="daily_licence_audit",
    description="Finds licences that are paid for and not used.",
    category="licences",
    tags=["example", "audit"],
    execution_mode="scheduled",
    schedule="0 9 * * *",
    schedule_time_zone="org",
    expose_in_forms=False,
    timeout_seconds=600,
    max_duration_seconds=600,
)
async def audit_licences(context: Context) -> dict[str, dict[str, int]]:
    ignored = context.get_config("licence_audit_ignore", [])
    unused = {
        name: bought - used for name, (bought, used) in SUBSCRIPTIONS.items() if used < bought and name not in ignored
    }
    context.log("info", f"Found {sum(unused.values())} unused licences", {"licences": unused})
    return {"unused_licences": unused}
