"""Restate: its server calls this service, over HTTP/1.1 as uvicorn speaks it."""

import marks
import restate

bench = restate.Service("Bench")


@bench.handler()
async def noop(ctx: restate.Context, given: dict[str, str]) -> None:
    marks.done()


async def _step(n: int) -> str:
    return f"{n:0200}"


@bench.handler()
async def five(ctx: restate.Context, given: dict[str, str]) -> int:
    for n in range(5):
        await ctx.run_typed("work", _step, n=n)
    marks.done()
    return 5


app = restate.app(services=[bench])
