"""The scheduler: works out cron ticks for every organisation and publishes the executions they start (DESIGN §5)."""
