"""A stand-in for a backup vendor's portal that there is no client for: example 8 brings one of its own."""

from collections import Counter

from examples.vendors.standin import Answer, Asked, StandIn


class BackupStandIn(StandIn):
    """`jobs` are what it tells; one that runs is done after it was asked about `looks` times."""

    def __init__(self) -> None:
        super().__init__()
        self.key = "key-of-the-backup-portal-0815"
        self.jobs = {"fileserver": "Success", "sql01": "Running", "mail": "Failed"}
        self.looks = 2
        self._looked: Counter[str] = Counter()

    def handle(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.key}":
            return Answer(401, {"message": "The key is not known."})
        match asked.method, asked.path:
            case "GET", ("v1", "jobs"):
                return Answer(200, {"jobs": [{"name": name, "state": self._state(name)} for name in self.jobs]})
        return Answer(404, {"message": "There is no such page."})

    def _state(self, name: str) -> str:
        self._looked[name] += 1
        running = self.jobs[name] == "Running" and self._looked[name] <= self.looks
        return "Running" if running else self.jobs[name].replace("Running", "Success")
