"""Starts nats-server again when it writes no more though there is room: after a full disk it stays so for ever.

Once a write has failed, nats-server (2.15) refuses every further one to that stream until it is started again. It says
so where it tells of its health. Used by `engine`.
"""

import asyncio
import shutil
from pathlib import Path

from .natsserver import NatsServer
from .supervisor import Service, Tell

_LOOK_SECONDS = 1.0
#: Less free space than this, and it would fail again at once.
_ROOM_BYTES = 16 * 1024 * 1024


async def keep_writing(nats: NatsServer, broker: Service, tell: Tell) -> None:
    """Look for ever."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        problem = await nats.write_problem()
        if problem is not None and _room(nats.directory) >= _ROOM_BYTES:
            tell(f"nats-server writes no more ({problem}); starting it again")
            await broker.restart()


def _room(directory: Path) -> int:
    return shutil.disk_usage(directory).free
